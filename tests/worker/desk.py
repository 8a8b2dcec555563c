"""Workers at a desk: the whole worker, wired as in production, on a Kafka in memory, stepped by hand.

    desk = Desk()
    worker = desk.start("a")
    desk.click("ada", "item-3")
    desk.settle()
    desk.answers()

Nothing here is a copy of the worker: only Kafka, the clock and the stop are replaced, at their seams.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson

from tests.builders import ITEMS, tiny_release_parts
from worker.clock import Clock
from worker.config import Settings
from worker.core.manifest import Manifest
from worker.http.questions import Questions
from worker.http.readiness import Readiness
from worker.kafka.memory import MemoryCluster, MemoryConnection, MemoryRecord
from worker.metrics import Metrics
from worker.process.stop import Stop
from worker.topics import needs, releases
from worker.wiring import Process, Worker, topics_needed, wired

SETTLED_ROUNDS: Final = 400
"""More rounds than any test needs until nothing changes any more."""

ROUND_SECONDS: Final = 0.05
"""How much time passes with every round."""


class StopByHand(Stop):
    """A stop whose waiting lets the cluster's time pass, not ours."""

    def __init__(self, cluster: MemoryCluster) -> None:
        super().__init__()
        self._cluster = cluster

    def wait(self, seconds: float) -> bool:
        """Let `seconds` pass at once."""
        self._cluster.advance(seconds)
        return self.requested


class DeskWorker:
    """One worker process: `begin` it, then `round` after `round`."""

    def __init__(self, cluster: MemoryCluster, settings: Settings) -> None:
        clock = Clock(wall=cluster.wall, steady=cluster.steady, sleep=cluster.advance)
        metrics = Metrics(cluster.steady)
        readiness = Readiness(metrics.ready, cluster.steady)
        self.settings = settings
        self.connection: MemoryConnection = cluster.connect()
        self.process = Process(metrics, readiness, Questions(), StopByHand(cluster), clock)
        self.worker: Worker = wired(settings, self.connection, self.process, background=False)

    @property
    def member(self) -> Any:
        """The membership in the group: `cluster.freeze(worker.member)`."""
        return self.worker.member

    @property
    def served(self) -> set[int]:
        """The partitions that it serves."""
        return set(self.worker.table.served())

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


class Desk:
    """A cluster with the topics of one group, a release, and its workers by name."""

    def __init__(
        self,
        *,
        partitions: int = 2,
        release: tuple[Manifest, bytes] | None = None,
        publish: bool = True,
        **sections: Mapping[str, Any] | float,
    ) -> None:
        self.cluster = MemoryCluster()
        self.partitions = partitions
        self.sections = sections
        self.workers: dict[str, DeskWorker] = {}
        self.clicks: list[MemoryRecord] = []
        connection = self.cluster.connect()
        needs.create(connection.admin(), topics_needed(self.settings()), partitions=partitions, replication=1)
        if publish:
            self.publish(*(release or tiny_release_parts()))

    def settings(self, worker_id: str = "a") -> Settings:
        """The settings of one worker: every click is answered, however old; a flush each second."""
        document: dict[str, Any] = {
            "group": "desk",
            "worker_id": worker_id,
            "recommend": {"publish": "every", "publish_max_age_seconds": 0},
            "state": {"flush_interval_seconds": 1.0},
        }
        for name, value in self.sections.items():
            document[name] = document.get(name, {}) | value if isinstance(value, Mapping) else value
        return Settings.model_validate(document)

    def publish(self, manifest: Manifest, blob: bytes, *, pointer: str = releases.CHAMPION) -> int:
        """Publish a release; its number."""
        topic = self.settings().topics.releases
        return releases.publish(self.cluster.connect(), topic, manifest, blob, pointer=pointer)

    def start(self, worker_id: str = "a") -> DeskWorker:
        """Start a worker; it has joined the group and serves nothing yet."""
        worker = self.workers[worker_id] = DeskWorker(self.cluster, self.settings(worker_id))
        worker.begin()
        return worker

    def kill(self, worker_id: str) -> None:
        """End a worker as kill -9 does."""
        self.cluster.crash(self.workers.pop(worker_id).connection)

    def stop(self, worker_id: str) -> None:
        """End a worker as SIGTERM does."""
        self.workers.pop(worker_id).stop()

    def click(
        self, user: str, item: str = ITEMS[0], *, partition: int | None = None, timestamp: int | None = None
    ) -> int:
        """Send a click; its offset. A user's partition is always the same where none is given."""
        number = sum(user.encode()) % self.partitions if partition is None else partition
        document = {"user_id": user, "item_id": item, "timestamp": timestamp or self.cluster.now_ms}
        return self.send(orjson.dumps(document), partition=number)

    def send(self, value: bytes | None, *, partition: int = 0, key: bytes | None = None) -> int:
        """Send a record of any kind to the clicks; its offset."""
        topic = self.settings().topics.clicks
        return self.cluster.produce(topic, value, key=key, partition=partition)

    def step(self, rounds: int = 1) -> None:
        """Let every worker go round so often, in turn, time passing with each."""
        for _ in range(rounds):
            self.cluster.advance(ROUND_SECONDS)
            for worker in [*self.workers.values()]:
                worker.round()

    def settle(self) -> None:
        """Step until every partition is served and every click is committed."""
        for _ in range(SETTLED_ROUNDS):
            self.step()
            if self._settled():
                return
        waiting = {name: worker.process.readiness.reason for name, worker in self.workers.items()}
        raise AssertionError(f"not settled after {SETTLED_ROUNDS} rounds: {waiting}")

    def answers(self, *, committed: bool = True) -> list[MemoryRecord]:
        """The records of the output topic."""
        return self.cluster.read(self.settings().topics.recommendations, committed=committed)

    def letters(self) -> list[MemoryRecord]:
        """The committed dead letters."""
        return self.cluster.read(self.settings().topics.dead_letters)

    def states(self) -> list[MemoryRecord]:
        """The committed records of the state topic."""
        return self.cluster.read(self.settings().topics.state)

    def assert_answered_once(self) -> None:
        """A committed reader sees one answer to each click, in order in each partition."""
        topic = self.settings().topics.clicks
        wanted = [f"{topic}/{one.partition}/{one.offset}" for one in self.cluster.read(topic)]
        found = [(dict(one.headers)["id"] or b"").decode() for one in self.answers()]

        assert Counter(found) == Counter(wanted)
        for partition in range(self.partitions):
            offsets = [orjson.loads(one.value or b"")["event"]["offset"] for one in self._of(partition)]
            assert offsets == sorted(offsets)

    def _of(self, partition: int) -> Sequence[MemoryRecord]:
        return [one for one in self.answers() if one.partition == partition]

    def _settled(self) -> bool:
        topics = self.settings().topics
        committed = self.cluster.committed("desk", topics.clicks)
        logs = {number: self.cluster.log(topics.clicks, number) for number in range(self.partitions)}
        served = [number for worker in self.workers.values() for number in worker.served]
        done = all(committed.get(number, log.start) >= log.end for number, log in logs.items())
        return done and sorted(served) == list(range(self.partitions))
