"""Counters that add up: of records, of clicks and of lists, whatever comes in and whatever happens."""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

import orjson
from hypothesis import given
from hypothesis import strategies as st

from tests.worker.desk import Desk, DeskWorker
from worker.kafka.memory.broker import Call

MAX_AGE_SECONDS: Final = 60.0


class Kind(NamedTuple):
    """What a record of one kind counts as."""

    events: tuple[str, ...]
    """The types of its events; a single event is no list."""
    outcome: str
    clicks: int
    age_seconds: float = 0.0


KINDS: Final = {
    "click": Kind(("view",), "clicks", 1),
    "old": Kind(("view",), "clicks", 1, age_seconds=2 * MAX_AGE_SECONDS),
    "several": Kind(("view", "view", "scroll"), "clicks", 2),
    "half bad": Kind(("view", "no item"), "dead_letter", 1),
    "bad": Kind(("no item",), "dead_letter", 0),
    "excluded": Kind(("scroll",), "skipped", 0),
    "all excluded": Kind(("scroll", "scroll"), "skipped", 0),
}
OUTCOMES: Final = ("clicks", "skipped", "dead_letter")


def event(kind: str, user: int) -> dict[str, object]:
    """Return an event of a type."""
    document: dict[str, object] = {"user_id": f"user-{user}", "type": kind}
    return document if kind == "no item" else document | {"item_id": f"item-{user}"}


class Scene:
    """A desk, all workers that ever ran there, and what was sent."""

    def __init__(self, publish: Literal["latest", "every"]) -> None:
        self.desk = Desk(
            partitions=2,
            recommend={"publish": publish, "publish_max_age": MAX_AGE_SECONDS},
            click={"where": "type != scroll"},
        )
        self.sent: list[Kind] = []
        self.workers = [self.desk.serving()]

    def send(self, kind: str, user: int) -> None:
        """Send a record."""
        one = KINDS[kind]
        events = [event(name, user + place) for place, name in enumerate(one.events)]
        self.desk.cluster.produce(
            self.desk.topics.clicks,
            orjson.dumps(events if len(events) > 1 else events[0]),
            partition=user % 2,
            timestamp=round(self.desk.cluster.now_ms - one.age_seconds * 1000),
        )
        self.sent.append(one)

    def go_on(self, rounds: int) -> None:
        """Let the worker go round; the counters add up after each."""
        for _ in range(rounds):
            self.desk.step()
            assert_balanced(self.workers[-1])
            if not self.desk.workers:
                self.restart()

    def settle(self) -> None:
        """Let all be served and committed, without further faults; the counters of all workers add up."""
        self.desk.cluster._broker.faults.clear()
        self.desk.settle()
        for worker in self.workers:
            assert_balanced(worker)

    def kill(self) -> None:
        """Kill the worker, and start it again."""
        self.desk.kill()
        self.restart()

    def restart(self) -> None:
        """Start the worker again."""
        self.workers.append(self.desk.start())
        self.desk.advance(11)

    def total(self, name: str, **labels: str) -> float:
        """Return the sum of the samples with these labels, over all workers."""
        return sum(Counts(worker).total(name, **labels) for worker in self.workers)


COUNTERS: Final = ("records", "dead_letters", "skipped", "clicks", "clicks_without_list", "recommendations")


class Counts:
    """The counters of one worker at one time."""

    def __init__(self, worker: DeskWorker) -> None:
        registry = worker.process.metrics.registry
        wanted = registry.restricted_registry([f"nextclick_{name}_total" for name in COUNTERS])
        self._samples = [sample for metric in wanted.collect() for sample in metric.samples]

    def total(self, name: str, **labels: str) -> float:
        """Return the sum of the samples with these labels."""
        return sum(
            one.value
            for one in self._samples
            if one.name == f"nextclick_{name}_total" and labels.items() <= one.labels.items()
        )


def assert_balanced(worker: DeskWorker) -> None:
    """The identities of worker/README.md hold for one worker."""
    total = Counts(worker).total

    assert total("records", became="dead_letter") == total("dead_letters")
    assert total("records", became="skipped") == total("skipped")
    assert total("clicks") == total("recommendations") + total("clicks_without_list")
    assert total("clicks_without_list", reason="superseded") >= 0


RECORDS: Final = st.tuples(st.sampled_from([*KINDS]), st.integers(0, 3))
PUBLISH: Final = st.sampled_from(["latest", "every"])


@given(PUBLISH, st.lists(st.lists(RECORDS, max_size=12), max_size=5))
def test_without_failures_every_record_is_counted_once(
    publish: Literal["latest", "every"], batches: list[list[tuple[str, int]]]
) -> None:
    """With what it became; the topics have as many letters and lists as are counted."""
    scene = Scene(publish)
    for batch in batches:
        for kind, user in batch:
            scene.send(kind, user)
        scene.go_on(1)
    scene.settle()

    for outcome in OUTCOMES:
        wanted = sum(one.outcome == outcome for one in scene.sent)
        assert scene.total("records", became=outcome) == wanted
    assert scene.total("clicks") == sum(one.clicks for one in scene.sent)
    assert scene.total("recommendations") == len(scene.desk.answers())
    assert scene.total("records", became="dead_letter") == len(scene.desk.letters())
    if publish == "every":
        old = sum(one.clicks for one in scene.sent if one.age_seconds)
        assert scene.total("clicks_without_list", reason="too_old") == old


CALLS: Final = st.sampled_from(["send", "commit"])
FAULTS: Final = st.one_of(
    st.just("kill"),
    st.tuples(st.just("fail"), CALLS, st.booleans(), st.integers(0, 6)),
    st.tuples(st.just("crash"), CALLS, st.booleans(), st.integers(0, 6)),
)


def strike(scene: Scene, fault: str | tuple[str, Call, bool, int]) -> None:
    """Do one fault."""
    if isinstance(fault, str):
        scene.kill()
        return
    how, call, after, skip = fault
    do = scene.desk.cluster.fail if how == "fail" else scene.desk.cluster.crash_at
    connection = scene.workers[-1].connection
    do(call, after=after, skip=skip, connection=connection)


@given(PUBLISH, st.lists(st.tuples(st.lists(RECORDS, max_size=8), FAULTS), min_size=1, max_size=4))
def test_with_failures_the_counters_still_add_up(
    publish: Literal["latest", "every"],
    batches: list[tuple[list[tuple[str, int]], str | tuple[str, Call, bool, int]]],
) -> None:
    """In every worker after every round. What is read again is counted again, and nothing else is."""
    scene = Scene(publish)
    for batch, fault in batches:
        for kind, user in batch:
            scene.send(kind, user)
        strike(scene, fault)
        scene.go_on(3)
    scene.settle()

    written, topics = scene.desk.written(), scene.desk.topics
    assert len(scene.desk.answers()) <= scene.total("recommendations") <= written[topics.recommendations]
    letters = sum(one.outcome == "dead_letter" for one in scene.sent)
    assert len(scene.desk.letters()) == letters
    assert letters <= scene.total("records", became="dead_letter") <= written[topics.dead_letters]
    assert scene.total("clicks") >= sum(one.clicks for one in scene.sent)
