"""Watching a candidate: what workers report of it and of the champion decides whether it stays.

Everything is in Kafka: which release is tried against which, since when, and every report. So a watch that is
started again comes to the decisions that it would have come to, and two of them to the same; who is
second finds the pointers changed, and does nothing.
"""

from __future__ import annotations

import random
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, NamedTuple

from prometheus_client import CollectorRegistry, Counter, Gauge

from trainer.clicks.timestamps import HOUR_MS
from trainer.experiment.sequential import Rules, Trial, Verdict
from worker.core.quality import Tally
from worker.core.release import Pointer
from worker.errors import ReleaseRefused, Retriable, TopicError
from worker.kafka.interface import Connection
from worker.topics.quality import QualityReader, Report
from worker.topics.releases import CANDIDATE, CHAMPION, ReleaseReader, point

PROMOTE: Final = "promote"
DROP: Final = "drop"
GIVE_UP: Final = "give_up"
DECISIONS: Final = (PROMOTE, DROP, GIVE_UP)

_POLL_MS: Final = 500

_LONGEST_PAUSE_SECONDS: Final = 60.0
"""After many failures in a row there is a try in that time at the latest, or as often as without any."""


@dataclass(frozen=True, slots=True)
class Scope:
    """What is watched: the topics of releases and of live quality, and the reports of `group` alone."""

    releases: str
    quality: str
    group: str | None = None


class Pair(NamedTuple):
    """The numbers that the pointers name; None where there is no such pointer, or it cannot be read."""

    champion: int | None
    candidate: int | None


class Metrics:
    """What Prometheus sees of a watch."""

    def __init__(self) -> None:
        registry = self.registry = CollectorRegistry()
        self._candidate = Gauge(
            "nextclick_trainer_candidate", "The release that is tried; 0: none.", registry=registry
        )
        self._p = Gauge(
            "nextclick_trainer_candidate_p_value",
            "The always-valid p-value of no difference between candidate and champion.",
            registry=registry,
        )
        self._rates = Gauge(
            "nextclick_trainer_live_hit_rate", "Live hit rate while both serve.", ["role"], registry=registry
        )
        self._clicks = Gauge(
            "nextclick_trainer_judged_clicks", "The clicks that it is of.", ["role"], registry=registry
        )
        self.decisions = Counter(
            "nextclick_trainer_decisions", "Decisions on candidates.", ["decision"], registry=registry
        )
        for decision in DECISIONS:
            self.decisions.labels(decision)
        self._looked = Gauge(
            "nextclick_trainer_last_look_timestamp_seconds", "When Kafka was last read.", registry=registry
        )

    def observe(self, candidate: int | None, trial: Trial) -> None:
        """Note what a look showed."""
        self._candidate.set(candidate or 0)
        self._p.set(trial.p)
        for role, clicks, rate in zip(
            ("champion", "candidate"), trial.found.clicks, trial.found.rates, strict=True
        ):
            self._rates.labels(role).set(rate)
            self._clicks.labels(role).set(clicks)
        self._looked.set_to_current_time()


