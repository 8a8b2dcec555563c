"""Workers at a desk: the whole worker, wired as in production, on a Kafka in memory, stepped by hand.

    desk = Desk()
    worker = desk.start("a")
    desk.click("ada", "item-3")
    desk.settle()
    desk.answers()

Nothing here is a copy of the worker: only Kafka, the clock and the stop are replaced, at their seams.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import orjson

from tests import oracle
from tests.builders import ITEMS, successor_release_parts, tiny_release_parts
from tests.records import Record
from worker.clock import Clock
from worker.config import Settings
from worker.core.manifest import Manifest
from worker.core.states import States
from worker.http.questions import AboutUser, Answer, Question, Questions
from worker.http.readiness import Readiness
from worker.kafka.memory import Crashed, MemoryCluster, MemoryConnection, MemoryRecord
from worker.metrics import Metrics
from worker.process.stop import Stop
from worker.schemas.interface import Registry
from worker.schemas.memory import MemoryRegistry
from worker.topics import needs, releases, state_changes
from worker.topics.state_scan import marks
from worker.wiring import Process, Worker, topics_needed, wired

SETTLED_ROUNDS: Final = 1_000
"""More rounds than any test needs until nothing changes any more."""

ROUND_SECONDS: Final = 0.05
"""How much time passes with every round."""

SLAB_ROWS: Final = 64
"""For how many users memory is reserved at a time: few, so that a worker costs little."""

GROUP: Final = "desk"


class StopByHand(Stop):
    """A stop whose waiting lets the cluster's time pass, not ours."""

    def __init__(self, advance: Callable[[float], None]) -> None:
        super().__init__()
        self._advance = advance
        self.meanwhile: Callable[[], object] = lambda: None
        """Called whenever the worker waits: what it says then, and what happens to the cluster."""

    def wait(self, seconds: float) -> bool:
        """Let `seconds` pass at once."""
        self._advance(seconds)
        self.meanwhile()
        return self.requested


class DeskWorker:
    """One worker process: `begin` it, then `round` after `round`."""

    def __init__(
        self,
        cluster: MemoryCluster,
        settings: Settings,
        advance: Callable[[float], None],
        registry: Registry | None = None,
    ) -> None:
        clock = Clock(wall=cluster.wall, steady=cluster.steady, sleep=advance)
        metrics = Metrics(cluster.steady, cluster.wall)
        readiness = Readiness(metrics.ready, cluster.steady)
        self.settings = settings
        self.stop_by_hand = StopByHand(advance)
        self.connection: MemoryConnection = cluster.connect()
        questions = Questions(clock=cluster.steady)
        self.process = Process(metrics, readiness, questions, self.stop_by_hand, clock)
        self.worker: Worker = wired(
            settings,
            self.connection,
            self.process,
            background=False,
            states=States(state_size=0, slab_rows=SLAB_ROWS),
            registry=registry,
        )

    @property
    def member(self) -> Any:
        """The membership in the group: `cluster.freeze(worker.member)`."""
        return self.worker.member

    @property
    def served(self) -> set[int]:
        """The partitions that it serves."""
        return set(self.worker.table.served())

    @property
    def reason(self) -> str:
        """Why it is not ready; empty where it is."""
        return self.process.readiness.reason

    def begin(self) -> None:
        """Do all that comes before the first round."""
        self.worker.loop.begin()

    def round(self) -> None:
        """Go round once."""
        self.worker.loop.round()

    def stop(self) -> None:
        """End as after SIGTERM: a last checkpoint, then leave."""
        self.worker.loop.last_checkpoint(15, flush_seconds=1)
        self.worker.loop.end()

    def metric(self, name: str, **labels: str) -> float:
        """The value of a sample; 0.0 where there is none."""
        return self.process.metrics.registry.get_sample_value(name, labels) or 0.0

    def known(self, user_id: str) -> tuple[bool, dict[str, Any]]:
        """Whether it has a state of a user, and what it answers to a question about that."""
        status, document = self.ask(AboutUser(user_id))
        return status == 200, document

    def ask(self, question: Question, meanwhile: Callable[[], object] = lambda: None) -> Answer:
        """What it answers to a question; it goes round until it does, after `meanwhile` each time."""
        with ThreadPoolExecutor(1) as asking:
            answer = asking.submit(asyncio.run, self.process.questions.ask(question))
            while not answer.done():
                meanwhile()
                self.round()
            return answer.result()

    def recent(self, user_id: str) -> list[str]:
        """The recent items that it knows of a user; empty where it does not know them."""
        items: list[str] = self.known(user_id)[1].get("recent_items", [])
        return items


