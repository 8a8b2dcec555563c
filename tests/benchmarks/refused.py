"""Broken releases, one after the other, in front of a worker that serves."""

from __future__ import annotations

import time
from typing import Final

from tests.benchmarks.stand import Stand
from tests.broken import POINTERS, RELEASES
from tests.broker.client import Client, Record
from tests.broker.process import WorkerProcess
from worker.core.release import Pointer

_REFUSED: Final = "nextclick_releases_refused_total"
_PATIENCE_SECONDS: Final = 10.0


def refused(stand: Stand) -> dict[str, float]:
    """Return how many kinds are refused with the reason that belongs to each, the worker staying ready."""
    settings = stand.settings(1_000, releases="bench.releases-broken")
    client, topic, good = Client(stand.bootstrap), "bench.releases-broken", 0
    with stand.worker(settings) as worker:
        worker.wait_until_ready()

        kinds = [
            (reason, records(n), Pointer(n).value())
            for n, (reason, records) in enumerate(RELEASES.values(), 2)
        ]
        kinds += [("pointer", [], value) for value in POINTERS.values()]
        for reason, records, pointer in kinds:
            before = worker.metric(_REFUSED, reason=reason)
            sent = [Record(one.value, key=one.key.encode()) for one in records]
            client.send(topic, [*sent, Record(pointer, key=b"@champion")])
            good += _once(worker, reason, before + 1) and worker.http("/readyz")[0] == 200
        served = worker.metric("nextclick_release")
    return {"broken_releases_refused": good if served == 1 else 0, "broken_releases": len(kinds)}


def _once(worker: WorkerProcess, reason: str, count: float) -> bool:
    """Return whether that many are refused for that reason before long."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while worker.metric(_REFUSED, reason=reason) < count and time.monotonic() < deadline:
        time.sleep(0.02)
    return worker.metric(_REFUSED, reason=reason) == count
