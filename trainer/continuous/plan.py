"""Decisions of continuous training, as pure functions.

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
from trainer.dataset.holdout import LEARNED, manifest_time_ms
from trainer.release.package import PackagedRelease
from worker.topics.releases import CANDIDATE, CHAMPION

COLLECTED: Final = "collected"
"""The key in a manifest's `training` that holds the end offsets of the clicks topic, by partition, when the
release was trained."""

AGAIN_SECONDS: Final = 60.0
"""Maximum delay between the end of a run that failed temporarily and the next run."""


class RunOutcome(StrEnum):
    """The outcome of a retraining run."""

    PUBLISHED = "published"
    REFUSED = "refused"
    """The gate refused the new release."""
    IDLE = "idle"
    """There are no new clicks."""
    EXPERIMENT = "experiment"
    """A candidate is in an A/B test and may not be replaced."""
    TOO_FEW = "too_few"
    """There are too few clicks."""
    FAILED = "failed"
    """A temporary failure: Kafka unreachable, disk full, or the champion changed in the meantime."""
    DIVERGED = "diverged"
    """The training diverged. The same clicks would diverge again, so the next run does not start early."""
    DEPOSED = "deposed"
    """Another trainer leads now."""

    @property
    def is_fine(self) -> bool:
        """Whether the run was completed, with or without a release."""
        return self not in (
            RunOutcome.TOO_FEW,
            RunOutcome.FAILED,
            RunOutcome.DIVERGED,
            RunOutcome.DEPOSED,
        )


EXIT_CODES: Final = {
    RunOutcome.PUBLISHED: 0,
    RunOutcome.IDLE: 1,
    RunOutcome.EXPERIMENT: 1,
    RunOutcome.DEPOSED: 1,
    RunOutcome.REFUSED: 3,
    RunOutcome.TOO_FEW: 2,
    RunOutcome.FAILED: 2,
    RunOutcome.DIVERGED: 2,
}
"""Exit codes of a single run: 0 published, 1 nothing to do, 2 an error, 3 refused by the gate."""


class CurrentReleases(NamedTuple):
    """The champion and the candidate in the releases topic at the start of a run."""

    champion: PackagedRelease | None
    candidate: int | None
    broken: int | None = None
    """The number of the champion if it is unusable (workers refuse it, too); `champion` is None then."""

    @property
    def number(self) -> int | None:
        """The number of the champion; None if there is no champion, or it is unusable."""
        return self.champion.release.number if self.champion else None


class Window(NamedTuple):
    """The times (ms) of a run: training from `begin_ms` to `split_at_ms`, hold-out from there to `end_ms`."""

    begin_ms: int
    split_at_ms: int
    end_ms: int


def pointer(run: Run, champion: int | None) -> str:
    """Return the pointer to set to a new release; always the champion pointer if `champion` is None."""
    return CANDIDATE if run.policy == "candidate" and champion else CHAMPION


def expected(run: Run, current: CurrentReleases) -> dict[str, int | None]:
    """Return the releases that the pointers must still name when the run publishes; None: no release."""
    others = {CANDIDATE: None} if _spares_candidate(run, current) else {}
    return {CHAMPION: current.number or current.broken, **others}


def skips(run: Run, current: CurrentReleases) -> bool:
    """Return whether to skip a run, because a candidate is in an A/B test and may not be replaced."""
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


def unknown_to(champion: PackagedRelease | None, span: Window) -> Window:
    """Return `span` with a hold-out that has only clicks after those that the champion has learned.

    A champion that learned its own hold-out after the gate may know the begin of the next one, and would win.
    """
    if champion is None or LEARNED not in champion.manifest.training:
        return span
    last_ms = manifest_time_ms(champion.manifest, "last_click")
    # The manifest has whole seconds, rounded down.
    return span if last_ms is None else span._replace(split_at_ms=max(span.split_at_ms, last_ms + 1_000))


def known_to(champion: PackagedRelease | None) -> dict[int, int] | None:
    """Return the end offset of each clicks partition when `champion` was trained; None if unknown."""
    found = champion.manifest.training.get(COLLECTED) if champion else None
    return {int(partition): end for partition, end in found.items()} if isinstance(found, Mapping) else None


def next_begin(*, began: float, now: float, every: float, outcome: RunOutcome) -> float:
    """Return the start time of the next run.

    `began` and `now`: the start and the end of the last run, all times by the same steady clock.
    """
    due = began + every
    if outcome in (RunOutcome.FAILED, RunOutcome.DEPOSED):
        due = min(due, now + AGAIN_SECONDS)
    return max(due, now)
