"""Decisions of continuous training, separate from its effects: pure functions, so all cases can be tested.

>>> next_begin(began=0.0, now=20.0, every=60.0, outcome=RunOutcome.PUBLISHED)
60.0
>>> next_begin(began=0.0, now=90.0, every=60.0, outcome=RunOutcome.PUBLISHED)
90.0
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final, NamedTuple

from trainer.config import Run
from trainer.release.package import PackagedRelease
from worker.topics.releases import CANDIDATE, CHAMPION

COLLECTED: Final = "collected"
"""The key in a manifest's `training` of the offset up to which it knew each partition of the clicks."""

AGAIN_SECONDS: Final = 60.0
"""When a run that failed in a way that may pass is followed by the next, at the latest."""


class RunOutcome(StrEnum):
    """The outcome of a retraining run."""

    PUBLISHED = "published"
    REFUSED = "refused"
    """By the gate."""
    IDLE = "idle"
    """There are no clicks that the release before did not know."""
    EXPERIMENT = "experiment"
    """A candidate is compared with the champion on live clicks and is not to be replaced."""
    TOO_FEW = "too_few"
    """The clicks do not suffice."""
    FAILED = "failed"
    """By what may pass: Kafka was away, the disk full, the champion another one meanwhile."""
    DEPOSED = "deposed"
    """Another trainer leads now."""

    @property
    def is_fine(self) -> bool:
        """Whether the run finished its work, with or without a release."""
        return self not in (RunOutcome.TOO_FEW, RunOutcome.FAILED, RunOutcome.DEPOSED)


EXIT_CODES: Final = {
    RunOutcome.PUBLISHED: 0,
    RunOutcome.IDLE: 1,
    RunOutcome.EXPERIMENT: 1,
    RunOutcome.DEPOSED: 1,
    RunOutcome.REFUSED: 3,
    RunOutcome.TOO_FEW: 2,
    RunOutcome.FAILED: 2,
}
"""Of a single run: 1 means nothing to do, 2 an error, as everywhere."""


class CurrentReleases(NamedTuple):
    """The content of the releases topic at the beginning of a run."""

    champion: PackagedRelease | None
    candidate: int | None
    broken: int | None = None
    """The number of a champion that cannot be used: workers refuse it, too."""

    @property
    def number(self) -> int | None:
        """The number of the champion."""
        return self.champion.release.number if self.champion else None


class Window(NamedTuple):
    """The times (ms) between which clicks are learned from, and from which on they are held out."""

    begin_ms: int
    split_at_ms: int
    end_ms: int


def pointer(run: Run, champion: int | None) -> str:
    """Return what a new release is published as; the first one serves everyone, whatever the policy."""
    return CANDIDATE if run.policy == "candidate" and champion else CHAMPION


def expected(run: Run, current: CurrentReleases) -> dict[str, int | None]:
    """Return what pointers must name when a release is published: what they named as the run began."""
    others = {CANDIDATE: None} if _spares_candidate(run, current) else {}
    return {CHAMPION: current.number or current.broken, **others}


def skips(run: Run, current: CurrentReleases) -> bool:
    """Return whether a run must leave the experiment of a candidate alone."""
    return current.candidate is not None and _spares_candidate(run, current)


def _spares_candidate(run: Run, current: CurrentReleases) -> bool:
    return pointer(run, current.number) == CANDIDATE and not run.replace_candidate


def window(newest_ms: int, run: Run) -> Window:
    """Return the window of a run whose newest click is at `newest_ms`.

    >>> window(1_000_000_000, Run(every=60, window=86_400))
    Window(begin_ms=913600000, split_at_ms=999940000, end_ms=1000000000)
    """
    begin = newest_ms - round(run.window * 1000)
    return Window(begin, newest_ms - round(run.hold_out_seconds * 1000), newest_ms)


def known_to(champion: PackagedRelease | None) -> dict[int, int] | None:
    """Return the offset up to which a release knew each partition of the clicks; None if unknown."""
    found = champion.manifest.training.get(COLLECTED) if champion else None
    return {int(partition): end for partition, end in found.items()} if isinstance(found, Mapping) else None


def next_begin(*, began: float, now: float, every: float, outcome: RunOutcome) -> float:
    """Return when the run after one that `began` then and is over `now` begins, by the same steady clock."""
    due = began + every
    if outcome in (RunOutcome.FAILED, RunOutcome.DEPOSED):
        due = min(due, now + AGAIN_SECONDS)
    return max(due, now)
