from __future__ import annotations

import re
from typing import Any, Final

import numpy as np
import polars as pl
import pytest

from tests.trainer.builders import CYCLE, NOW, START_MS, cyclic_clicks, table
from tests.trainer.returning import returning_clicks
from trainer.config import FitSettings
from trainer.console import Progress
from trainer.errors import TooFewClicks
from trainer.release.package import PackagedRelease
from trainer.training import fit as fitting
from trainer.training.fit import fit
from worker.core.ranking import NO_ITEM
from worker.core.recent import RECENT_ITEMS

SMALL = FitSettings.of(hidden_size=16, epochs=8, batch_clicks=64, learning_rate=0.01, top=1)


class Remembered(Progress):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.total = self.done = 0

    def say(self, line: str) -> None:
        """Keep `line`."""
        self.lines.append(line)

    def start(self, predictions: int) -> None:
        """Add up how many there are, over both trainings."""
        self.total += predictions

    def advance(self, predictions: int, loss: float) -> None:
        """Count."""
        self.done += predictions


@pytest.fixture(scope="module")
def fitted() -> tuple[PackagedRelease, Remembered]:
    """A GRU trained on a cycle."""
    progress = Remembered()
    return fit(cyclic_clicks(), SMALL, progress, now=NOW), progress


def test_a_network_learns_what_popularity_cannot(fitted: tuple[PackagedRelease, Remembered]) -> None:
    """On a cycle the last click tells the next: Recall@1 is nearly 1, the popular item is right by chance."""
    metrics = fitted[0].manifest.metrics

    assert metrics["recall_at_1"] > 0.95
    assert metrics["popular_recall_at_1"] < 0.3


@pytest.mark.slow
@pytest.mark.parametrize(("cell", "state_size"), [("elman", 16), ("lstm", 32)])
def test_the_other_cells_learn_too(cell: str, state_size: int) -> None:
    """One epoch count and learning rate for all; an LSTM's golden state is h and c."""
    manifest = fit(cyclic_clicks(), SMALL.replaced(cell=cell), now=NOW).manifest

    assert manifest.metrics["recall_at_1"] > 0.9
    assert len(manifest.golden[0].hidden) == state_size


REFERENCE = {"output_table": "separate", "output_bias": True, "normalize": False, "dropout": 0.0}
"""What the textbooks' networks have in common."""


@pytest.mark.slow
@pytest.mark.parametrize(
    "chosen",
    [
        {**REFERENCE, "cell": "lstm", "hidden_dropout": 0.2},
        {**REFERENCE, "cell": "elman", "function": "squared_error", "algorithm": "sgd", "learning_rate": 0.5},
        {"negatives": 4, "label_smoothing": 0.1},
        {"function": "bpr_max"},
        {"function": "top1_max", "negatives": 8},
        {"full_batch": True, "epochs": 30, "learning_rate": 0.1},
        {"carry_state": True, "max_session_clicks": 3, "schedule": "linear", "warmup_steps": 10},
        {"average_decay": 0.9, "weight_decay": 1e-4, "clip_value": 1.0, "class_weight_power": 0.5},
    ],
    ids=["reference", "squared", "sampled", "bpr_max", "top1_max", "full batch", "carried", "average"],
)
def test_whatever_is_chosen_learns_the_cycle(chosen: dict[str, Any]) -> None:
    """Better than chance by far, and the release verifies in NumPy."""
    settings = SMALL.replaced(**{"epochs": 12, "patience": 80, **chosen})

    manifest = fit(cyclic_clicks(), settings, now=NOW).manifest

    assert manifest.metrics["recall_at_1"] > 0.6


def late_clicks() -> pl.DataFrame:
    """Return a cycle in which `item-new` follows `item-0`, but only in the validation split and later."""
    clicks = cyclic_clicks()
    late = pl.col("timestamp_ms") >= clicks["timestamp_ms"].quantile(0.87)
    return clicks.with_columns(
        item_id=pl.when(late & (pl.col("item_id") == "item-1"))
        .then(pl.lit("item-new"))
        .otherwise(pl.col("item_id"))
    )


