from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl
import pytest

from tests.trainer.builders import CYCLE, MINUTE_MS, NOW, START_MS, cyclic_clicks
from trainer.config import Dataset, FitSettings, Run
from trainer.console import Lines, Progress
from trainer.continuous.plan import Window
from trainer.continuous.strategies import Online, Refit, Strategy
from trainer.dataset.decisions import OF_CLICKS
from trainer.errors import TooFewClicks, TrainingDiverged
from trainer.release.package import PackagedRelease
from worker.errors import SettingError

PLAN = Run(every=3_600, window=86_400, warm_epochs=1)
SMALL = FitSettings.of(
    hidden_size=8,
    epochs=3,
    batch_clicks=64,
    learning_rate=0.02,
    schedule="constant",
    session_gap=600,
    popularity_half_lives=(3600.0,),
    transition_half_lives=(86400.0,),
    repeat_lags=0,
)


def span(minutes: int) -> Window:
    """Return a window of a day whose hold-out begins `minutes` after the first click."""
    split_ms = START_MS + minutes * MINUTE_MS
    return Window(START_MS, split_ms, split_ms + 60 * MINUTE_MS)


def clicks_until(window: Window) -> pl.LazyFrame:
    """Return sessions of five minutes one after the other, up to the end of the window."""
    return cyclic_clicks(400).lazy().filter(pl.col("timestamp_ms") <= window.end_ms)


def made(strategy: Strategy, minutes: int, champion: PackagedRelease | None = None) -> PackagedRelease:
    """Return the release of a run."""
    return strategy.train(clicks_until(span(minutes)), span(minutes), champion, NOW)


def training(fitted: PackagedRelease) -> Mapping[str, Any]:
    """Return what its manifest says of its training."""
    return fitted.manifest.training


@pytest.mark.slow
def test_a_run_begins_with_the_champion() -> None:
    """With few epochs, in its shape and on the clicks before the hold-out; or from the start."""
    first = made(Refit(PLAN, SMALL, Progress(), asked=()), 500)
    wider = SMALL.replaced(hidden_size=12)

    warm = made(Refit(PLAN, wider, Progress(), asked=()), 600, first)
    from_start = made(
        Refit(PLAN.model_copy(update={"warm": False}), wider, Progress(), asked=("model.hidden_size",)),
        600,
        first,
    )

    assert [len(training(one)["epochs"]) for one in (first, warm, from_start)] == [3, 1, 3]
    assert [one.manifest.hidden_size for one in (warm, from_start)] == [8, 12]
    assert [one.manifest.lineage["parent"] for one in (warm, from_start)] == [first.manifest.sha256, None]
    assert training(warm)["test_from"] == "2020-09-13T22:26:40+00:00"
    with pytest.raises(SettingError, match="hidden_size is 12, but the release to start from has 8"):
        made(Refit(PLAN, wider, Progress(), asked=("model.hidden_size",)), 600, first)


def test_a_hold_out_of_the_last_clicks_is_refused() -> None:
    """At once, not in every run."""
    with pytest.raises(SettingError, match=r"dataset.leave_last \(2\): in `run`, the hold-out is chosen by"):
        Refit(PLAN, SMALL.replaced(leave_last=2), Progress(), asked=())


@pytest.mark.slow
def test_a_release_that_passed_the_gate_learns_the_hold_out() -> None:
    """Its network and its counts do; the metrics are those of the release that was measured."""
    refit, window = Refit(PLAN, SMALL.replaced(min_item_count=1), Progress(), asked=()), span(500)
    new = pl.when(pl.col("timestamp_ms") >= window.split_at_ms).then(pl.lit("-new")).otherwise(pl.lit(""))
    clicks = clicks_until(window).with_columns(item_id=pl.col("item_id") + new)
    measured = refit.train(clicks, window, None, NOW)

    finished = refit.finish(clicks, window, measured, NOW)

    assert finished.manifest.items == measured.manifest.items + CYCLE
    known = measured.release.catalogue.ids(np.arange(measured.manifest.items)).tolist()
    assert finished.release.catalogue.ids(np.arange(len(known))).tolist() == known
    assert finished.manifest.metrics == measured.manifest.metrics
    assert training(finished)["learned_hold_out"] == {"from": "2020-09-13T20:46:40+00:00", "predictions": 48}
    assert training(finished)["clicks"] > training(measured)["clicks"]
    assert "test_from" not in training(finished)