class Desk:
    """A cluster with the topics of one group, a release, and its workers by name."""

    def __init__(
        self,
        *,
        partitions: int = 2,
        release: tuple[Manifest, bytes] | None = None,
        publish: bool = True,
        registry: MemoryRegistry | None = None,
        topic_ids: bool = True,
        **sections: Mapping[str, Any] | float,
    ) -> None:
        self.cluster = MemoryCluster(topic_ids=topic_ids)
        self.registry = registry
        self.partitions = partitions
        self.sections = sections
        self.workers: dict[str, DeskWorker] = {}
        self.frozen: set[str] = set()
        """The workers that `step` passes over."""
        self._up_at: float | None = None
        self.topics = self.settings().topics
        self.connection: MemoryConnection = self.cluster.connect()
        self.make_topics()
        if publish:
            self.publish(*(release or tiny_release_parts()))

    def make_topics(self) -> None:
        """Create the topics that are missing, as `nextclick-worker topics` does."""
        wanted = topics_needed(self.settings())
        needs.create(self.connection.admin(), wanted, partitions=self.partitions, replication=1)

    def settings(self, worker_id: str = "a") -> Settings:
        """The settings of one worker: every click is answered, however old; a flush each second."""
        document: dict[str, Any] = {
            "group": GROUP,
            "worker_id": worker_id,
            "recommend": {"publish": "every", "publish_max_age": 0},
            "state": {"flush_interval": 1.0},
        }
        if self.registry is not None:
            document["registry"] = {"url": "http://memory"}
        for name, value in self.sections.items():
            document[name] = document.get(name, {}) | value if isinstance(value, Mapping) else value
        return Settings.model_validate(document)

    def publish(self, manifest: Manifest, blob: bytes, *, pointer: str = releases.CHAMPION) -> int:
        """Publish a release; its number."""
        return releases.publish(self.connection, self.topics.releases, manifest, blob, pointer=pointer)

    # Workers

    def new(self, worker_id: str = "a") -> DeskWorker:
        """A worker that has not begun."""
        worker = self.workers[worker_id] = DeskWorker(
            self.cluster, self.settings(worker_id), self.advance, self.registry
        )
        return worker

    def start(self, worker_id: str = "a") -> DeskWorker:
        """Start a worker; it has joined the group and serves nothing yet."""
        worker = self.new(worker_id)
        worker.begin()
        return worker

    def serving(self, worker_id: str = "a") -> DeskWorker:
        """Start a worker, and step until all partitions are served."""
        worker = self.start(worker_id)
        self.settle()
        return worker

    def kill(self, worker_id: str = "a") -> None:
        """End a worker as kill -9 does."""
        self.frozen.discard(worker_id)
        self.cluster.crash(self.workers.pop(worker_id).connection)

    def stop(self, worker_id: str = "a") -> None:
        """End a worker as SIGTERM does."""
        self.workers.pop(worker_id).stop()

    def restart(self, worker_id: str = "a") -> DeskWorker:
        """Kill a worker and start it again, until it serves; its session has to time out first."""
        if worker_id in self.workers:
            self.kill(worker_id)
        worker = self.start(worker_id)
        self.advance(11)
        self.settle()
        return worker

    def freeze(self, worker_id: str) -> None:
        """Let a worker stand still as SIGSTOP does: it neither goes round nor heartbeats."""
        self.frozen.add(worker_id)
        self.cluster.freeze(self.workers[worker_id].member)

    def thaw(self, worker_id: str) -> None:
        """Let it go on."""
        self.frozen.discard(worker_id)

    # Time

    def advance(self, seconds: float) -> None:
        """Let time pass; an outage ends when its time is over."""
        self.cluster.advance(seconds)
        if self._up_at is not None and self.cluster.steady() >= self._up_at:
            self._up_at = None
            self.cluster.up()

    @property
    def away(self) -> bool:
        """Whether the cluster answers nobody at the moment."""
        return self._up_at is not None

    def down(self, seconds: float) -> None:
        """Let the cluster answer nobody for some seconds."""
        self.cluster.down()
        self._up_at = self.cluster.steady() + seconds

    def step(self, rounds: int = 1) -> None:
        """Let every worker go round that often, in turn, time passing with each; a crash ends a worker."""
        for _ in range(rounds):
            self.advance(ROUND_SECONDS)
            for name in [name for name in self.workers if name not in self.frozen]:
                self.round(name)

    def round(self, worker_id: str) -> None:
        """Let one worker go round once; a crash ends it."""
        try:
            self.workers[worker_id].round()
        except Crashed:
            del self.workers[worker_id]

    def settle(self) -> None:
        """Step until every partition is served and every click is committed."""
        self.until(self._settled, "all to be served and committed")

    def written(self) -> dict[str, int]:
        """How many records workers wrote to each topic, committed or not."""
        topics = self.topics
        names = (topics.recommendations, topics.dead_letters, topics.state, topics.quality)
        return {topic: len(self.cluster.read(topic, committed=False)) for topic in names}

    def until(self, done: Callable[[], object], what: str) -> None:
        """Step until something is so."""
        for _ in range(SETTLED_ROUNDS):
            self.step()
            if done():
                return
        waiting = {name: worker.reason for name, worker in self.workers.items()}
        raise AssertionError(f"waited {SETTLED_ROUNDS} rounds in vain for {what}: {waiting}")

    # Records

    def home(self, user: str) -> int:
        """The partition of a user's clicks where a test names no other."""
        return sum(user.encode()) % self.partitions

    def click(
        self, user: str, item: str = ITEMS[0], *, partition: int | None = None, timestamp: int | None = None
    ) -> int:
        """Send a click; its offset."""
        number = self.home(user) if partition is None else partition
        document = {"user_id": user, "item_id": item, "timestamp": timestamp or self.cluster.now_ms}
        return self.send(orjson.dumps(document), partition=number)

    def send(self, value: bytes | None, *, partition: int = 0, key: bytes | None = None) -> int:
        """Send a record of any kind to the clicks; its offset."""
        return self.cluster.produce(self.topics.clicks, value, key=key, partition=partition)

    def forget(self, user: str, partitions: Collection[int] | None = None) -> None:
        """Ask for the deletion of a user, as `nextclick-worker forget` does."""
        ats = range(self.partitions) if partitions is None else partitions
        ends = marks(self.connection, topic=self.topics.clicks, group=GROUP, partitions=ats)
        state_changes.ask_to_forget(
            self.connection,
            user,
            {partition: one.end for partition, one in ends.items()},
            topic=self.topics.state,
            asked_at=self.cluster.now_ms,
        )

    def add_partitions(self, total: int) -> None:
        """Give the clicks more partitions, and before them the topics that must have as many."""
        for topic in (self.topics.recommendations, self.topics.state, self.topics.clicks):
            if self.cluster._broker.partitions(topic) < total:
                self.cluster.add_partitions(topic, total)
        self.partitions = total

    def answers(self, *, committed: bool = True) -> list[MemoryRecord]:
        """The records of the output topic."""
        return self.cluster.read(self.topics.recommendations, committed=committed)

    def letters(self) -> list[MemoryRecord]:
        """The committed dead letters."""
        return self.cluster.read(self.topics.dead_letters)

    def states(self) -> list[MemoryRecord]:
        """The committed records of the state topic."""
        return self.cluster.read(self.topics.state)

    def committed(self) -> dict[int, int]:
        """The offset that the group has committed, by partition."""
        return self.cluster.committed(GROUP, self.topics.clicks)

    def saved(self) -> dict[int, int]:
        """By partition: the offset up to which its states are saved."""
        return oracle.replay_offsets(records(self.states()))

    def assert_answered_once(self) -> None:
        """A committed reader sees one answer to each click, in order in each partition."""
        wanted = [
            f"{one.topic}/{one.partition}/{one.offset}" for one in self.cluster.read(self.topics.clicks)
        ]
        found = [(dict(one.headers)["id"] or b"").decode() for one in self.answers()]

        assert Counter(found) == Counter(wanted)
        for partition in range(self.partitions):
            values = [one.value or b"" for one in self.answers() if one.partition == partition]
            offsets = [orjson.loads(value)["event"]["offset"] for value in values]
            assert offsets == sorted(offsets)

    def _settled(self) -> bool:
        committed = self.committed()
        logs = {number: self.cluster.log(self.topics.clicks, number) for number in range(self.partitions)}
        running = [worker for name, worker in self.workers.items() if name not in self.frozen]
        served = [number for worker in running for number in worker.served]
        done = all(committed.get(number, log.start) >= log.end for number, log in logs.items())
        return done and sorted(served) == list(range(self.partitions))


def successor_desk(**sections: Any) -> Desk:
    """A desk whose release recommends, first of all, the item that follows the one clicked."""
    return Desk(release=successor_release_parts(), **sections)


def records(found: Collection[MemoryRecord]) -> list[Record]:
    """Records of the memory cluster as the judge takes them."""
    return [
        Record(
            one.value,
            one.key,
            one.partition,
            one.offset,
            tuple((name, value or b"") for name, value in one.headers),
            one.timestamp,
        )
        for one in found
    ]
