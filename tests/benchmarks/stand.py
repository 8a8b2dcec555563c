"""The ground of every measure: a real Kafka with releases and clicks in it, and processes to be measured."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from itertools import count
from pathlib import Path
from typing import Any, Final

from confluent_kafka import Consumer, KafkaException, TopicPartition

from deploy.kafka.ports import free_port
from tests.benchmarks import shop
from tests.benchmarks.backlog import Backlog, Pace
from tests.benchmarks.clicks import Sender, clicks
from tests.broker.process import ROOT, WorkerProcess, toml
from tests.builders import item_names, tiny_release_parts
from worker.kafka.connection import KafkaConnection
from worker.topics import needs, releases

PARTITIONS: Final = 4
HIDDEN_SIZE: Final = 128

LARGE: Final = 50_000
"""A catalogue of more items is that of `tests.benchmarks.shop`: random vectors have no lists of items."""


class Stand:
    """Topics are made as `nextclick-worker topics` makes them, under names that come once.

    `worker` are `[kafka]` settings that all workers have.
    """

    def __init__(self, bootstrap: str, folder: Path, *, worker: Mapping[str, int]) -> None:
        self.bootstrap = bootstrap
        self.sender = Sender(bootstrap)
        self._folder = folder
        self._worker = dict(worker)
        self._connection = KafkaConnection(bootstrap)
        self._number = count(1)
        self.pace = Pace()
        self._backlogs: dict[int, Backlog] = {}
        self._published: set[str] = set()

    def settings(
        self,
        items: int,
        *,
        clicks: str = "",
        releases: str = "",
        partitions: int = PARTITIONS,
        **recommend: object,
    ) -> dict[str, Any]:
        """Return settings of a worker in a group of its own under a release with `items` items.

        Its topics exist. It reads the topic `clicks`, or an empty one of its own with `partitions`. Its
        releases are in the topic `releases`, or in one shared by all with as many items; with 0 items none is
        published.
        """
        name = f"bench-{next(self._number)}"
        topics = {
            "clicks": clicks or f"{name}.clicks",
            "recommendations": f"{name}.recommendations",
            "dead_letters": f"{name}.dead-letter",
            "releases": releases or f"bench.releases-{items}",
            "state": f"{name}.state",
            "quality": f"{name}.quality",
        }
        with closing(self._connection.admin()) as admin:
            needs.create(admin, needs.needs(**topics), partitions=partitions, replication=1)
        if items:
            self._publish_once(topics["releases"], items)
        return {
            "group": name,
            "worker_id": "bench",
            "kafka": {"bootstrap_servers": self.bootstrap} | self._worker,
            "topics": topics,
            "http": {"port": free_port()},
            "recommend": recommend,
        }

    def backlog(self, items: int) -> Backlog:
        """Return the topic of clicks on a catalogue of `items` that all groups read from its beginning."""
        if items not in self._backlogs:
            topic = self.settings(items)["topics"]["clicks"]
            draw = shop.clicks if items > LARGE else clicks
            self._backlogs[items] = Backlog(self.sender.all_at_once, topic, items=items, draw=draw)
        return self._backlogs[items]

    def _publish_once(self, topic: str, items: int) -> None:
        if topic not in self._published:
            parts = (
                shop.release_parts(items)
                if items > LARGE
                else tiny_release_parts(item_names(items), hidden_size=HIDDEN_SIZE)
            )
            releases.publish(self._connection, topic, *parts)
            self._published.add(topic)

    @contextmanager
    def worker(self, settings: Mapping[str, Any]) -> Iterator[WorkerProcess]:
        """Start a worker with these settings; stop it at the end."""
        path = self._folder / f"{settings['group']}.{settings['worker_id']}.toml"
        path.write_text(toml(settings))
        process = WorkerProcess(
            ["run", "--config", str(path)],
            log_path=path.with_suffix(".log"),
            http_port=settings["http"]["port"],
        )
        try:
            yield process
            process.terminate()
            process.wait()
        finally:
            process.end()

    @contextmanager
    def passthrough(
        self, settings: Mapping[str, Any], *, at_once: bool = False
    ) -> Iterator[subprocess.Popen[bytes]]:
        """Start the passthrough with these settings; stop it at the end."""
        topics = {f"NEXTCLICK_TOPICS_{name}".upper(): topic for name, topic in settings["topics"].items()}
        environment = {
            "NEXTCLICK_GROUP": settings["group"],
            "NEXTCLICK_WORKER_ID": "bench",
            "NEXTCLICK_KAFKA_BOOTSTRAP_SERVERS": self.bootstrap,
        }
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("NEXTCLICK_")}
        command = [sys.executable, "-m", "tests.benchmarks.passthrough", *["at_once"] * at_once]
        process = subprocess.Popen(command, cwd=ROOT, env=inherited | environment | topics)
        try:
            yield process
            process.terminate()
            process.wait(20)
        finally:
            process.kill()
            process.wait()


class Committed:
    """The commits of a group in a topic: progress that nothing can take back, seen from outside."""

    def __init__(self, bootstrap: str, group: str, topic: str) -> None:
        self._partitions = [TopicPartition(topic, number) for number in range(PARTITIONS)]
        self._client = Consumer({"bootstrap.servers": bootstrap, "group.id": group})

    def close(self) -> None:
        """Let go of the connection."""
        self._client.close()

    def at_least(self, number: int, *, seconds: float) -> tuple[float, int]:
        """Return when (`perf_counter`) that many records were first seen as committed, and how many they are.

        Fewer after `seconds`, counted to the last change that was seen.
        """
        deadline = time.perf_counter() + seconds
        latest = self._seen()
        while latest[1] < number and time.perf_counter() < deadline:
            time.sleep(0.02)
            seen = self._seen()
            if seen[1] != latest[1]:
                latest = seen
        return latest

    def _seen(self) -> tuple[float, int]:
        try:
            committed = self._client.committed(self._partitions, timeout=30)
        except KafkaException:
            # A new cluster makes the topic of the groups' offsets when it is first asked for.
            committed = []
        return time.perf_counter(), sum(max(0, one.offset) for one in committed)
