"""Training that goes on: a fresh release, round after round, for as long as this trainer leads.

    lead -> collect the new clicks -> read what serves -> fit, warm from the champion, on a window of clicks
    -> gate: champion and new release on the newest clicks -> publish -> wait for the next round

A round that goes wrong in a way that may pass costs that round; what only a person can mend ends the trainer.
Nothing but the log of clicks outlives a round outside Kafka, and a release is published in one transaction:
a trainer may be killed at any moment.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, NamedTuple, NoReturn

import polars as pl

from trainer.clicks.archive import ClickArchive, scan_archive
from trainer.clicks.collector import Collector
from trainer.config import FitSettings
from trainer.console import Progress
from trainer.continuous import gate
from trainer.continuous.leader import STANDING_BY, Leader, Term
from trainer.continuous.metrics import Gauges
from trainer.continuous.plan import (
    COLLECTED,
    Champion,
    Outcome,
    Plan,
    Standing,
    Window,
    known_to,
    next_begin,
    window,
)
from trainer.continuous.strategies import Maker
from trainer.errors import ArchiveInUse, TooFewClicks, UnusableClicks
from trainer.release.package import PackagedRelease
from worker.core.event import Decoder
from worker.core.release import Release, verify
from worker.errors import KafkaAway, ReleaseRefused, Retriable
from worker.kafka.interface import Connection
from worker.topics.releases import CANDIDATE, CHAMPION, ReleaseReader, publish

_LOOK_SECONDS: Final = 1.0
"""How often a trainer that does not lead looks why."""

_PUBLISH_PAUSES: Final = (1.0, 4.0, 16.0)
"""Between attempts to publish: somebody else may be using the transactional id."""

_FILE_RECORDS: Final = 1_000_000
"""A file of the log has at most about so many offsets."""


@dataclass(frozen=True, slots=True)
class Clock:
    """The time of day, one for measuring how long something takes, and a way to let it pass."""

    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    steady: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


class Places(NamedTuple):
    """Where clicks come from, where they are kept, and where releases go."""

    connection: Connection
    clicks: str
    """The topic of clicks."""
    decoder: Decoder
    log: ClickArchive
    keep_days: float | None
    """How long the log keeps what it has; None: for ever."""
    releases: str
    """The topic of releases."""


class Periodic:
    """One trainer of perhaps several."""

    def __init__(
        self,
        places: Places,
        plan: Plan,
        settings: FitSettings,
        *,
        maker: Maker,
        leader: Leader,
        gauges: Gauges,
        progress: Progress,
        clock: Clock = Clock(),  # frozen
    ) -> None:
        self._places, self._plan, self._settings, self._maker = places, plan, settings, maker
        self._leader, self._gauges, self._progress, self._clock = leader, gauges, progress, clock
        self._tried: Mapping[int, int] | None = None
        """Up to which offsets clicks were learned from, be it in vain."""

    def run(self) -> NoReturn:
        """Round after round. Raises SettingError, NotAllowed, TopicError."""
        due = self._clock.steady()
        while True:
            self._wait_until(due)
            term = self._lead()
            began = self._clock.steady()
            outcome = self.round(term)
            now = self._clock.steady()
            due = next_begin(began=began, now=now, every=self._plan.every_seconds, outcome=outcome)

    def once(self, patience_seconds: float) -> Outcome:
        """One round, if this trainer leads, or comes to in time. Raises as `run`, and KafkaAway."""
        until = self._clock.steady() + patience_seconds
        while (term := self._leader.wait(_LOOK_SECONDS)) is None:
            if self._leader.state == STANDING_BY:
                self._progress.say("another trainer leads: nothing done")
                return Outcome.DEPOSED
            if self._clock.steady() > until:
                raise KafkaAway(f"it is not known which trainer leads: {self._leader.state}")
        return self.round(term)

    def round(self, term: Term) -> Outcome:
        """One round; how it ended. Raises SettingError, NotAllowed, TopicError."""
        began = self._clock.steady()
        try:
            outcome = self._round(term)
        except UnusableClicks as error:
            outcome = self._ended(Outcome.TOO_FEW, f"no release: {error}")
        except (Retriable, ReleaseRefused, OSError) as error:
            self._tried = None
            outcome = self._ended(Outcome.DEPOSED if term.over else Outcome.FAILED, f"no release: {error}")
        self._gauges.ended(outcome, self._clock.steady() - began, self._clock.now().timestamp())
        return outcome

    def _wait_until(self, due: float) -> None:
        while (left := due - self._clock.steady()) > 0:
            # What ends this trainer is heard of at once.
            self._leader.wait(0)
            self._clock.sleep(min(left, _LOOK_SECONDS))

    def _lead(self) -> Term:
        """Wait until this trainer leads, and say what it waits for."""
        said = ""
        while (term := self._leader.wait(_LOOK_SECONDS)) is None:
            if self._leader.state != said:
                said = self._leader.state
                self._progress.say(said)
        return term

    def _round(self, term: Term) -> Outcome:
        with self._gauges.stage("collect"):
            ends = self._collect()
        with self._gauges.stage("read"):
            standing = self._read()
        champion = standing.champion
        if self._plan.skips(standing):
            return self._ended(
                Outcome.ON_TRIAL, f"release {standing.candidate} is on trial: no other is made"
            )
        if ends in (self._tried, known_to(champion)):
            return self._ended(Outcome.IDLE, "no clicks since the last round: nothing is trained")
        clicks, span = self._clicks()
        self._tried = ends
        with self._gauges.stage("fit"):
            fitted = self._fit(clicks, span, champion, ends)
        with self._gauges.stage("gate"):
            if champion and standing.release and not self._passes(standing.release, fitted, clicks, span):
                return self._ended(Outcome.REFUSED, f"release {champion.number} stays champion")
        with self._gauges.stage("publish"):
            return self._publish_patiently(fitted, standing, term)

    def _collect(self) -> dict[int, int]:
        """Bring the log to where the topic ends at the moment; up to which offset it has each partition."""
        places = self._places
        try:
            with places.log.writing(places.clicks):
                Collector(
                    places.connection,
                    places.log,
                    topic=places.clicks,
                    decoder=places.decoder,
                    progress=self._progress,
                    keep_days=places.keep_days,
                    file_records=_FILE_RECORDS,
                    every_seconds=float("inf"),
                ).collect()
        except ArchiveInUse as error:
            self._progress.say(f"{error}: what it has is used")
        return places.log.ends()

    def _read(self) -> Standing:
        """What serves at the moment."""
        with ReleaseReader(self._places.connection, topic=self._places.releases).opened() as reader:
            reader.read()
            pointer, candidate = (reader.readable_pointer(name) for name in (CHAMPION, CANDIDATE))
            tried = candidate and candidate.release
            if pointer is None:
                return Standing(None, tried)
            try:
                champion = Champion(pointer.release, *reader.fetch(pointer.release))
                release = verify(champion.manifest, champion.blob, number=champion.number)
            except ReleaseRefused as error:
                self._progress.say(
                    f"{CHAMPION} cannot be used: {error}; its successor is trained from the start"
                )
                return Standing(None, tried, broken=pointer.release)
        self._gauges.know(champion.number, champion.manifest)
        return Standing(champion, tried, release=release)

    def _clicks(self) -> tuple[pl.LazyFrame, Window]:
        """The clicks of a round, and when they were."""
        time_ms, now_ms = pl.col("timestamp_ms"), round(self._clock.now().timestamp() * 1000)
        clicks = scan_archive(self._places.log.folder)[0].clicks
        newest = clicks.select(time_ms.filter(time_ms <= now_ms).max()).collect(engine="streaming").item()
        if newest is None:
            raise TooFewClicks("all clicks are from the future")
        span = window(newest, self._plan)
        return clicks.filter(time_ms.is_between(span.begin_ms, span.end_ms)), span

    def _fit(
        self, clicks: pl.LazyFrame, span: Window, champion: Champion | None, ends: Mapping[int, int]
    ) -> PackagedRelease:
        fitted = self._maker.make(clicks, span, champion, self._clock.now())
        self._gauges.trained(fitted.manifest)
        return fitted.with_training(**{COLLECTED: {str(partition): end for partition, end in ends.items()}})

    def _passes(self, champion: Release, fitted: PackagedRelease, clicks: pl.LazyFrame, span: Window) -> bool:
        """Whether the gate lets the new release through, and why."""
        found = gate.measured(
            champion,
            fitted.release,
            clicks,
            from_ms=span.split_at_ms,
            by=self._plan.by,
            settings=self._settings,
            now=self._clock.now(),
        )
        self._gauges.compared(found)
        self._progress.say(found.sentence(f"release {champion.number}", "the new release"))
        return not found.worse

    def _publish_patiently(self, fitted: PackagedRelease, standing: Standing, term: Term) -> Outcome:
        """As `_publish`, a few times over: what took long to make is not thrown away for a hiccup."""
        for pause in _PUBLISH_PAUSES:
            try:
                return self._publish(fitted, standing, term)
            except Retriable as error:
                if term.over:
                    raise
                self._progress.say(f"{error}: trying again in {pause:g} s")
            self._clock.sleep(pause)
        return self._publish(fitted, standing, term)

    def _publish(self, fitted: PackagedRelease, standing: Standing, term: Term) -> Outcome:
        plan, places = self._plan, self._places
        pointer = plan.pointer(standing.champion and standing.champion.number)
        number = publish(
            places.connection,
            places.releases,
            *fitted.parts,
            pointer=pointer,
            share=plan.share,
            keep=plan.keep,
            expected=plan.expected(standing),
            fence=term.metadata,
        )
        self._gauges.know(number, fitted.manifest)
        return self._ended(Outcome.PUBLISHED, f"release {number} is {pointer} in {places.releases}")

    def _ended(self, outcome: Outcome, told: str) -> Outcome:
        self._progress.say(told)
        return outcome
