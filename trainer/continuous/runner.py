"""Continuous training: one retraining run after another, while this trainer leads.

    lead -> collect the new clicks -> read the current releases -> train on a window of clicks
    -> gate: compare with the champion on the newest clicks -> learn these clicks, too -> publish
    -> wait for the next run

A temporary failure costs one run, which is repeated soon; a training that diverged is not repeated before
there are new clicks. An error that needs human action ends the trainer. A trainer may be killed at any
moment: releases are published in one transaction, and the only local state is the click archive.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NoReturn

import polars as pl

from trainer.config import FitSettings, Run
from trainer.console import Progress
from trainer.continuous import gate
from trainer.continuous.click_source import ClickSource
from trainer.continuous.leader import STANDING_BY, Leader, Lease
from trainer.continuous.metrics import TrainingMetrics
from trainer.continuous.plan import (
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
)
from trainer.continuous.strategies import Strategy
from trainer.errors import TrainingDiverged, UnusableClicks
from trainer.release.package import PackagedRelease
from worker.clock import Clock
from worker.errors import KafkaAway, ReleaseRefused, Retriable
from worker.topics.releases import CANDIDATE, CHAMPION, ReleaseReader, publish

_LOOK_SECONDS: Final = 1.0
"""Interval at which a waiting trainer checks its leadership."""

_PUBLISH_PAUSES: Final = (1.0, 4.0, 16.0)
"""Seconds between attempts to publish; an attempt fails if another publisher uses the transactional id."""


class ContinuousTraining:
    """A trainer that retrains at intervals; several may run at once.

    The topic `releases` is in the same cluster as the clicks.
    """

    def __init__(
        self,
        source: ClickSource,
        releases: str,
        plan: Run,
        settings: FitSettings,
        *,
        strategy: Strategy,
        leader: Leader,
        metrics: TrainingMetrics,
        progress: Progress,
        clock: Clock,
    ) -> None:
        self._source, self._releases, self._plan, self._settings = source, releases, plan, settings
        self._strategy, self._leader, self._metrics = strategy, leader, metrics
        self._progress, self._clock = progress, clock
        self._tried: Mapping[int, int] | None = None
        """The end offsets of the clicks topic at the last training; None if that run failed temporarily."""

        self.published: int | None = None
        """The number of the release that the last run published; None if it published none."""

    def run_forever(self) -> NoReturn:
        """Do each run when due, while this trainer leads. Raises SettingError, NotAllowed, TopicError."""
        due = self._clock.steady()
        while True:
            self._wait_until(due)
            lease = self._lead()
            began = self._clock.steady()
            outcome = self.run(lease)
            now = self._clock.steady()
            due = next_begin(began=began, now=now, every=self._plan.every, outcome=outcome)

    def run_once(self, patience_seconds: float) -> RunOutcome:
        """Do one run if this trainer leads, or becomes the leader within `patience_seconds`.

        Raises the errors of `run`, and KafkaAway if it is not known in time which trainer leads.
        """
        until = self._clock.steady() + patience_seconds
        while (lease := self._leader.wait(_LOOK_SECONDS)) is None:
            if self._leader.state == STANDING_BY:
                self._progress.say("another trainer leads; nothing to do")
                return RunOutcome.DEPOSED
            if self._clock.steady() > until:
                raise KafkaAway(f"it is not known which trainer leads: {self._leader.state}")
        return self.run(lease)

    def run(self, lease: Lease) -> RunOutcome:
        """Do one run; return its outcome. Raises SettingError, NotAllowed, TopicError."""
        began, self.published = self._clock.steady(), None
        try:
            outcome = self._run(lease)
        except UnusableClicks as error:
            outcome = self._ended(RunOutcome.TOO_FEW, f"no release: {error}")
        except TrainingDiverged as error:
            outcome = self._ended(RunOutcome.DIVERGED, f"no release: {error}")
        except (Retriable, ReleaseRefused, OSError) as error:
            self._tried = None
            outcome = self._ended(
                RunOutcome.DEPOSED if lease.over else RunOutcome.FAILED, f"no release: {error}"
            )
        self._metrics.ended(outcome, self._clock.steady() - began)
        return outcome

    def _wait_until(self, due: float) -> None:
        while (left := due - self._clock.steady()) > 0:
            # Raises at once if the background thread failed.
            self._leader.wait(0)
            self._clock.sleep(min(left, _LOOK_SECONDS))

    def _lead(self) -> Lease:
        """Wait until this trainer leads; report why it does not lead yet."""
        said = ""
        while (lease := self._leader.wait(_LOOK_SECONDS)) is None:
            if self._leader.state != said:
                said = self._leader.state
                self._progress.say(said)
        return lease

    def _run(self, lease: Lease) -> RunOutcome:
        with self._metrics.stage("collect"):
            ends = self._source.collect(self._progress)
        with self._metrics.stage("read"):
            current = self._read()
        champion = current.champion
        if skips(self._plan, current):
            return self._ended(
                RunOutcome.EXPERIMENT,
                f"release {current.candidate} is in an A/B test; no new release is trained",
            )
        if ends in (self._tried, known_to(champion)):
            return self._ended(RunOutcome.IDLE, "no new clicks since the last run; nothing to train")
        clicks, newest = self._source.newest(self._plan, self._clock.now_ms())
        span = unknown_to(champion, newest)
        self._tried = ends
        with self._metrics.stage("fit"):
            fitted = self._strategy.train(clicks, span, champion, self._clock.now())
        self._metrics.trained(fitted.manifest)
        with self._metrics.stage("gate"):
            if champion and not self._passes(champion, fitted, clicks, span):
                return self._ended(RunOutcome.REFUSED, f"release {champion.release.number} remains champion")
        with self._metrics.stage("finish"):
            fitted = self._strategy.finish(clicks, span, fitted, self._clock.now())
        collected = {str(partition): end for partition, end in ends.items()}
        fitted = fitted.with_training(**{COLLECTED: collected})
        with self._metrics.stage("publish"):
            return self._publish_patiently(fitted, current, lease)

    def _read(self) -> CurrentReleases:
        """Return the current champion and candidate."""
        with ReleaseReader(self._source.connection, topic=self._releases).opened() as reader:
            reader.read()
            champion_pointer, candidate = (reader.readable_pointer(name) for name in (CHAMPION, CANDIDATE))
            tried = candidate and candidate.release
            if champion_pointer is None:
                return CurrentReleases(None, tried)
            try:
                manifest, blob = reader.fetch(champion_pointer.release)
                champion = PackagedRelease.verified(manifest, blob, number=champion_pointer.release)
            except ReleaseRefused as error:
                self._progress.say(
                    f"{CHAMPION} cannot be used: {error}; training the next release from the start"
                )
                return CurrentReleases(None, tried, broken=champion_pointer.release)
        self._metrics.found(champion.release.number, champion.manifest)
        return CurrentReleases(champion, tried)

    def _passes(
        self, champion: PackagedRelease, fitted: PackagedRelease, clicks: pl.LazyFrame, span: Window
    ) -> bool:
        """Return whether the new release passes the gate; report the comparison."""
        found = gate.measured(
            champion.release,
            fitted.release,
            clicks,
            from_ms=span.split_at_ms,
            by=self._plan.by,
            settings=self._settings,
            now=self._clock.now(),
        )
        self._metrics.compared(found)
        self._progress.say(found.sentence(f"release {champion.release.number}", "the new release"))
        return not found.worse

    def _publish_patiently(
        self, fitted: PackagedRelease, current: CurrentReleases, lease: Lease
    ) -> RunOutcome:
        """Publish the release; retry on temporary failures, because a new training would take long."""
        for attempt, pause in enumerate(_PUBLISH_PAUSES):
            try:
                return self._publish(fitted, current, lease, repeated=attempt > 0)
            except Retriable as error:
                if lease.over:
                    raise
                self._progress.say(f"{error}; retrying in {pause:g} s")
            self._wait_until(self._clock.steady() + pause)
        return self._publish(fitted, current, lease, repeated=True)

    def _publish(
        self, fitted: PackagedRelease, current: CurrentReleases, lease: Lease, *, repeated: bool
    ) -> RunOutcome:
        plan = self._plan
        name = pointer(plan, current.number)
        number = publish(
            self._source.connection,
            self._releases,
            *fitted.parts,
            pointer=name,
            share=plan.share,
            keep=plan.keep,
            expected=expected(plan, current),
            fence=lease.metadata,
            repeated=repeated,
        )
        self.published = number
        self._metrics.found(number, fitted.manifest)
        return self._ended(RunOutcome.PUBLISHED, f"release {number} is {name} in {self._releases}")

    def _ended(self, outcome: RunOutcome, line: str) -> RunOutcome:
        self._progress.say(line)
        return outcome
