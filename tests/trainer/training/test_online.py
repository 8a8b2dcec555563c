from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
import pytest

from tests.trainer.builders import CYCLE, START_MS, cyclic_clicks, table
from trainer.clicks.timestamps import HOUR_MS
from trainer.config import FitSettings
from trainer.dataset.sessions import cut, to_arrays
from trainer.errors import TrainingDiverged
from trainer.evaluation import replay
from trainer.training.online import OnlineTraining
from worker.core.blob import Blob, read
from worker.core.cells import Floats

SETTINGS = FitSettings.of(
    hidden_size=16,
    epochs=3,
    batch_clicks=64,
    learning_rate=0.02,
    schedule="constant",
    popularity_half_lives=(3600.0,),
    transition_half_lives=(86400.0,),
    transitions=4,
    repeat_lags=2,
    exclude_recent=0,
)


def window(number: int) -> pl.DataFrame:
    """Sessions of hour `number` in which item i is followed by item i + 1."""
    clicks = cyclic_clicks(60, seed=number)
    hour = clicks.with_columns(
        user_id=pl.format("{}-{}", pl.lit(number), "user_id"),
        timestamp_ms=START_MS + number * HOUR_MS + (pl.col("timestamp_ms") - START_MS) // 10,
    )
    return cut(hour, gap_seconds=1800)


def end_of(number: int) -> int:
    """The end of hour `number`."""
    return START_MS + (number + 1) * HOUR_MS


def of_items(number: int, items: Sequence[str]) -> pl.DataFrame:
    """A session on `items` in hour `number`, a second apart."""
    begin = START_MS + number * HOUR_MS
    rows = [(f"user-{number}", item, begin + 1000 * place) for place, item in enumerate(items)]
    return cut(table(rows), gap_seconds=1800)


@pytest.mark.slow  # trains eight times
def test_a_stream_learns_what_follows() -> None:
    """After some windows the next item comes first, in releases that verify."""
    stream = OnlineTraining(SETTINGS, active_items=CYCLE + 4)
    for number in range(8):
        stream.apply(window(number), end_of(number))
        stream.release(end_of(number))
    release = stream.release(end_of(7)).release

    found = replay.measure(release, to_arrays(window(8), release.catalogue), top=1, exclude_recent=0)

    assert found["recall_at_1"] > 0.9


@pytest.mark.slow
def test_the_newest_sessions_of_a_window_are_learned_last() -> None:
    """The network prefers what followed an item at the end of the window, whatever the order of the rows."""
    settings = SETTINGS.replaced(epochs=1, batch_clicks=32)
    items, minute_ms = range(8), HOUR_MS // 60
    rows = [
        (f"user-{item}-{minute}", clicked, START_MS + minute * minute_ms + step)
        for item in items
        for minute in reversed(range(60))
        for step, clicked in enumerate([f"first-{item}", f"{'late' if minute >= 30 else 'early'}-{item}"])
    ]
    stream = OnlineTraining(settings, active_items=3 * len(items))
    stream.apply(cut(table(rows), gap_seconds=1800), end_of(0))
    first, early, late = (
        stream.catalogue.indexes([f"{name}-{item}" for item in items]) for name in ("first", "early", "late")
    )
    scores = np.stack([stream._network.answer(np.array([item]))[1] for item in first])

    assert (scores[items, late] > scores[items, early]).all()


@pytest.mark.slow
def test_items_keep_their_places_and_the_same_clicks_give_the_same_release() -> None:
    """New ones follow at the end."""
    streams = [OnlineTraining(SETTINGS, active_items=6), OnlineTraining(SETTINGS, active_items=6)]
    one, other = (two_windows(stream) for stream in streams)

    assert streams[0].catalogue.ids(np.arange(5)).tolist() == ["a", "b", "c", "d", "e"]
    assert one == other


def two_windows(stream: OnlineTraining) -> Blob:
    """The release after them."""
    stream.apply(of_items(0, ["a", "b", "c"]), end_of(0))
    stream.release(end_of(0))
    stream.apply(of_items(1, ["d", "a", "e"]), end_of(1))
    return stream.release(end_of(1)).blob


def test_an_item_no_longer_active_keeps_its_vector_and_is_as_unpopular_as_can_be() -> None:
    """It is still in the release, and what is clicked at present is active."""
    stream = OnlineTraining(SETTINGS, active_items=3)
    stream.apply(of_items(0, ["a", "b", "c"]), end_of(0))
    first = stream.release(end_of(0))
    before = embeddings(first.blob)
    stream.apply(of_items(30, ["d", "e", "f"]), end_of(30))
    after = embeddings(stream.release(end_of(30)).blob)

    np.testing.assert_array_equal(after[:3], before)
    assert len(after) == 6


@pytest.mark.parametrize(
    ("rate", "found"),
    [(1e30, r"window 1, epoch 1 of 3: weights are up to .*e\+30"), (1e38, r"window 1, epoch 1 of 3")],
)
def test_a_window_that_diverges_is_an_error(rate: float, found: str) -> None:
    """It says where, and what to change. Nothing of such a network may be released."""
    stream = OnlineTraining(SETTINGS.replaced(learning_rate=rate), active_items=6)

    with pytest.raises(TrainingDiverged, match=f"diverged in {found}.*lower optimizer.learning_rate"):
        stream.apply(of_items(0, ["a", "b", "c"]), end_of(0))


def test_a_later_window_is_measured_by_the_first_loss_of_all() -> None:
    """Each window counts, not only the first."""
    stream = OnlineTraining(SETTINGS, active_items=6)
    stream.apply(of_items(0, ["a", "b", "c"]), end_of(0))
    network = stream._network
    network.set_weights([np.full_like(one, np.nan) for one in network.get_weights()])

    with pytest.raises(TrainingDiverged, match=r"window 2, epoch 1 of 3, after 0 batches: the loss is nan"):
        stream.apply(of_items(1, ["b", "c", "a"]), end_of(1))


def embeddings(blob: Blob) -> Floats:
    """The item vectors of a release."""
    return read(blob)["embedding"]
