"""How soon a worker is ready, and how much memory it holds."""

from __future__ import annotations

import time
from typing import Final, NamedTuple

import psutil

from tests.benchmarks.clicks import click
from tests.benchmarks.stand import Stand
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


def settled_bytes(worker: WorkerProcess) -> int:
    """Return the largest memory seen while the worker has nothing to do."""
    process = psutil.Process(worker.pid)
    deadline = time.monotonic() + _SETTLED_SECONDS
    largest = 0
    while time.monotonic() < deadline:
        largest = max(largest, process.memory_info().rss)
        time.sleep(0.1)
    return largest
