"""Watching a candidate: what workers report of it and of the champion decides whether it stays.

Everything is in Kafka: which release is compared with which, since when, and every report. So a watch that
is started again comes to the decisions that it would have come to, and two of them to the same; the second
finds the pointers changed, and does nothing.
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
"""After many failures in a row there is a try in that time at the latest, or as often as without any."""


@dataclass(frozen=True, slots=True)
class Scope:
    """The scope of a watch: the topics of releases and of live quality, and whose reports count (`group`)."""

    releases: str
    quality: str
    group: str | None = None


class Comparison(NamedTuple):
    """The releases that the pointers name; None if there is no such pointer, or it cannot be read."""

    champion: int | None
    candidate: int | None


class Watch:
    """Looks at the candidate, reports its findings and actions, and moves the pointers.

    `say` gets a line for each thing that is new; `give_up_hours`: an experiment that is undecided then is
    ended without a winner, 0: never. `chance` draws the pauses after failures.
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
        """The subject of the last line."""

    def once(self) -> None:
        """Look once. Raises KafkaAway, CheckpointFailed, NotAllowed, TopicError."""
        with self._opened():
            self._look()

    def follow(self, every_seconds: float) -> None:
        """Look for ever; an outage of Kafka is waited out. Raises NotAllowed and, at first, TopicError.

        Once a look has succeeded the topics are there: brokers that do not know one are just handing it over.
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
                self._say_once(type(error), f"{error}; trying again")
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
        # Pointers first: of a candidate that is known no report is missed.
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
        """Count a report for its experiment; those of candidates before `since` are over."""
        if self._scope.group not in (None, report.group) or (report.candidate or 0) < since:
            return
        comparison = Comparison(report.champion, report.candidate)
        tallies = (report.tallies.get(number or 0, Tally()) for number in comparison)
        self._experiments[comparison].add(*tallies)

    def _judge(self, comparison: Comparison, experiment: Experiment) -> None:
        tried, champion = f"release {comparison.candidate}", f"release {comparison.champion}"
        figures = experiment.sentence()
        if experiment.verdict is Verdict.BETTER and not self._pointers.holds(comparison.candidate or 0):
            line = f"{tried} is better than {champion}, but not in topic {self._scope.releases} any more"
            self._say_once(
                (comparison, line), f"{line}: `nextclick-trainer rollback --candidate` ends its experiment"
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
                f"{tried} is dropped: no difference from {champion} was shown in {hours:g} hours, {figures}"
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
            self._say(f"release {comparison.candidate} is not decided on by this watch: {error}")
        else:
            self._metrics.decided(decision)
            self._say(line)
        self._comparison = Comparison(None, None)

    def _say_what_others_did(self, before: Comparison, now: Comparison) -> None:
        """Report what others did with the watched candidate."""
        if before.candidate is None or before == now:
            return
        tried = f"release {before.candidate}"
        if now.candidate == before.candidate:
            self._say(
                f"the experiment of {tried} begins again: {CHAMPION} names {now.champion}, "
                f"no longer {before.champion}"
            )
        elif now.champion == before.candidate:
            self._say(f"{tried} was made {CHAMPION} meanwhile, not by this watch")
        else:
            self._say(f"{tried} is no longer {CANDIDATE}, and not by this watch")

    def _say_once(self, subject: object, line: str) -> None:
        """Report `line`, unless the line before had the same subject."""
        if subject != self._said:
            self._said = subject
            self._say(line)


def _longest_pause(every_seconds: float, failures: int) -> float:
    """Return the longest pause in seconds after that many failures in a row; the pause is drawn below it.

    Two watches that decide at once fence each other, and with the same pause would do so again and again.
    Full jitter lets one be first (Brooker, "Exponential Backoff And Jitter", 2015).
    """
    return min(every_seconds * 2 ** min(failures, 10), max(every_seconds, _LONGEST_PAUSE_SECONDS))
