"""The watch of an experiment: it decides on the candidate by the live quality reports of the workers.

All state is in Kafka: the pointers, when they were set, and the reports. So a restarted watch makes the same
decisions. If two watches run, the slower watch finds the pointers already changed, and does nothing.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, NamedTuple

from trainer.clicks.timestamps import HOUR_MS
from trainer.experiment.metrics import DROP, GIVE_UP, PROMOTE, ExperimentMetrics
from trainer.experiment.sequential import Experiment, Rules, Verdict
from worker.clock import Clock
from worker.core.quality import Tally
from worker.core.release import Pointer
from worker.errors import ReleaseRefused, Retriable, TopicError
from worker.kafka.interface import Connection
from worker.topics.quality import QualityReader, Report
from worker.topics.releases import CANDIDATE, CHAMPION, ReleaseReader, point

_POLL_MS: Final = 500

_LONGEST_PAUSE_SECONDS: Final = 60.0
"""Maximum pause between attempts after repeated failures, unless the normal interval is longer."""


@dataclass(frozen=True, slots=True)
class Scope:
    """The topics that a watch reads, and the consumer group whose reports are used (None: all groups)."""

    releases: str
    quality: str
    group: str | None = None


class Comparison(NamedTuple):
    """The numbers of champion and candidate; None if the pointer is missing or unreadable."""

    champion: int | None
    candidate: int | None


class Watch:
    """A watch that checks the experiment, reports its results, and moves the pointers after the decision.

    `say` receives a line whenever something has changed. `give_up_hours`: the candidate is dropped if the
    experiment is still undecided after this time; 0: never. `chance` draws the random pauses after failures.
    """

    def __init__(
        self,
        connection: Connection,
        scope: Scope,
        rules: Rules,
        *,
        give_up_hours: float,
        say: Callable[[str], object],
        metrics: ExperimentMetrics,
        clock: Clock,
        chance: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._connection = connection
        self._scope = scope
        self._rules = rules
        self._give_up_ms = give_up_hours * HOUR_MS
        self._say = say
        self._metrics = metrics
        self._clock = clock
        self._chance = chance
        self._pointers = ReleaseReader(connection, topic=scope.releases)
        self._reports = QualityReader(connection, topic=scope.quality)
        self._experiments = self._no_experiments()
        self._comparison = Comparison(None, None)
        self._said: object = None
        """The subject of the last reported line."""

    def once(self) -> None:
        """Check the experiment once. Raises KafkaAway, CheckpointFailed, NotAllowed, TopicError."""
        with self._opened():
            self._look()

    def follow(self, every_seconds: float) -> None:
        """Check the experiment every `every_seconds`, forever; retry after Kafka outages.

        Raises NotAllowed, TopicError. TopicError is raised only before the first success. Later, a missing
        topic is temporary: its partitions are moving between brokers.
        """
        looked, failures = False, 0
        while True:
            try:
                with self._opened():
                    while True:
                        self._look()
                        looked, failures = True, 0
                        self._clock.sleep(every_seconds)
            except (Retriable, TopicError) as error:
                if not (error.retriable or looked):
                    raise
                self._say_once(str(error), f"{error}; retrying")
            failures += 1
            self._clock.sleep(self._chance(0, _longest_pause(every_seconds, failures)))

    @contextmanager
    def _opened(self) -> Iterator[None]:
        with self._pointers.opened(), self._reports.opened():
            self._experiments = self._no_experiments()
            yield

    def _no_experiments(self) -> defaultdict[Comparison, Experiment]:
        return defaultdict(lambda: Experiment(self._rules))

    def _look(self) -> None:
        # Read the pointers before the reports, so that no report on a known candidate is missed.
        self._pointers.read(timeout_ms=_POLL_MS)
        comparison = Comparison(self._named(CHAMPION), self._named(CANDIDATE))
        self._say_what_others_did(self._comparison, comparison)
        self._comparison = comparison
        if comparison.candidate is not None:
            for report in self._reports.read():
                self._count(report, since=comparison.candidate)
        experiment = self._experiments[comparison]
        self._metrics.observe(comparison.candidate, experiment)
        if None in comparison:
            missing = CANDIDATE if comparison.candidate is None else CHAMPION
            self._say_once(comparison, f"topic {self._scope.releases} has no {missing}: nothing to decide")
        else:
            self._judge(comparison, experiment)

    def _named(self, name: str) -> int | None:
        pointer = self._pointers.readable_pointer(name)
        return pointer and pointer.release

    def _count(self, report: Report, *, since: int) -> None:
        """Add a report to its experiment; ignore reports on candidates with a lower number than `since`."""
        if self._scope.group not in (None, report.group) or (report.candidate or 0) < since:
            return
        comparison = Comparison(report.champion, report.candidate)
        tallies = (report.tallies.get(number or 0, Tally()) for number in comparison)
        self._experiments[comparison].add(*tallies)

    def _judge(self, comparison: Comparison, experiment: Experiment) -> None:
        tried, champion = f"release {comparison.candidate}", f"release {comparison.champion}"
        figures = experiment.sentence()
        if experiment.verdict is Verdict.BETTER and not self._pointers.holds(comparison.candidate or 0):
            line = f"{tried} is better than {champion}, but topic {self._scope.releases} no longer has it"
            self._say_once(
                (comparison, line), f"{line}; end the experiment: `nextclick-trainer rollback --candidate`"
            )
        elif experiment.verdict is Verdict.BETTER:
            line = f"{tried} is {CHAMPION}: it is better than {champion}, {figures}"
            self._decide(comparison, PROMOTE, line)
        elif experiment.verdict is Verdict.WORSE:
            line = f"{tried} is dropped: it is worse than {champion}, {figures}"
            self._decide(comparison, DROP, line)
        elif self._is_late():
            hours = self._give_up_ms / HOUR_MS
            line = (
                f"{tried} is dropped: no significant difference from {champion} in {hours:g} hours, {figures}"
            )
            self._decide(comparison, GIVE_UP, line)
        else:
            subject = (comparison, bool(experiment.found.enough))
            self._say_once(subject, f"{tried} against {champion}: undecided, {figures}")

    def _is_late(self) -> bool:
        since_ms = self._pointers.pointed_at_ms(CANDIDATE)
        return (
            0 < self._give_up_ms
            and since_ms is not None
            and (self._clock.now_ms() - since_ms >= self._give_up_ms)
        )

    def _decide(self, comparison: Comparison, decision: str, line: str) -> None:
        pointers: dict[str, Pointer | None] = {CANDIDATE: None}
        if decision == PROMOTE and comparison.candidate is not None:
            pointers[CHAMPION] = Pointer(comparison.candidate)
        expected = {CHAMPION: comparison.champion, CANDIDATE: comparison.candidate}
        try:
            point(self._connection, self._scope.releases, pointers, expected=expected)
        except ReleaseRefused as error:
            self._say(f"this watch does not decide on release {comparison.candidate}: {error}")
        else:
            self._metrics.decided(decision)
            self._say(line)
        self._comparison = Comparison(None, None)

    def _say_what_others_did(self, before: Comparison, now: Comparison) -> None:
        """Report if another process changed the pointers of the watched experiment."""
        if before.candidate is None or before == now:
            return
        tried = f"release {before.candidate}"
        if now.candidate == before.candidate:
            self._say(
                f"the experiment of {tried} restarts: {CHAMPION} is release {now.champion}, no longer "
                f"{before.champion}"
            )
        elif now.champion == before.candidate:
            self._say(f"{tried} became {CHAMPION} in the meantime, but not through this watch")
        else:
            self._say(f"{tried} is no longer {CANDIDATE}; this watch did not remove it")

    def _say_once(self, subject: object, line: str) -> None:
        """Report `line`, unless the previous line had the same subject."""
        if subject != self._said:
            self._said = subject
            self._say(line)


def _longest_pause(every_seconds: float, failures: int) -> float:
    """Return the upper limit of the random pause, in seconds, after `failures` consecutive failures.

    Two watches that decide at the same time fence each other, and with equal pauses would do so forever. Full
    jitter lets one watch go first (Brooker, "Exponential Backoff And Jitter", 2015).
    """
    return min(every_seconds * 2 ** min(failures, 10), max(every_seconds, _LONGEST_PAUSE_SECONDS))
