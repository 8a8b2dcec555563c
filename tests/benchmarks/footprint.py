"""How soon a worker is ready, how much memory it holds, and how large its records are."""

from __future__ import annotations

import time
from contextlib import closing
from typing import Final, NamedTuple

import psutil
from kafka import KafkaAdminClient

from tests.benchmarks.clicks import click
from tests.benchmarks.clicks import clicks as draw
from tests.benchmarks.compaction import topic_bytes
from tests.benchmarks.stand import Committed, Stand
from tests.broker.process import WorkerProcess
from tests.waiting import eventually

_SETTLED_SECONDS: Final = 2.0


class Resident(NamedTuple):
    """Resident bytes of a worker before any user arrived, and with all of them."""

    empty: int
    full: int


def ready_seconds(stand: Stand, items: int) -> float:
    """Return the time from the start of the process to its first 200 of /readyz.

    A release is in the topic already.
    """
    settings = stand.settings(items)
    start = time.perf_counter()
    with stand.worker(settings) as worker:
        while worker.http("/readyz")[0] != 200:
            if worker.exit_code is not None or time.perf_counter() - start > 60:
                raise RuntimeError(f"the worker is not ready after a minute, or ended:\n{worker.log}")
            time.sleep(0.005)
        return time.perf_counter() - start


def resident(stand: Stand, items: int, users: int) -> Resident:
    """Return the memory of a worker that applies one click of each of `users` users."""
    settings = stand.settings(items)
    with stand.worker(settings) as worker:
        worker.wait_until_ready()
        empty = settled_bytes(worker)
        stand.sender.all_at_once(
            settings["topics"]["clicks"], (click(user, user % items) for user in range(users))
        )
        patience = stand.pace.patience_seconds(users)
        eventually(
            lambda: worker.metric("nextclick_users") == users, patience, f"{users} users in the worker"
        )
        return Resident(empty, settled_bytes(worker))


def record_bytes(stand: Stand, items: int, clicks: int) -> tuple[float, float]:
    """Return the bytes of a click and of a list in Kafka, with their share of batches and transactions."""
    settings = stand.settings(items, publish="every", publish_max_age=0)
    topics = settings["topics"]
    stand.sender.all_at_once(topics["clicks"], draw(items, clicks))
    with (
        stand.worker(settings),
        closing(Committed(stand.bootstrap, settings["group"], topics["clicks"])) as at,
    ):
        if at.at_least(clicks, seconds=stand.pace.patience_seconds(clicks))[1] < clicks:
            raise RuntimeError(f"{clicks} clicks were not answered in time")
    with closing(KafkaAdminClient(bootstrap_servers=stand.bootstrap)) as kafka:
        sizes = [topic_bytes(kafka, topics[name]) / clicks for name in ("clicks", "recommendations")]
    return sizes[0], sizes[1]


def settled_bytes(worker: WorkerProcess) -> int:
    """Return the largest memory seen while the worker has nothing to do."""
    process = psutil.Process(worker.pid)
    deadline = time.monotonic() + _SETTLED_SECONDS
    largest = 0
    while time.monotonic() < deadline:
        largest = max(largest, process.memory_info().rss)
        time.sleep(0.1)
    return largest
