from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
import polars as pl
import pytest

from tests.builders import Options, item_names, successor_release_parts, tiny_release
from tests.trainer.builders import MINUTE_MS, NOW, START_MS, sessions_of, table
from trainer.console import Progress
from trainer.dataset.holdout import HeldOut, cleaned, hold_out
from trainer.evaluation import replay
from trainer.evaluation.metrics import metrics
from trainer.evaluation.replay import answers, measure, recent_items, walk
from worker.core.ranking import NO_ITEM, OwnItems
from worker.core.release import verify
from worker.core.tables import ServingTables


def test_recent_items_stay_within_the_session() -> None:
    """The clicks before the predicted one, the latest first, and nothing from another session."""
    recent = recent_items(sessions_of([1, 2, 3], [4, 5]), 2)

    assert recent.tolist() == [[1, NO_ITEM], [2, 1], [4, NO_ITEM]]


def test_a_network_that_knows_the_answer_scores_one() -> None:
    """On a cycle the successor release is always right, popularity only as often as it happens."""
    items = item_names(6)
    release = verify(*successor_release_parts(items, popular=items))
    sessions = sessions_of([0, 1, 2, 3], [4, 5, 0])

    found = measure(release, sessions, top=1, exclude_recent=0)

    assert (found["recall_at_1"], found["mrr_at_1"]) == (1.0, 1.0)
    assert found["popular_recall_at_1"] == pytest.approx(1 / 5)
    assert found["predictions"] == 5


def test_approximate_ranking_is_measured_beside_exact_ranking(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both on the same sample of whole sessions, if the catalogue counts as large and there are lists."""
    eye, zeros = np.eye(6, dtype=np.float32), np.zeros((6, 6), np.float32)
    # An item leads to the next one; each item is a list of its own, and only the best list is scored.
    tensors = {
        "embedding": eye,
        "kernel": np.roll(eye, 1, axis=1),
        "recurrent_kernel": zeros,
        "bias": zeros[0],
        "lists": np.arange(6, dtype=np.int32),
    }
    tables = ServingTables(tensors, cell="elman", popular=np.arange(6, dtype=np.int32))
    sessions = sessions_of([0, 1, 2, 3], [4, 5, 0], [0, 2])
    small = measure(tables, sessions, top=1, exclude_recent=0)
    monkeypatch.setattr("worker.core.tables.EXACT_NUMBERS", 1)
    monkeypatch.setattr(replay, "EXACT_PREDICTIONS", 3)
    large = measure(tables, sessions, top=1, exclude_recent=0)

    assert "exact_predictions" not in small
    assert small.items() <= large.items()
    assert large["recall_at_1"] == pytest.approx(5 / 6)
    assert 1 <= large["exact_predictions"] <= 3
    assert large["exact_recall_at_1"] == large["sampled_recall_at_1"]


def test_the_clicked_item_can_be_excluded() -> None:
    """Where the target is the item just clicked, excluding it makes a miss of a hit, for both."""
    items = item_names(4)
    release = verify(*successor_release_parts(items, popular=items))
    repeated = sessions_of([0, 0])

    shown = measure(release, repeated, top=4, exclude_recent=0)
    excluded = measure(release, repeated, top=4, exclude_recent=1)

    assert (shown["recall_at_4"], shown["popular_recall_at_4"]) == (1.0, 1.0)
    assert (excluded["recall_at_4"], excluded["popular_recall_at_4"]) == (0.0, 0.0)


def held_out(clicks: pl.DataFrame, gap_seconds: float, from_ms: int | None) -> HeldOut:
    """`clicks` held out without a word."""
    silent = Progress()
    return hold_out(cleaned(clicks, silent, NOW), gap_seconds=gap_seconds, from_ms=from_ms, progress=silent)


def held_out_clicks(seed: int, users: int = 15, items: int = 30) -> pl.DataFrame:
    """Clicks of users who come back after short and long pauses, on known and unknown items."""
    random = np.random.default_rng(seed)
    return table(
        [
            (f"user-{user}", f"item-{item}", START_MS + at * MINUTE_MS)
            for user in range(users)
            for item, at in zip(
                random.integers(items + 5, size=12).tolist(),
                np.cumsum(random.choice([1, 29, 30, 31, 600], size=12)).tolist(),
                strict=True,
            )
        ]
    )


SHAPES: Final[Mapping[str, Options]] = {
    "elman": {"cell": "elman"},
    "gru": {"cell": "gru"},
    "lstm": {"cell": "lstm"},
    "two layers": {"layers": 2},
    "transitions": {"transitions": 8},
    "repeats": {"repeat_bias": (2.0, -1.0, 0.5)},
    "own items": {"own_items": OwnItems(64, 2.0, 8.0)},
    "few own items": {"own_items": OwnItems(2, -1.5, 1.0)},
    "bias": {"output_bias": True},
    "all together": {
        "cell": "lstm",
        "layers": 2,
        "embedding_size": 6,
        "output": "separate",
        "transitions": 8,
        "repeat_bias": (2.0, -1.0, 0.5),
        "own_items": OwnItems(30, 1.5, 20.0),
        "output_bias": True,
    },
}
"""Whatever a release may have."""


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("gap_seconds", [0.0, 1800.0])
@pytest.mark.parametrize("exclude_recent", [0, 1, 4, 25])
def test_the_numbers_are_about_the_code_that_serves(
    shape: Options, gap_seconds: float, exclude_recent: int
) -> None:
    """Place by place those of a worker's lists: gaps, unknown items, cold starts, exclusion."""
    options: Options = {**shape, "session_gap_seconds": gap_seconds}
    release = tiny_release(item_names(30), **options)
    held = held_out(held_out_clicks(2), gap_seconds, START_MS + 100 * MINUTE_MS)
    sessions = held.sessions(release.catalogue)

    fast = answers(release, sessions, top=5, exclude_recent=exclude_recent, at_once=3)
    exact = walk(release, held, top=5, exclude_recent=exclude_recent)

    assert NO_ITEM in sessions.items[sessions.scored]
    assert np.count_nonzero(exact.ranks) >= 5
    assert fast.ranks.tolist() == exact.ranks.tolist()
    assert fast.shown.tolist() == exact.shown.tolist()


def test_measure_counts_the_places() -> None:
    """The metrics of a release are those of its answers."""
    release = tiny_release(item_names(30))
    sessions = held_out(held_out_clicks(3), 1800, None).sessions(release.catalogue)

    found = measure(release, sessions, top=5, exclude_recent=1)
    ranks = answers(release, sessions, top=5, exclude_recent=1).ranks

    assert {name: found[name] for name in metrics(ranks, 5)} == metrics(ranks, 5)
