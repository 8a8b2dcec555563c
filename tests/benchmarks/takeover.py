"""Partitions that change hands: how soon the next owner serves them, and what its other partitions notice."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any, Final

import numpy as np

from deploy.kafka.ports import free_port
from tests.benchmarks import logs
from tests.benchmarks.clicks import Flow
from tests.benchmarks.frame import Figures
from tests.benchmarks.latency import Reader
from tests.benchmarks.population import prime
from tests.benchmarks.saving import ITEMS, SLOW_RATE, Sizes, primed
from tests.benchmarks.stand import PARTITIONS, Stand
from tests.broker.process import WorkerProcess
from tests.waiting import eventually

_PATIENCE_SECONDS: Final = 90.0
_BUSY_USERS: Final = 10_000


def worker_of(settings: Mapping[str, Any], worker_id: str) -> dict[str, Any]:
    """Return the settings of one worker of a group."""
    return dict(settings) | {"worker_id": worker_id, "http": {"port": free_port()}}


def served(worker: WorkerProcess) -> int:
    """Return how many partitions a worker serves."""
    return int(worker.metric("nextclick_assigned_partitions"))


def wait_until_served(workers: list[WorkerProcess], partitions: int) -> None:
    """Return once all partitions are served, and each worker is ready."""

    def all_are() -> bool:
        for worker in workers:
            assert worker.exit_code is None, f"the worker ended; its log:\n{worker.log}"
        ready = all(worker.http("/readyz")[0] == 200 for worker in workers)
        return ready and sum(map(served, workers)) == partitions

    eventually(all_are, _PATIENCE_SECONDS, f"{partitions} partitions to be served")


def takeover(stand: Stand, sizes: Sizes) -> Figures:
    """Measure from the kill of one of two workers, not restarted, until the other serves all."""
    settings = primed(stand, sizes.few_users)
    seconds = [_taken_over(stand, settings, sizes) for _ in range(sizes.rounds)]
    return {"takeover_250k_seconds": max(seconds)}


def _taken_over(stand: Stand, settings: Mapping[str, Any], sizes: Sizes) -> float:
    topic = settings["topics"]["clicks"]
    with (
        stand.worker(worker_of(settings, "stays")) as stays,
        stand.worker(worker_of(settings, "dies")) as dies,
        Flow(stand.bootstrap, topic, users=sizes.few_users, items=ITEMS, rate=SLOW_RATE),
    ):
        wait_until_served([stays, dies], PARTITIONS)
        time.sleep(sizes.counted_seconds)
        killed = time.monotonic()
        dies.kill9()
        eventually(lambda: served(stays) == PARTITIONS, _PATIENCE_SECONDS, "the other to serve all")
        return time.monotonic() - killed


def others(stand: Stand, sizes: Sizes) -> Figures:
    """Measure the p99 of a partition while its worker recovers another one, less that of quiet times."""
    settings = stand.settings(ITEMS, partitions=2) | {"log": logs.JSON}
    large = np.arange(_BUSY_USERS, _BUSY_USERS + sizes.few_users)
    prime(stand.bootstrap, settings, {0: np.arange(_BUSY_USERS), 1: large}, items=ITEMS)
    found = [_disturbed(stand, settings, sizes) for _ in range(sizes.rounds)]
    steady, during, seconds = (statistics.median(values) for values in zip(*found, strict=True))
    return {
        "restore_250k_others_p99_delay_seconds": statistics.median(b - a for a, b, _ in found),
        "restore_250k_others_p99_seconds": during,
        "restore_250k_steady_p99_seconds": steady,
        "restore_250k_move_seconds": seconds,
    }


def _disturbed(stand: Stand, settings: Mapping[str, Any], sizes: Sizes) -> tuple[float, float, float]:
    """Return the p99 before a second partition comes, and while it does; how long that takes."""
    topics = settings["topics"]
    with ExitStack() as life:
        workers = [life.enter_context(stand.worker(worker_of(settings, name))) for name in ("a", "b")]
        wait_until_served(workers, 2)
        leaving, staying = sorted(workers, key=lambda worker: worker.metric("nextclick_users"), reverse=True)
        reader = Reader(stand.bootstrap, topics["recommendations"], "read_uncommitted", partitions=2)
        life.callback(reader.stop)
        flow = Flow(
            stand.bootstrap,
            topics["clicks"],
            users=_BUSY_USERS,
            items=ITEMS,
            rate=SLOW_RATE,
            partition=0,
            watch=True,
        )
        with flow:
            time.sleep(sizes.quiet_seconds / 2)
            begin = time.perf_counter()
            time.sleep(sizes.quiet_seconds)
            left = time.perf_counter()
            leaving.terminate()
            eventually(lambda: served(staying) == 2, _PATIENCE_SECONDS, "the other to serve both")
            end = time.perf_counter()
        reader.wait_for(flow.watched)
    return _p99(reader, flow, begin, left), _p99(reader, flow, left, end), end - left


def _p99(reader: Reader, flow: Flow, begin: float, end: float) -> float:
    taken = [
        reader.seen[click] - at
        for click, at in flow.watched.items()
        if begin <= at < end and click in reader.seen
    ]
    return float(np.percentile(taken, 99))