def test_the_final_training_learns_the_validation_split() -> None:
    """An item first clicked there is in the catalogue, and is recommended; the epochs are the chosen ones."""
    chosen = SMALL.replaced(validation_fraction=0.2, epochs=12)

    known, unknown = (
        fit(late_clicks(), settings, now=NOW).manifest
        for settings in (chosen, chosen.replaced(final_training=False))
    )

    assert (known.items, unknown.items) == (CYCLE + 1, CYCLE)
    assert known.metrics["recall_at_1"] > unknown.metrics["recall_at_1"] + 0.05
    assert known.metrics["predictions"] == unknown.metrics["predictions"]
    assert known.training["clicks"] > unknown.training["clicks"]
    assert known.training["epochs"] == unknown.training["epochs"]
    mrr = [epoch["mrr_at_1"] for epoch in known.training["epochs"]]
    assert known.training["final_training"] == {"epochs": mrr.index(max(mrr)) + 1}
    assert "final_training" not in unknown.training


UNBLENDED: Final[dict[str, Any]] = {
    "popularity_half_lives": (),
    "transition_half_lives": (),
    "co_occurrences": 0,
    "repeat_lags": 0,
    "own_items": 0,
}


@pytest.mark.slow
def test_a_final_training_that_diverges_costs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The release is that of the first training, and the user is told why."""
    told = Remembered()
    real = fitting.train

    def train(data: Any, settings: Any, progress: Any, **more: Any) -> Any:
        if more.get("course"):
            # A learning rate that no network survives, for the final training only.
            settings = settings.replaced(learning_rate=1e30, schedule="constant", clip_norm=0.0)
        return real(data, settings, progress, **more)

    monkeypatch.setattr(fitting, "train", train)
    fitted = fit(cyclic_clicks(), SMALL, told, now=NOW)

    assert any(line.endswith("; the release is that of the first training") for line in told.lines)
    assert "final_training" not in fitted.manifest.training
    assert fitted.manifest.metrics["recall_at_1"] > 0.9


@pytest.mark.slow
def test_what_is_added_to_scores_is_learned_on_the_validation_end() -> None:
    """And is in the release, which verifies, if it helps; nothing is added where nothing is asked for."""
    clicks = cyclic_clicks()
    chosen = SMALL.replaced(epochs=1, learning_rate=1e-12, transition_half_lives=(3600.0,), transitions=3)
    without = chosen.replaced(**UNBLENDED)

    blended, plain = (fit(clicks, settings, now=NOW).manifest for settings in (chosen, without))

    weights = blended.training["blend"]
    assert blended.transitions == 3
    assert weights["transitions"][0] > 0
    assert blended.output_bias == bool(weights["popularity"])
    assert len(blended.repeat_bias) == len(weights["repeats"])
    assert blended.co_occurrences == (chosen.blend.co_occurrences if weights["co_occurrences"] else 0)
    assert (plain.repeat_bias, plain.output_bias, plain.transitions) == ((), False, 0)
    assert "blend" not in plain.training


@pytest.mark.slow
def test_without_a_validation_end_there_is_no_blend_and_that_is_told() -> None:
    """Unless none was asked for."""
    chosen = SMALL.replaced(epochs=1, validation_fraction=0.0)
    without = chosen.replaced(**UNBLENDED)
    told, silent = Remembered(), Remembered()

    fitted = [fit(cyclic_clicks(50), *one, now=NOW) for one in ((chosen, told), (without, silent))]

    line = "no blend: there are no validation clicks to learn its weights from"
    assert (line in told.lines, line in silent.lines) == (True, False)
    assert all("blend" not in one.manifest.training for one in fitted)


@pytest.mark.slow
def test_an_item_never_clicked_ranks_like_its_kind() -> None:
    """Two kinds alternate: after one of a, items of kind b come first, also the one that nobody clicked."""
    clicks = two_kinds()
    settings = SMALL.replaced(epochs=15, categorical=("kind",), min_value_count=1, min_item_count=1)

    release = fit(clicks, settings.replaced(file=None), now=NOW).release

    catalogue = release.catalogue
    state = np.zeros((1, release.state_size), np.float32)
    clicked = catalogue.indexes(["a-1"])
    recent = np.append(clicked, np.full(RECENT_ITEMS, NO_ITEM, np.int32))[: release.recent_needed]
    state = release.step(release.inputs(clicked), state)
    ranked = catalogue.ids(release.rank(state, len(catalogue), recent=recent[None]).indexes[0]).tolist()
    assert "b-new" in ranked[:5]
    assert "a-new" in ranked[-6:]


def two_kinds() -> pl.DataFrame:
    """Sessions that go from an item of kind a to one of kind b and back; two more items stand alone."""
    random = np.random.default_rng(0)
    rows = [
        (
            f"user-{number}",
            f"{'ab'[(number + step) % 2]}-{random.integers(4)}",
            START_MS + (number * 4 + step),
        )
        for number in range(300)
        for step in range(4)
    ]
    alone = [("user-x", "a-new", START_MS), ("user-y", "b-new", START_MS)]
    clicks = table([*alone, *rows])
    return clicks.with_columns(kind=pl.col("item_id").str.head(1))


def test_the_release_verifies_and_says_where_it_comes_from(
    fitted: tuple[PackagedRelease, Remembered],
) -> None:
    """Keras' golden answers hold in NumPy, and the manifest has window, counts, settings and lineage."""
    release, manifest = fitted[0].release, fitted[0].manifest

    training = manifest.training
    assert len(release.catalogue) == CYCLE
    assert [len(golden.hidden) for golden in manifest.golden] == 5 * [SMALL.model.hidden_size]
    assert manifest.session_gap_seconds == SMALL.dataset.session_gap
    assert training["first_click"] == "2020-09-13T12:26:40+00:00"
    assert training["settings"]["model"]["hidden_size"] == 16
    assert training["cleaning"][0] == {
        "removed": 0,
        "left": 2000,
        "what": "clicks",
        "why": "user or item is missing",
    }
    assert manifest.created_at == NOW.isoformat(timespec="seconds")
    assert manifest.lineage == {"parent": None}


