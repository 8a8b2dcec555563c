"""A small shop, all of it real, that Prometheus watches: Kafka, two workers, a trainer, `watch`, and clicks.

The first champion has random weights. The trainer publishes a better candidate, `watch` promotes it, and a
broken release is refused. A few records are no clicks, and a few items are unknown.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, Final, Self

import orjson
from confluent_kafka import Producer

from deploy.kafka.ports import free_port
from tests.broker.process import WorkerProcess, toml
from tests.builders import item_names, tiny_release_parts
from tests.deploy.prometheus.local import LocalPrometheus
from worker.core.release import Pointer, to_records
from worker.kafka.connection import KafkaConnection
from worker.topics import needs, releases

PARTITIONS: Final = 4
USERS: Final = 300
ITEMS: Final = item_names(200)
AGE_SECONDS: Final = 24 * 3_600
"""The age of the oldest click in the topic at the start. The newest is a quarter of an hour old."""

WORKERS: Final = ("worker-1", "worker-2")
JOBS: Final[Mapping[str, Sequence[str]]] = {
    "nextclick-worker": WORKERS,
    "nextclick-trainer": ["trainer"],
    "nextclick-watch": ["watch"],
}
"""The programs of each job that Prometheus scrapes."""

Click = tuple[str, str]


def clicks(*, seed: int = 0) -> Iterator[Click]:
    """Yield users and items for ever.

    Each second click is on the item after the last one of its user, the others are on popular items.
    """
    draw = random.Random(seed)
    at = {user: draw.randrange(len(ITEMS)) for user in range(USERS)}
    while True:
        user = draw.randrange(USERS)
        popular = int(len(ITEMS) * draw.random() ** 3)
        at[user] = (at[user] + 1) % len(ITEMS) if draw.random() < 0.5 else popular
        yield f"user-{user}", ITEMS[at[user]] if draw.random() < 0.98 else f"new-{at[user]}"


class Scene:
    """The shop on a Kafka, with its files in `folder`. `history`: the number of clicks before the start."""

    def __init__(self, bootstrap: str, folder: Path, name: str, *, history: int, per_second: float) -> None:
        self._folder = folder
        self._connection = KafkaConnection(bootstrap)
        self._producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 5, "log_level": 0})
        self._clicks = clicks()
        self._history = history
        self._per_second = per_second
        topics = ("clicks", "recommendations", "dead_letters", "releases", "state", "quality")
        self.topics = {one: f"{name}.{one}" for one in topics}
        self._settings: dict[str, Any] = {
            "group": name,
            "kafka": {"bootstrap_servers": bootstrap},
            "topics": self.topics,
            "recommend": {"publish": "every"},
            "archive": {"folder": str(folder / "archive")},
            "model": {"hidden_size": 16},
            "training": {"epochs": 2},
            "run": {"every": "20s", "held_out": "1h", "policy": "candidate", "share": 0.5, "warm": False},
            "watch": {"every": "1s", "min_clicks": 400},
        }
        self._life = ExitStack()
        self._ports = {name: free_port() for names in JOBS.values() for name in names}
        self.processes: dict[str, WorkerProcess] = {}

    def __enter__(self) -> Self:
        with self._life:
            self._prepare()
            targets = {
                job: {name: f"127.0.0.1:{self._ports[name]}" for name in names} for job, names in JOBS.items()
            }
            self.prometheus = self._life.enter_context(LocalPrometheus(targets))
            for name in WORKERS:
                self._start(name, "worker", "run")
            self._start("watch", "trainer", "watch")
            self._open()
            self._life = self._life.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._life.close()

    def play(self, until: Callable[[], object], *, seconds: float, what: str) -> None:
        """Let users click until something is so. Raises AssertionError after `seconds`."""
        began, sent = time.monotonic(), 0
        while (passed := time.monotonic() - began) < seconds:
            for user, item in (next(self._clicks) for _ in range(int(passed * self._per_second) - sent)):
                sent += 1
                self._send(user, {"user_id": user, "item_id": item} if sent % 200 else {"user_id": user})
            if until():
                return
            time.sleep(0.02)
        logs = "\n".join(f"--- {name}\n{one.log[-3_000:]}" for name, one in self.processes.items())
        raise AssertionError(f"waited {seconds:g} s for {what}:\n{logs}")

    def play_for(self, seconds: float) -> None:
        """Let users click for some time."""
        end = time.monotonic() + seconds
        self.play(lambda: time.monotonic() > end, seconds=2 * seconds + 10, what="the time to pass")

    def is_tried(self) -> bool:
        """Return whether `watch` has seen judged clicks of a candidate."""
        return self.value("watch", "nextclick_trainer_judged_clicks", role="candidate") > 0

    def is_decided(self) -> bool:
        """Return whether `watch` has promoted or dropped the candidate."""
        return self.value("watch", "nextclick_trainer_decisions_total") > 0

    def value(self, process: str, name: str, **labels: str) -> float:
        """Return a metric of a process."""
        return self.processes[process].metric(name, **labels)

    def _open(self) -> None:
        """Play until the workers serve and have refused a broken release; then start the trainer."""
        counter = "nextclick_releases_refused_total"

        def serving() -> bool:
            # A counter that Prometheus first sees at 1 has not increased: no alert.
            seen = {series.labels["instance"] for series in self.prometheus.now(f"{counter} == 0")}
            return set(WORKERS) <= seen and all(self.value(one, "nextclick_ready") for one in WORKERS)

        def refused() -> bool:
            return all(self.value(one, counter) > 0 for one in WORKERS)

        self.play(serving, seconds=60, what="workers")
        manifest, blob = tiny_release_parts(ITEMS)
        self._publish(to_records(2, manifest, blob[:-1] + bytes([blob[-1] ^ 1])), champion=2)
        self.play(refused, seconds=60, what="the refusal of the broken release")
        self._publish([], champion=1)
        self._start("trainer", "trainer", "run")

    def _publish(self, records: Iterable[tuple[str, bytes | None]], *, champion: int) -> None:
        pointer = (releases.CHAMPION, Pointer(champion).value())
        for key, value in [*records, pointer]:
            self._producer.produce(self.topics["releases"], key=key, value=value, partition=0)
        self._producer.flush()

    def _prepare(self) -> None:
        (self._folder / "nextclick.toml").write_text(toml(self._settings))
        with closing(self._connection.admin()) as admin:
            needs.create(admin, needs.needs(**self.topics), partitions=PARTITIONS, replication=1)
        releases.publish(self._connection, self.topics["releases"], *tiny_release_parts(ITEMS))
        now = time.time()
        for number in range(self._history):
            at = round(1_000 * (now - AGE_SECONDS * (1.01 - number / self._history)))
            user, item = next(self._clicks)
            # The record is as old as the click, so it gets no list: the latency is that of the live clicks.
            self._send(user, {"user_id": user, "item_id": item, "timestamp": at}, timestamp=at)
        self._producer.flush()

    def _send(self, user: str, document: Mapping[str, object], timestamp: int = 0) -> None:
        """Send a click; `timestamp`: that of the record in ms, by default now."""
        partition = int(user.removeprefix("user-")) % PARTITIONS
        value = orjson.dumps(document)
        self._producer.produce(self.topics["clicks"], value, partition=partition, timestamp=timestamp)
        self._producer.poll(0)

    def _start(self, name: str, module: str, command: str) -> None:
        """Start a program under a name of its own, at the port where Prometheus looks for it."""
        port = self._ports[name]
        words = [command, "--config", str(self._folder / "nextclick.toml")]
        own = {"NEXTCLICK_WORKER_ID": name, "NEXTCLICK_HTTP_PORT": str(port)}
        process = self.processes[name] = WorkerProcess(
            words if module == "worker" else [*words, "--metrics-port", str(port)],
            log_path=self._folder / f"{name}.log",
            http_port=port,
            environment=own if module == "worker" else None,
            module=module,
        )
        self._life.callback(process.end)