@pytest.mark.slow
def test_what_the_first_run_decided_holds_for_later_runs() -> None:
    """Clicks a day apart: sessions never end, also in the release of the second run and after its finish."""
    apart = cyclic_clicks(40).with_columns(
        timestamp_ms=START_MS + pl.int_range(pl.len()) * 2 * 60 * MINUTE_MS
    )
    apart = apart.with_columns(user_id=pl.col("user_id").str.slice(-1))
    window = Window(START_MS, START_MS + 300 * 60 * MINUTE_MS, START_MS + 400 * 60 * MINUTE_MS)
    settings = SMALL.model_copy(update={"dataset": Dataset()})
    refit = Refit(PLAN, settings, Progress(), asked=())

    champion, releases = None, []
    for _ in range(2):
        measured = refit.train(apart.lazy(), window, champion, NOW)
        champion = refit.finish(apart.lazy(), window, measured, NOW)
        releases += [measured, champion]

    assert [one.manifest.session_gap_seconds for one in releases] == [0, 0, 0, 0]
    keys = [[decision["key"] for decision in training(one)["decisions"]] for one in releases]
    own = ["dataset.validation_fraction", "loss.negatives", "model.dropout"]
    assert [sorted(one) for one in keys] == [sorted([*OF_CLICKS, *own])] * 4


@pytest.mark.slow
def test_the_hold_out_is_not_learned_if_there_is_no_final_training() -> None:
    """Online training learns it in its next run."""
    refit = Refit(PLAN, SMALL.replaced(final_training=False), Progress(), asked=())
    measured = made(refit, 500)

    for strategy in (refit, Online(PLAN, SMALL, Progress())):
        assert strategy.finish(clicks_until(span(500)), span(500), measured, NOW) is measured


@pytest.mark.slow
def test_online_training_learns_what_ended_since_the_last_run() -> None:
    """It learns each session once, when its gap is over; after a restart it learns all of the window."""
    online = Online(PLAN, SMALL, Progress())

    first, second = made(online, 420), made(online, 480)
    restarted = made(Online(PLAN, SMALL, Progress()), 480)

    # A session that begins at minute m has its last click at m + 4 and is over at m + 14.
    sessions = [len([m for m in range(0, 480, 5) if m + 14 <= end]) for end in (420, 480)]
    assert [training(one)["sessions"] for one in (first, second)] == sessions
    assert [training(one)["clicks"] for one in (first, second)] == [5 * count for count in sessions]
    assert training(second)["online"] == {
        "windows": 8,
        "active_items": 2048,
        "active_half_life_hours": 12.0,
        "memory_hours": 24,
    }
    assert first.blob != second.blob
    for release in (first, second, restarted):
        assert release.manifest.items == 12
    assert reported(second) == reported(restarted)


def reported(fitted: PackagedRelease) -> list[Any]:
    """Return what its manifest says of its clicks."""
    names = ("clicks", "sessions", "first_click", "last_click", "test_from", "cleaning", "online")
    return [training(fitted)[name] for name in names]


@pytest.mark.slow
def test_online_training_reports_what_it_learned_from() -> None:
    """As any training does: each click, and each that cleaning removed, counts once over all runs."""
    twice = pl.concat(
        [clicks_until(span(400)), clicks_until(span(400)).filter(pl.col("item_id") == "item-0")]
    )
    copies = clicks_until(span(400)).filter(pl.col("item_id") == "item-0").collect()["timestamp_ms"]
    online = Online(PLAN, SMALL, Progress())

    runs = [online.train(twice, span(minutes), None, NOW) for minutes in (300, 400)]

    assert [training(one)["first_click"] for one in runs] == ["2020-09-13T12:26:40+00:00"] * 2
    assert [training(one)["test_from"] for one in runs] == [
        "2020-09-13T17:26:40+00:00",
        "2020-09-13T19:06:40+00:00",
    ]
    # The last sessions that are over begin at minutes 285 and 385.
    assert [training(one)["last_click"] for one in runs] == [
        "2020-09-13T17:15:40+00:00",
        "2020-09-13T18:55:40+00:00",
    ]
    for one, minutes in zip(runs, (300, 400), strict=True):
        steps = training(one)["cleaning"]
        removed = int((copies < span(minutes).split_at_ms).sum())
        assert [step["removed"] for step in steps] == [0, 0, 0, removed]
        assert steps[-1] == {
            "removed": removed,
            "left": minutes,
            "what": "clicks",
            "why": "exact duplicates (same user, item and time)",
        }


