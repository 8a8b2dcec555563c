from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import polars as pl
import pytest

from tests.trainer.builders import MINUTE_MS, NOW, START_MS, cyclic_clicks
from trainer.config import FitSettings
from trainer.console import Progress
from trainer.continuous.plan import Champion, Plan, Window
from trainer.continuous.strategies import Apart, Maker, Refit, Streamed
from trainer.errors import TooFewClicks, TrainingDied
from trainer.release.package import PackagedRelease
from worker.errors import SettingError

PLAN = Plan(every_seconds=3_600, window_days=1, warm_epochs=1)
SMALL = FitSettings(
    hidden_size=8,
    epochs=3,
    batch_clicks=64,
    learning_rate=0.02,
    schedule="constant",
    session_gap_seconds=600,
    popularity_half_lives_hours=(1.0,),
    transition_half_lives_hours=(24.0,),
    repeat_lags=0,
)


def span(minutes: int) -> Window:
    """A window of a day whose held-out end begins so many minutes after the first click."""
    split_ms = START_MS + minutes * MINUTE_MS
    return Window(START_MS, split_ms, split_ms + 60 * MINUTE_MS)


def clicks_until(window: Window) -> pl.LazyFrame:
    """Sessions of five minutes one after the other, up to the end of the window."""
    return cyclic_clicks(400).lazy().filter(pl.col("timestamp_ms") <= window.end_ms)


def made(maker: Maker, minutes: int, champion: Champion | None = None) -> PackagedRelease:
    """The release of a round."""
    return maker.make(clicks_until(span(minutes)), span(minutes), champion, NOW)


def training(fitted: PackagedRelease) -> Mapping[str, Any]:
    """What its manifest says of how it was trained."""
    return fitted.manifest.training


@pytest.mark.slow
def test_a_round_begins_with_the_champion() -> None:
    """For its few epochs, in its shape and on what is before the held-out end; or from the start."""
    first = made(Refit(PLAN, SMALL, Progress(), asked=()), 500)
    champion = Champion(1, *first.parts)
    wider = replace(SMALL, hidden_size=12)

    warm = made(Refit(PLAN, wider, Progress(), asked=()), 600, champion)
    anew = made(Refit(replace(PLAN, warm=False), wider, Progress(), asked=("hidden_size",)), 600, champion)

    assert [len(training(one)["epochs"]) for one in (first, warm, anew)] == [3, 1, 3]
    assert [one.manifest.hidden_size for one in (warm, anew)] == [8, 12]
    assert [one.manifest.lineage["parent"] for one in (warm, anew)] == [first.manifest.sha256, None]
    assert training(warm)["test_from"] == "2020-09-13T22:26:40+00:00"
    with pytest.raises(SettingError, match="hidden_size is 12, the release to begin with has 8"):
        made(Refit(PLAN, wider, Progress(), asked=("hidden_size",)), 600, champion)


class Dying:
    """A maker whose process is killed."""

    def make(self, *arguments: Any) -> PackagedRelease:
        """Never."""
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError


class Faulty:
    """A maker with a fault: no later round would make anything else."""

    def make(self, *arguments: Any) -> PackagedRelease:
        """Never."""
        raise ZeroDivisionError


@pytest.mark.slow
def test_a_training_apart_makes_the_same_and_its_end_is_no_other_s() -> None:
    """The release, an error, or that it died."""
    refit = Refit(PLAN, SMALL, Progress(), asked=())

    assert made(Apart(refit), 500).blob == made(refit, 500).blob
    with pytest.raises(TooFewClicks, match="no session begins before"):
        made(Apart(refit), -10)
    with pytest.raises(TrainingDied, match="killed by signal 9"):
        made(Apart(Dying()), 500)
    with pytest.raises(RuntimeError, match="ended with exit code 1"):
        made(Apart(Faulty()), 500)


@pytest.mark.slow
def test_a_stream_learns_what_ended_since_the_last_round() -> None:
    """Each session once, when its gap is over; a stream made anew learns all of the window."""
    stream = Streamed(PLAN, SMALL, Progress())

    first, second = made(stream, 420), made(stream, 480)
    anew = made(Streamed(PLAN, SMALL, Progress()), 480)

    # A session that begins at minute m has its last click at m + 4 and is over at m + 14.
    sessions = [len([m for m in range(0, 480, 5) if m + 14 <= end]) for end in (420, 480)]
    assert [training(one)["sessions"] for one in (first, second)] == sessions
    assert [training(one)["clicks"] for one in (first, second)] == [5 * count for count in sessions]
    assert training(second)["stream"] == {
        "windows": 8,
        "page": 2048,
        "page_half_life_hours": 12.0,
        "memory_hours": 24,
    }
    assert first.blob != second.blob
    for release in (first, second, anew):
        assert release.manifest.items == 12
    assert told(second) == told(anew)


def told(fitted: PackagedRelease) -> list[Any]:
    """What its manifest says that it is made of."""
    names = ("clicks", "sessions", "first_click", "last_click", "test_from", "cleaning", "stream")
    return [training(fitted)[name] for name in names]


@pytest.mark.slow
def test_a_stream_tells_what_it_was_made_of() -> None:
    """As a training does: each click, and each that cleaning removed, counts once, over all rounds."""
    twice = pl.concat(
        [clicks_until(span(400)), clicks_until(span(400)).filter(pl.col("item_id") == "item-0")]
    )
    copies = clicks_until(span(400)).filter(pl.col("item_id") == "item-0").collect()["timestamp_ms"]
    stream = Streamed(PLAN, SMALL, Progress())

    rounds = [stream.make(twice, span(minutes), None, NOW) for minutes in (300, 400)]

    assert [training(one)["first_click"] for one in rounds] == ["2020-09-13T12:26:40+00:00"] * 2
    assert [training(one)["test_from"] for one in rounds] == [
        "2020-09-13T17:26:40+00:00",
        "2020-09-13T19:06:40+00:00",
    ]
    # The last sessions that are over begin at minutes 285 and 385.
    assert [training(one)["last_click"] for one in rounds] == [
        "2020-09-13T17:15:40+00:00",
        "2020-09-13T18:55:40+00:00",
    ]
    for one, minutes in zip(rounds, (300, 400), strict=True):
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
def test_the_page_of_a_stream_is_the_plan_s() -> None:
    """Its size, and how fast clicks fade on it."""
    plan = replace(PLAN, page=4, page_half_life_hours=0.5)

    stream = training(made(Streamed(plan, SMALL, Progress()), 60))["stream"]

    assert (stream["page"], stream["page_half_life_hours"]) == (4, 0.5)


def test_a_stream_without_a_session_that_ended_makes_nothing() -> None:
    """Too early."""
    with pytest.raises(TooFewClicks, match="no session ended before the held-out end"):
        made(Streamed(PLAN, SMALL, Progress()), 10)


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("schedule", "cosine", "schedule is 'cosine', it must be 'constant'"),
        ("output_table", "separate", "output_table is 'separate', it must be 'tied'"),
        ("session_gap_seconds", 0.0, "session_gap_minutes is 0"),
        ("numeric", ("price",), "a stream knows no features"),
        ("min_value_count", 9, "min_value_count: without effect on a stream"),
        ("negatives", 64, "negatives: without effect on a stream, leave them out"),
        ("max_clicks_per_hour", 9, "max_clicks_per_hour: without effect on a stream"),
    ],
)
def test_what_a_stream_cannot_be_is_refused(name: str, value: Any, problem: str) -> None:
    """With the setting and what it must be."""
    with pytest.raises(SettingError, match=problem):
        Streamed(PLAN, replace(SMALL, **{name: value}), Progress())