def test_the_user_is_told_of_every_step(fitted: tuple[PackagedRelease, Remembered]) -> None:
    """What was removed, if anything; what is trained on, each epoch; the bar never runs past its end."""
    told = "\n".join(fitted[1].lines)

    assert "removed 0" not in told
    assert "with 12 items, from 2020-09-13T12:26:40+00:00 to " in told
    assert "epoch 1 of 8: loss " in told
    assert re.search(r"kept epoch \d, the best by MRR@\d+ \(\d.\d{4}\); stopped after epoch \d: ", told)
    assert re.search(
        r"left out of the blend, because they do not help .*: (popularity|transitions|co-occur|repeats)",
        told,
    )
    assert "of the sessions have one click" not in told
    assert 0 < fitted[1].done <= fitted[1].total


@pytest.mark.slow
def test_a_seed_repeats_a_release_bit_by_bit() -> None:
    """Same clicks, settings and seed: same blob and metrics; another seed: another blob."""
    short = SMALL.replaced(epochs=2)
    first, again, other = (fit(cyclic_clicks(150), short.replaced(seed=seed), now=NOW) for seed in (1, 1, 2))

    assert first.blob == again.blob
    assert first.manifest == again.manifest
    assert first.blob != other.blob


@pytest.mark.slow
def test_training_stops_when_validation_gets_no_better() -> None:
    """With a learning rate that moves nothing, patience ends it early and the best weights are kept."""
    release = fit(cyclic_clicks(150), SMALL.replaced(learning_rate=1e-12, patience=2), now=NOW)

    assert len(release.manifest.training["epochs"]) == 3