class Watch:
    """Looks at the candidate, says what it sees and does, and moves the pointers.

    `say` is told what is new; `give_up_hours`: a candidate undecided for so long is dropped, 0: never.
    """

    def __init__(
        self,
        connection: Connection,
        scope: Scope,
        rules: Rules,
        *,
        give_up_hours: float,
        say: Callable[[str], object],
        metrics: Metrics,
    ) -> None:
        self._connection = connection
        self._scope = scope
        self._rules = rules
        self._give_up_ms = give_up_hours * HOUR_MS
        self._say = say
        self._metrics = metrics
        self._pointers = ReleaseReader(connection, topic=scope.releases)
        self._reports = QualityReader(connection, topic=scope.quality)
        self._trials = self._no_trials()
        self._pair = Pair(None, None)
        self._told: object = None

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
                        time.sleep(every_seconds)
            except (Retriable, TopicError) as error:
                if not (error.retriable or looked):
                    raise
                self._tell(type(error), f"{error}; trying again")
            failures += 1
            time.sleep(_pause(every_seconds, failures))

    @contextmanager
    def _opened(self) -> Iterator[None]:
        with self._pointers.opened(), self._reports.opened():
            self._trials = self._no_trials()
            yield

    def _no_trials(self) -> defaultdict[Pair, Trial]:
        return defaultdict(lambda: Trial(self._rules))

    def _look(self) -> None:
        # Pointers first: of a candidate that is known no report is missed.
        self._pointers.read(timeout_ms=_POLL_MS)
        pair = Pair(self._named(CHAMPION), self._named(CANDIDATE))
        self._tell_of_others(self._pair, pair)
        self._pair = pair
        if pair.candidate is not None:
            for report in self._reports.read():
                self._take(report, since=pair.candidate)
        trial = self._trials[pair]
        self._metrics.observe(pair.candidate, trial)
        if None in pair:
            missing = CANDIDATE if pair.candidate is None else CHAMPION
            self._tell(pair, f"topic {self._scope.releases} has no {missing}: nothing to decide")
        else:
            self._judge(pair, trial)

    def _named(self, name: str) -> int | None:
        pointer = self._pointers.readable_pointer(name)
        return pointer and pointer.release

    def _take(self, report: Report, *, since: int) -> None:
        """Count a report for the trial of which it is; those of candidates before `since` are over."""
        if self._scope.group not in (None, report.group) or (report.candidate or 0) < since:
            return
        pair = Pair(report.champion, report.candidate)
        self._trials[pair].add(*(report.tallies.get(number or 0, Tally()) for number in pair))

    def _judge(self, pair: Pair, trial: Trial) -> None:
        tried, champion = f"release {pair.candidate}", f"release {pair.champion}"
        if trial.verdict is Verdict.BETTER and not self._pointers.holds(pair.candidate or 0):
            said = f"{tried} is better than {champion}, but not in topic {self._scope.releases} any more"
            self._tell((pair, said), f"{said}: `nextclick-trainer rollback --candidate` ends its trial")
        elif trial.verdict is Verdict.BETTER:
            said = f"{tried} is {CHAMPION}: it is better than {champion}"
            self._decide(pair, PROMOTE, f"{said}, {trial.sentence()}")
        elif trial.verdict is Verdict.WORSE:
            self._decide(pair, DROP, f"{tried} is dropped: it is worse than {champion}, {trial.sentence()}")
        elif self._is_late():
            said = f"{tried} is dropped: no difference from {champion} was shown in"
            hours = self._give_up_ms / HOUR_MS
            self._decide(pair, GIVE_UP, f"{said} {hours:g} hours, {trial.sentence()}")
        else:
            kind = (pair, bool(trial.found.enough))
            self._tell(kind, f"{tried} against {champion}: undecided, {trial.sentence()}")

    def _is_late(self) -> bool:
        since = self._pointers.pointed_at_ms(CANDIDATE)
        now = time.time() * 1000
        return self._give_up_ms > 0 and since is not None and now - since >= self._give_up_ms

    def _decide(self, pair: Pair, decision: str, said: str) -> None:
        pointers: dict[str, Pointer | None] = {CANDIDATE: None}
        if decision == PROMOTE and pair.candidate is not None:
            pointers[CHAMPION] = Pointer(pair.candidate)
        expected = {CHAMPION: pair.champion, CANDIDATE: pair.candidate}
        try:
            point(self._connection, self._scope.releases, pointers, expected=expected)
        except ReleaseRefused as error:
            self._say(f"release {pair.candidate} is not decided on by this watch: {error}")
        else:
            self._metrics.decisions.labels(decision).inc()
            self._say(said)
        self._pair = Pair(None, None)

    def _tell_of_others(self, before: Pair, now: Pair) -> None:
        """Say what others did with the candidate that was watched."""
        if before.candidate is None or before == now:
            return
        tried = f"release {before.candidate}"
        if now.candidate == before.candidate:
            self._say(f"{tried} is tried anew: {CHAMPION} names {now.champion}, no longer {before.champion}")
        elif now.champion == before.candidate:
            self._say(f"{tried} was made {CHAMPION} meanwhile, not by this watch")
        else:
            self._say(f"{tried} is no longer {CANDIDATE}, and not by this watch")

    def _tell(self, what: object, line: str) -> None:
        """Say `line`, unless the last thing told was about the same."""
        if what != self._told:
            self._told = what
            self._say(line)


def _pause(every_seconds: float, failures: int) -> float:
    """How long to wait after so many failures in a row.

    Two that watch and decide at once fence each other, and with the same pause would do so again and again.
    Full jitter lets one be first (Brooker, "Exponential Backoff And Jitter", 2015).
    """
    longest = min(every_seconds * 2 ** min(failures, 10), max(every_seconds, _LONGEST_PAUSE_SECONDS))
    return random.uniform(0, longest)  # noqa: S311  # no secret
