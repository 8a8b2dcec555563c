"""The experiment of a candidate, decided by a watch on a cluster in this process."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Final

import pytest
from prometheus_client import generate_latest

from tests.builders import successor_release_parts
from tests.trainer.simulated import tally
from trainer.experiment.metrics import ExperimentMetrics
from trainer.experiment.sequential import Experiment, Rules, Verdict
from trainer.experiment.watch import Scope, Watch, _longest_pause
from worker.clock import Clock
from worker.core.quality import Tally
from worker.core.release import Pointer, parse_pointer
from worker.errors import CheckpointFailed, KafkaAway, NotAllowed, TopicError
from worker.kafka.memory import MemoryCluster
from worker.topics.needs import COMPACTED
from worker.topics.quality import Report
from worker.topics.releases import CANDIDATE, CHAMPION, point, publish

RELEASES, QUALITY = "releases", "quality"
RULES: Final = Rules(min_clicks=500)
PARTS: Final = successor_release_parts()

GOOD, BAD, ALIKE = 6, 1, 4
"""Hits in the ten clicks that each bucket has of a candidate per report; the champion has 40 in 100."""


class Enough(BaseException):
    """Raised at the end of a script."""


class Observed(ExperimentMetrics):
    """Metrics of a watch that something happens to between its look and its decision."""

    meanwhile: Callable[[], object] | None = None

    def observe(self, candidate: int | None, experiment: Experiment) -> None:
        """Note what a look showed."""
        super().observe(candidate, experiment)
        if self.meanwhile:
            self.meanwhile()


class ExperimentDesk:
    """Release 1 is champion, release 2 the candidate."""

    def __init__(self) -> None:
        self.cluster = MemoryCluster()
        self.cluster.create(RELEASES, settings=COMPACTED)
        self.cluster.create(QUALITY)
        self.publish(CHAMPION)
        self.publish()

    def publish(self, pointer: str = CANDIDATE) -> None:
        """Publish one release more."""
        publish(self.cluster.connect(), RELEASES, *PARTS, pointer=pointer)

    def point(self, **pointers: Pointer | None) -> None:
        """Move pointers by hand."""
        names = {f"@{name}": pointer for name, pointer in pointers.items()}
        point(self.cluster.connect(), RELEASES, names)

    def report(self, *hits: int, candidate: int = 2, champion: int = 1) -> None:
        """Write a report for each number of hits in ten clicks that every bucket has of a candidate."""
        for one in hits:
            self._write({champion: tally(100, 40), candidate: tally(10, one)}, champion, candidate)
            # Counts from when this candidate did not serve with this champion are another experiment.
            self._write({champion: tally(100, 90)}, champion, None)
            self._write({9: tally(100, 90), candidate: tally(10, 9)}, 9, candidate)

    def _write(self, tallies: dict[int, Tally], champion: int, candidate: int | None) -> None:
        report = Report("shop", "a", self.cluster.now_ms, champion, candidate, tallies)
        self.cluster.produce(QUALITY, report.value())

    @property
    def pointers(self) -> tuple[int | None, int | None]:
        """The releases that are champion and candidate."""
        held = {record.key: record.value for record in self.cluster.read(RELEASES)}
        values = (held.get(name.encode()) for name in (CHAMPION, CANDIDATE))
        champion, candidate = (value and parse_pointer(value).release for value in values)
        return champion or None, candidate or None


class Watched:
    """A watch of a desk, what it said, how long it slept, and what happens while it sleeps."""

    def __init__(
        self,
        desk: ExperimentDesk,
        *script: Callable[[], object],
        rules: Rules = RULES,
        group: str | None = None,
        give_up_hours: float = 24.0,
        chance: Callable[[float, float], float] = max,
    ) -> None:
        self.lines: list[str] = []
        self.slept: list[float] = []
        self._script = iter(script)
        self._cluster = desk.cluster
        clock = Clock(desk.cluster.wall, desk.cluster.steady, self._sleep)
        self.metrics = Observed(clock)
        self._watch = Watch(
            desk.cluster.connect(),
            Scope(RELEASES, QUALITY, group),
            rules,
            give_up_hours=give_up_hours,
            say=self.lines.append,
            metrics=self.metrics,
            clock=clock,
            chance=chance,
        )

    def once(self) -> str:
        """Look once; return the last line."""
        self._watch.once()
        return self.lines[-1]

    def follow(self, every_seconds: float = 10.0) -> list[str]:
        """Look until the script is over; return what was said."""
        with pytest.raises(Enough):
            self._watch.follow(every_seconds)
        return self.lines

    def metric(self, name: str) -> float:
        """Return the value of a metric."""
        lines = generate_latest(self.metrics.registry).decode().splitlines()
        return next(float(line.split()[1]) for line in lines if line.startswith(f"nextclick_trainer_{name} "))

    def decisions(self) -> float:
        """Return how many decisions it counted."""
        lines = generate_latest(self.metrics.registry).decode().splitlines()
        counted = (line for line in lines if line.startswith("nextclick_trainer_decisions_total{"))
        return sum(float(line.split()[1]) for line in counted)

    def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self._cluster.advance(seconds)
        step = next(self._script, None)
        if step is None:
            raise Enough
        step()


def expected(hits: Sequence[int]) -> Experiment:
    """Return the experiment that these reports make."""
    experiment = Experiment(RULES)
    for one in hits:
        experiment.add(tally(100, 40), tally(10, one))
    return experiment


@pytest.fixture
def desk() -> ExperimentDesk:
    """Return a desk where an experiment begins."""
    return ExperimentDesk()


def nothing() -> None:
    """Let nothing happen."""


def test_a_bad_candidate_is_dropped(desk: ExperimentDesk) -> None:
    """The line has the figures; there is nothing to decide then."""
    desk.report(BAD)
    watched = Watched(desk)

    line = watched.once()

    assert line == f"release 2 is dropped: it is worse than release 1, {expected([BAD]).sentence()}"
    assert "hit rate 10.00% against 40.00%, -30.00 percentage points" in line
    assert desk.pointers == (1, None)
    assert watched.once() == "topic releases has no @candidate: nothing to decide"
    assert watched.decisions() == 1


def test_a_better_candidate_is_promoted(desk: ExperimentDesk) -> None:
    """It is champion then, and a rollback leads back."""
    desk.report(GOOD)

    assert (
        Watched(desk)
        .once()
        .startswith("release 2 is @champion: it is better than release 1, hit rate 60.00%")
    )
    assert desk.pointers == (2, None)
    assert Pointer(2, None, 1).value() in [record.value for record in desk.cluster.read(RELEASES)]


def test_without_a_champion_there_is_nothing_to_decide(desk: ExperimentDesk) -> None:
    """A candidate alone serves nobody."""
    desk.point(champion=None)

    assert Watched(desk).once() == "topic releases has no @champion: nothing to decide"


def test_what_is_not_shown_is_not_decided(desk: ExperimentDesk) -> None:
    """Without reports, with too few clicks, without a difference, and of other groups: all stays as it is."""
    assert "release 2 against release 1: undecided, 0 judged clicks against 0" in Watched(desk).once()
    desk.report(ALIKE)
    assert "0 judged clicks" in Watched(desk, group="another").once()
    assert "too few" in Watched(desk, rules=Rules(min_clicks=700)).once()
    line = Watched(desk, group="shop").once()
    assert "undecided, hit rate 40.00% against 40.00%, +0.00 percentage points" in line

    assert desk.pointers == (1, 2)


def test_an_undecided_candidate_is_given_up_in_the_end(desk: ExperimentDesk) -> None:
    """After so many hours as a candidate, whoever watched meanwhile; or never."""
    desk.report(ALIKE)
    desk.cluster.advance(24 * 3_600 - 1)
    assert "undecided" in Watched(desk).once()
    desk.cluster.advance(1)
    assert "undecided" in Watched(desk, give_up_hours=0).once()

    line = Watched(desk).once()

    assert line.startswith(
        "release 2 is dropped: no significant difference from release 1 in 24 hours, hit rate"
    )
    assert desk.pointers == (1, None)


def test_started_again_it_decides_the_same(desk: ExperimentDesk) -> None:
    """At the same report as a watch that looked all the time: another start is another look, no more."""
    source = random.Random(5)
    hits = [source.choice([3, 4, 4]) for _ in range(40)]
    decided = next(end for end in range(40) if expected(hits[:end]).verdict)
    desk.report(*hits[: decided // 2])
    assert "undecided" in Watched(desk).once()
    desk.report(*hits[decided // 2 :])

    line = Watched(desk).once()

    assert expected(hits).verdict is Verdict.WORSE
    assert line == f"release 2 is dropped: it is worse than release 1, {expected(hits[:decided]).sentence()}"


def test_a_better_candidate_that_is_gone_is_not_promoted(desk: ExperimentDesk) -> None:
    """The watch says what to do, and leaves the transactional id to whoever publishes."""
    desk.report(GOOD)
    desk.cluster.produce(RELEASES, None, key=b"release/0002")

    line = Watched(desk).once()

    assert line.startswith("release 2 is better than release 1, but topic releases no longer has it")
    assert line.endswith("; end the experiment: `nextclick-trainer rollback --candidate`")
    assert desk.pointers == (1, 2)


def test_of_two_that_decide_at_once_one_does(desk: ExperimentDesk) -> None:
    """The second finds the pointers changed, and goes on with the next candidate."""
    desk.report(BAD)
    first, second = Watched(desk), Watched(desk, nothing, desk.publish)
    second.metrics.meanwhile = lambda: first.once() if desk.pointers == (1, 2) else None

    assert [line.partition(":")[0] for line in second.follow()] == [
        "this watch does not decide on release 2",
        "topic releases has no @candidate",
        "release 3 against release 1",
    ]
    assert (first.decisions(), second.decisions()) == (1, 0)


def test_two_that_fence_each_other_do_not_do_so_for_ever(desk: ExperimentDesk) -> None:
    """After a failure a watch waits for a time of chance, longer and longer: in it the other one decides."""
    desk.report(BAD)
    drawn: list[tuple[float, float]] = []

    def chance(low: float, high: float) -> float:
        drawn.append((low, high))
        return high / 3

    other = Watched(desk)
    fenced = Watched(desk, nothing, nothing, other.once, chance=chance)
    desk.cluster.fail("commit", CheckpointFailed("commit: fenced", reason="fenced"), times=3)

    assert fenced.follow(every_seconds=0.3) == [
        "commit: fenced; retrying",
        "release 2 is no longer @candidate; this watch did not remove it",
        "topic releases has no @candidate: nothing to decide",
    ]
    assert drawn == [(0, 0.6), (0, 1.2), (0, 2.4)]
    assert fenced.slept == pytest.approx([0.2, 0.4, 0.8, 0.3])
    assert (other.decisions(), fenced.decisions()) == (1, 0)


def test_pauses_grow_to_a_minute() -> None:
    """Or to the interval without failures, where that is longer."""
    found = [_longest_pause(*one) for one in [(0.1, 1), (0.1, 3), (10, 10_000), (90, 5)]]

    assert found == [0.2, 0.8, 60, 90]


def test_a_person_may_decide_meanwhile(desk: ExperimentDesk) -> None:
    """The watch says so and goes on with the next candidate, against the champion of then."""
    watched = Watched(
        desk,
        lambda: desk.point(champion=Pointer(2), candidate=None),
        desk.publish,
        lambda: desk.point(champion=Pointer(1)),
        lambda: desk.point(candidate=None),
    )

    lines = watched.follow()

    assert [line.partition(", ")[0] for line in lines] == [
        "release 2 against release 1: undecided",
        "release 2 became @champion in the meantime",
        "topic releases has no @candidate: nothing to decide",
        "release 3 against release 2: undecided",
        "the experiment of release 3 restarts: @champion is release 1",
        "release 3 against release 1: undecided",
        "release 3 is no longer @candidate; this watch did not remove it",
        "topic releases has no @candidate: nothing to decide",
    ]
    assert watched.decisions() == watched.metric("candidate") == 0


def test_an_outage_is_waited_out(desk: ExperimentDesk) -> None:
    """The watch says once that Kafka is away, and decides when it is back."""

    def back() -> None:
        desk.cluster.up()
        desk.report(BAD)

    watched = Watched(desk, desk.cluster.down, nothing, nothing, back)

    lines = watched.follow()

    assert [line.partition(":")[0] for line in lines[:2]] == [
        "release 2 against release 1",
        "read the releases topic releases",
    ]
    assert lines[1].endswith("; retrying")
    assert lines[2].startswith("release 2 is dropped")
    assert watched.slept == [10, 20, 40, 60, 10]


def test_a_topic_that_is_not_there_ends_a_watch_that_never_saw_it(desk: ExperimentDesk) -> None:
    """One that has looked before waits: a broker that was just started may not know its topics yet."""
    topics = desk.cluster._broker.topics
    quality = topics.pop(QUALITY)
    with pytest.raises(TopicError, match="quality"):
        Watched(desk).follow()
    topics[QUALITY] = quality

    def restart() -> None:
        desk.cluster.down()
        del topics[QUALITY]

    def back() -> None:
        topics[QUALITY] = quality
        desk.report(BAD)

    lines = Watched(desk, restart, desk.cluster.up, back).follow()

    assert "does not exist" in lines[2]
    assert lines[2].endswith("; retrying")
    assert lines[3].startswith("release 2 is dropped")


def test_one_look_waits_for_nothing(desk: ExperimentDesk) -> None:
    """It is an error where Kafka is away, and a missing right ends every watch."""
    desk.cluster.down()
    with pytest.raises(KafkaAway):
        Watched(desk).once()
    desk.cluster.up()
    desk.report(BAD)
    desk.cluster.fail("renew", NotAllowed("no right to write"))

    with pytest.raises(NotAllowed):
        Watched(desk)._watch.follow(10.0)
