"""Adoption: brings a verified release into service without interrupting the worker.

The follower builds a release's tables while other releases serve; the loop adopts the release between two
batches, by swapping a reference. Rows that other releases computed are rebuilt when their users next click
(`worker.core.recommender`), or here in idle time.

Rebuilt rows are not saved, because a worker that loads the old rows computes the same values. So a new
release writes no blocks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import structlog

from worker.core.recommender import Recommender
from worker.core.release import Release
from worker.core.serving import Serving
from worker.core.states import States
from worker.http.readiness import Readiness
from worker.metrics import Metrics
from worker.releases.follower import (
    Denied,
    Event,
    Failed,
    Looked,
    Refused,
    ReleaseFollower,
    Verified,
    Waits,
)

log = structlog.get_logger("worker")

_ROWS_LOOKED_AT: Final = 4096
_ROWS_REBUILT: Final = 128
"""The number of rows rebuilt per step: a few milliseconds, so that no click waits for long."""


class Adoption:
    """The releases in service. Handles the follower's events in the worker's loop.

    `serving` exists once `wait` has returned True.
    """

    serving: Serving

    def __init__(
        self,
        follower: ReleaseFollower,
        states: States,
        new_recommender: Callable[[Release], Recommender],
        *,
        metrics: Metrics,
        readiness: Readiness,
        steady: Callable[[], float],
    ) -> None:
        self._follower = follower
        self._states = states
        self._new_recommender = new_recommender
        self._metrics = metrics
        self._readiness = readiness
        self._steady = steady
        self._serves = False
        self._seen = 0
        self._looked_at = 0
        """The first row to check in the background; all rows below it are up to date."""

    def start(self) -> None:
        """Start to follow the releases."""
        self._follower.start()

    def read_again(self) -> None:
        """Read the releases topic from its beginning, because the topic was created again."""
        self._follower.read_again()

    def close(self) -> None:
        """Stop following the releases."""
        self._follower.close()

    def wait(self, seconds: float) -> bool:
        """Wait up to `seconds` for the first release; return whether a release serves."""
        self._act(self._follower.take(seconds))
        return self._serves

    def adopt(self) -> None:
        """Adopt the releases that are ready.

        Call this between batches. Raises the error that ended the follower.
        """
        event = None
        while not isinstance(event, Waits | Denied) and (event := self._follower.take()):
            self._act(event)

    def knows(self, number: int) -> bool:
        """Return whether release `number`, or a later release, was adopted, refused or skipped."""
        return number <= self._seen

    @property
    def rebuilding(self) -> bool:
        """Whether any rows may still have to be rebuilt."""
        return self._looked_at < self._states.end

    def rebuild_from_start(self) -> None:
        """Check all rows again, because loaded states may come from other releases."""
        self._looked_at = 0

    def rebuild(self, seconds: float) -> None:
        """Rebuild rows in the background for about `seconds`."""
        deadline, states = self._steady() + seconds, self._states
        while self.rebuilding and self._steady() < deadline:
            end = self._looked_at + _ROWS_LOOKED_AT
            stale = self.serving.stale(states.used(self._looked_at, end))
            if len(stale) > _ROWS_REBUILT:
                stale = stale[:_ROWS_REBUILT]
                end = int(stale[-1]) + 1
            self._metrics.rebuilt_in_background.inc(self.serving.rebuild(stale))
            self._looked_at = min(end, states.end)

    def note(self) -> None:
        """Update the metrics of rebuilt rows, of rows left to check, and of short lists."""
        for recommender in self.serving.recommenders:
            self._metrics.rebuilt_by_click.inc(recommender.rebuilt)
            self._metrics.rules.short_lists.inc(recommender.short)
            recommender.rebuilt = recommender.short = 0
        self._metrics.rebuild_left.set(self._states.end - self._looked_at)

    def _act(self, event: Event | None) -> None:
        if isinstance(event, Failed):
            raise event.error
        if isinstance(event, Verified):
            self._adopt(event)
        elif isinstance(event, Refused):
            self._refuse(event)
        elif isinstance(event, Looked):
            self._seen, self._readiness.remark = event.number, event.remark
        elif isinstance(event, Denied):
            self._denied(event)
        elif isinstance(event, Waits) and not self._serves and self._readiness.not_ready(event.reason):
            log.warning("not ready", reason=event.reason)

    def _adopt(self, verified: Verified) -> None:
        champion, candidate, share = verified
        releases = [champion, candidate] if candidate else [champion]
        known = {one.release.number: one for one in self.serving.recommenders} if self._serves else {}
        if self._serves:
            self.note()
        self._states.resize(max(release.state_size for release in releases))
        self._states.keep_recent(max(release.own_needed for release in releases))

        def recommender(release: Release) -> Recommender:
            before = known.get(release.number)
            if before and before.release is not release:
                # The topic was created again, so release numbers start over and this number has a new
                # meaning.
                self._forget_release(release.number)
            return before if before and before.release is release else self._new_recommender(release)

        tried = recommender(candidate) if candidate else None
        self.serving, self._serves = Serving(self._states, recommender(champion), tried, share), True
        self._looked_at = 0
        self._tell(verified, is_new=all(one.release is not champion for one in known.values()))
        self._follower.adopted()

    def _forget_release(self, number: int) -> None:
        rows = self._states.used(0, self._states.end)
        self._states.forget_release(rows[self._states.read_column("release", rows) == number])

    def _tell(self, verified: Verified, *, is_new: bool) -> None:
        champion, candidate, share = verified
        tried = candidate.number if candidate else 0
        recall = self.serving.champion.recall
        self._metrics.observe_serving(champion.number, tried, self.serving.share, recall=recall)
        new = champion.summary() if is_new else {}
        log.info("adopted a release", release=champion.number, **new)
        if candidate:
            log.info("trying a candidate", release=candidate.number, share=share, **candidate.summary())

    def _denied(self, denied: Denied) -> None:
        remark = f"new releases are not adopted: {denied.reason}"
        if self._readiness.remark != remark:
            self._readiness.remark = remark
            log.error("new releases are not adopted", reason=denied.reason)

    def _refuse(self, refused: Refused) -> None:
        error = refused.error
        self._metrics.observe_refusal(error.reason)
        log.error(
            "release refused",
            pointer=refused.pointer,
            release=refused.number,
            reason=error.reason,
            error=str(error),
        )
        if not self._serves:
            self._readiness.not_ready(f"the champion was refused: {error}. Publish another release")
