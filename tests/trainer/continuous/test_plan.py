from __future__ import annotations

import pytest

from tests.builders import ITEMS, successor_release_parts
from trainer.config import Run, TrainerSettings
from trainer.continuous.plan import (
    AGAIN_SECONDS,
    COLLECTED,
    CurrentReleases,
    RunOutcome,
    Window,
    expected,
    known_to,
    next_begin,
    pointer,
    skips,
    unknown_to,
    window,
)
from trainer.dataset.holdout import LEARNED
from trainer.release.package import PackagedRelease
from worker.errors import SettingError
from worker.settings.loading import load
from worker.topics.releases import CANDIDATE, CHAMPION

HOUR = 3_600.0
EXPERIMENTS = Run(policy="candidate")


def current(champion: int | None = 7, candidate: int | None = None) -> CurrentReleases:
    """Return releases that serve."""
    manifest, blob = successor_release_parts(ITEMS)
    release = PackagedRelease.verified(manifest, blob, number=champion or 0)
    return CurrentReleases(release if champion else None, candidate)


@pytest.mark.parametrize(
    ("took", "outcome", "begins"),
    [
        (600.0, RunOutcome.PUBLISHED, HOUR),
        (600.0, RunOutcome.REFUSED, HOUR),
        (600.0, RunOutcome.TOO_FEW, HOUR),
        (600.0, RunOutcome.DIVERGED, HOUR),
        (HOUR + 1, RunOutcome.PUBLISHED, HOUR + 1),
        (600.0, RunOutcome.FAILED, 600 + AGAIN_SECONDS),
        (600.0, RunOutcome.DEPOSED, 600 + AGAIN_SECONDS),
        (HOUR - 1, RunOutcome.FAILED, HOUR),
        (HOUR + 1, RunOutcome.FAILED, HOUR + 1),
    ],
)
def test_runs_begin_steadily(took: float, outcome: RunOutcome, begins: float) -> None:
    """From begin to begin; at once after one that took longer, and soon after one that may go better."""
    assert next_begin(began=0.0, now=took, every=HOUR, outcome=outcome) == begins


@pytest.mark.parametrize(
    ("learned", "last", "split_ms"),
    [
        (True, "1970-01-01T00:00:07+00:00", 8_000),
        (True, "1970-01-01T00:00:03+00:00", 5_000),
        (True, "unreadable", 5_000),
        (False, "1970-01-01T00:00:07+00:00", 5_000),
    ],
)
def test_the_hold_out_has_no_click_that_the_champion_learned(learned: bool, last: str, split_ms: int) -> None:
    """Otherwise it would win on clicks that it knows. Only a champion that learned its hold-out can."""
    champion = current().champion
    assert champion is not None
    champion = champion.with_training(last_click=last, **({LEARNED: {}} if learned else {}))

    span = unknown_to(champion, Window(0, 5_000, 9_000))

    assert span == Window(0, split_ms, 9_000)
    assert unknown_to(None, span) == span


def test_the_hold_out_is_the_newest_part_of_the_window() -> None:
    """As long as the time between runs, unless the plan says otherwise; shorter than the window."""
    day_ms = 86_400_000
    hourly = window(10 * day_ms, Run(window=172800))

    assert (hourly.begin_ms, hourly.end_ms) == (8 * day_ms, 10 * day_ms)
    assert hourly.split_at_ms == 10 * day_ms - 3_600_000
    assert window(10 * day_ms, Run(window=172800, held_out=60)).split_at_ms == 10 * day_ms - 60_000
    with pytest.raises(
        SettingError, match=r"every, the default of held_out, \(1d\) must be shorter than window \(1d\)"
    ):
        load(TrainerSettings, None, {}, [("run.every", "1d"), ("run.window", "1d")])


def test_the_first_release_serves_everyone() -> None:
    """Whatever the policy: a candidate needs a champion beside it."""
    assert [pointer(run, None) for run in (Run(), EXPERIMENTS)] == [CHAMPION, CHAMPION]
    assert [pointer(run, 7) for run in (Run(), EXPERIMENTS)] == [CHAMPION, CANDIDATE]


def test_an_experiment_is_not_disturbed() -> None:
    """Neither where it is known at the begin, nor where it begins meanwhile; unless that is wanted."""
    replacing = EXPERIMENTS.model_copy(update={"replace_candidate": True})

    assert skips(EXPERIMENTS, current(candidate=8))
    assert expected(EXPERIMENTS, current()) == {CHAMPION: 7, CANDIDATE: None}
    for run in (Run(), replacing):
        assert not skips(run, current(candidate=8))
        assert expected(run, current(candidate=8)) == {CHAMPION: 7}
    assert not skips(EXPERIMENTS, current(champion=None, candidate=8))
    assert expected(EXPERIMENTS, current(champion=None)) == {CHAMPION: None}


def test_a_release_says_which_clicks_it_knew() -> None:
    """One that no run made, or that another program made, says nothing."""
    champion = current().champion
    assert champion
    made = champion.with_training(**{COLLECTED: {"0": 12, "11": 3}})

    assert known_to(made) == {0: 12, 11: 3}
    assert known_to(champion) is known_to(None) is None


def test_what_went_as_it_should_is_a_success() -> None:
    """With a release or without; the rest is for someone to look at, where it goes on."""
    assert {outcome for outcome in RunOutcome if outcome.is_fine} == {
        RunOutcome.PUBLISHED,
        RunOutcome.REFUSED,
        RunOutcome.IDLE,
        RunOutcome.EXPERIMENT,
    }


def test_a_champion_that_cannot_be_used_is_replaced() -> None:
    """By a release that serves everyone, unless the pointer was moved meanwhile."""
    broken = CurrentReleases(None, 8, broken=7)

    assert not skips(EXPERIMENTS, broken)
    assert pointer(EXPERIMENTS, None) == CHAMPION
    assert expected(EXPERIMENTS, broken) == {CHAMPION: 7}


def test_a_policy_that_there_is_not_is_refused() -> None:
    """Taken for another it would serve everyone."""
    with pytest.raises(SettingError, match=r"run\.policy is 'canary': must be 'champion' or 'candidate'"):
        load(TrainerSettings, None, {"NEXTCLICK_RUN_POLICY": "canary"})