@pytest.mark.slow  # trains
def test_the_held_out_end_is_not_trained_on() -> None:
    """An item that appears only at the end is in no catalogue, and its clicks count as misses."""
    begin = cyclic_clicks(200)
    last_ms = begin["timestamp_ms"][-1]
    end = table([(f"late-{n % 20}", f"new-{n // 20}", last_ms + 1 + n) for n in range(100)])
    settings = SMALL.replaced(epochs=1, min_item_count=1, split_at=last_ms + 1)

    manifest = fit(pl.concat([begin, end]), settings, now=NOW).manifest

    assert manifest.items == CYCLE
    assert manifest.metrics["predictions"] == 80
    assert manifest.metrics["recall_at_1"] == 0


@pytest.mark.slow
def test_without_held_out_parts_the_release_is_unmeasured() -> None:
    """Fractions of 0: all clicks are trained on, nothing is claimed."""
    settings = SMALL.replaced(epochs=1, test_fraction=0.0, validation_fraction=0.0)

    manifest = fit(cyclic_clicks(50), settings, now=NOW).manifest

    assert manifest.metrics == {}
    assert manifest.training["clicks"] == 250


@pytest.mark.slow
def test_sessions_without_an_end_are_trained_in_pieces() -> None:
    """Gap 0 and users of many clicks: the release says so, and has learned the cycle."""
    clicks = cyclic_clicks(20, 60)
    settings = SMALL.replaced(session_gap=0.0, max_session_clicks=16)

    manifest = fit(clicks, settings, now=NOW).manifest

    assert manifest.session_gap_seconds == 0
    assert manifest.metrics["recall_at_1"] > 0.9


ALONE = [(f"user-{n}", f"item-{n % 3}", START_MS + n) for n in range(60)]
ONE_ITEM = [("user", "lamp", START_MS + n) for n in range(60)]
RARE = [("user", f"item-{n}", START_MS + n) for n in range(60)]
NO_TIME = [("user", "lamp", None)]


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        (ALONE, "sessions have one click, so there is no next click to learn; check the user column"),
        (ONE_ITEM, r"all clicks are on one item \('lamp'\)"),
        (RARE, "none of the 60 items has 5 clicks before the hold-out; lower dataset.min_item_count"),
        (NO_TIME, "no click is left after cleaning"),
    ],
    ids=["sessions of one click", "one item", "rare items", "no times"],
)
def test_unusable_clicks_are_refused_with_a_remedy(rows: list[tuple[str, str, int | None]], why: str) -> None:
    """Before TensorFlow has anything to do."""
    with pytest.raises(TooFewClicks, match=why):
        fit(table(rows), FitSettings.of(min_item_count=5), now=NOW)


@pytest.mark.slow
def test_where_users_return_their_own_items_are_counted() -> None:
    """In the release, which verifies; hits are far more than without. The weight is in the manifest."""
    clicks, settings = returning_clicks(200, places=300), SMALL.replaced(epochs=3, min_item_count=2)

    counted, without = (fit(clicks, settings.replaced(own_items=own), now=NOW).manifest for own in (64, 0))

    assert (counted.own_items, without.own_items) == (64, 0)
    assert counted.own_weight > 0.5
    learned = [counted.own_bonus, counted.own_weight]
    assert counted.training["blend"]["own_items"] == pytest.approx(learned, abs=1e-3)
    metric = f"mrr_at_{settings.evaluation.top}"
    assert counted.metrics[metric] > 1.3 * without.metrics[metric]


@pytest.mark.slow
def test_whoever_has_one_session_has_no_own_items() -> None:
    """Its items are in the session, and repeats count them: no worker keeps more of them for nothing."""
    manifest = fit(cyclic_clicks(), SMALL.replaced(epochs=2), now=NOW).manifest

    assert manifest.own_items == 0