@pytest.mark.slow
def test_the_active_items_are_those_of_the_plan() -> None:
    """Their number, and how fast their clicks fade."""
    plan = PLAN.model_copy(update={"active_items": 4, "active_half_life": 1800})

    found = training(made(Online(plan, SMALL, Progress()), 60))["online"]

    assert (found["active_items"], found["active_half_life_hours"]) == (4, 0.5)


@pytest.mark.slow
def test_after_a_training_that_diverged_the_window_is_learned_anew() -> None:
    """By a new network: the next release is that of a trainer which starts then."""
    online, fresh = (Online(PLAN, SMALL, Progress()) for _ in range(2))
    made(online, 120)
    begun = online._training
    assert begun is not None
    network = begun._network
    network.set_weights([np.full_like(one, np.nan) for one in network.get_weights()])
    with pytest.raises(TrainingDiverged, match="diverged in window 3, "):
        made(online, 180)

    again = made(online, 180)

    assert reported(again) == reported(made(fresh, 180))
    assert np.isfinite(training(again)["epochs"][0]["loss"])


def test_without_a_session_that_ended_nothing_is_made() -> None:
    """It is too early for that."""
    with pytest.raises(TooFewClicks, match="no session ended before the hold-out"):
        made(Online(PLAN, SMALL, Progress()), 10)


def test_online_settings_that_are_not_set_follow_the_interval() -> None:
    """The half-lives are multiples of it; what the user set stays, and all that was chosen is said."""
    lines = list[str]()
    settings = FitSettings.of(batch_clicks=64, transition_half_lives=(7_200.0,))

    Online(Run(every=600), settings, Lines(lines.append))

    assert lines == [
        (
            'online training with a run every 10m: optimizer.schedule "constant", optimizer.learning_rate '
            '0.004, blend.popularity_half_lives ["90s", "10m", "1h"]'
        )
    ]


def test_online_training_decides_from_the_clicks_before_the_hold_out() -> None:
    """Repeats in the hold-out count for nothing; those before it do."""
    window = span(120)
    clicks, held_out = clicks_until(window), pl.col("timestamp_ms") >= window.split_at_ms
    decided = []
    for repeated in (pl.lit(value=False), held_out, ~held_out):
        item = pl.when(repeated).then(pl.lit("item-0")).otherwise("item_id")
        lines = list[str]()
        online = Online(PLAN, SMALL, Lines(lines.append))
        online.train(clicks.with_columns(item_id=item), window, None, NOW)
        decided += [line.partition(":")[0] for line in lines if line.startswith("evaluation.exclude_recent")]

    assert decided[0] == decided[1] != decided[2] == "evaluation.exclude_recent 0"


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("schedule", "cosine", 'schedule is "cosine" but must be "constant"'),
        ("output_table", "separate", 'output_table is "separate" but must be "tied"'),
        ("session_gap", 0.0, "dataset.session_gap is 0"),
        ("numeric", ("price",), "online training does not support features"),
        ("min_value_count", 9, "min_value_count: no effect on online training"),
        ("negatives", 64, "negatives: no effect on online training; leave them out"),
        ("max_clicks_per_hour", 9, "max_clicks_per_hour: no effect on online training"),
    ],
)
def test_settings_that_online_training_cannot_have_are_refused(name: str, value: Any, problem: str) -> None:
    """The error names the setting and its right value."""
    with pytest.raises(SettingError, match=problem):
        Online(PLAN, SMALL.replaced(**{name: value}), Progress())
