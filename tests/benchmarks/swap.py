"""A release adopted under load: how long clicks wait meanwhile, and how memory grows."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

import numpy as np

from tests.benchmarks.clicks import Flow, click
from tests.benchmarks.footprint import settled_bytes
from tests.benchmarks.latency import Reader
from tests.benchmarks.publisher import publisher
from tests.benchmarks.stand import Stand
from tests.broker.process import WorkerProcess
from tests.waiting import eventually

ITEMS: Final = 20_000
RATE: Final = 2_000

AFTER_SECONDS: Final = 5.0
"""This long after the adoption a click still counts as one of the swap: rows are rebuilt then."""

_READY_SECONDS: Final = 120.0
_LOOK_SECONDS: Final = 0.02
_QUIET_SECONDS: Final = 10.0
"""A click without a list is lost when none has come for this long."""


def swap(stand: Stand, *, users: int, seconds: float) -> dict[str, float]:
    """Have two workers adopt a release of `ITEMS` items, under load (`adopted`)."""
    busy = stand.settings(ITEMS, releases="bench.releases-swap", publish="every", publish_max_age=0)
    idle = stand.settings(ITEMS, releases="bench.releases-swap")
    with publisher(stand.bootstrap, "bench.releases-swap", ITEMS, seed=1) as release:
        return adopted(
            stand, busy, idle, release.publish, items=ITEMS, rate=RATE, users=users, seconds=seconds
        )


def adopted(
    stand: Stand,
    busy: Mapping[str, Any],
    idle: Mapping[str, Any],
    publish: Callable[[], None],
    *,
    items: int,
    rate: int,
    users: int,
    seconds: float,
) -> dict[str, float]:
    """Have two workers adopt the second release, one of them under load with all its users known.

    `publish` publishes it. `seconds` of steady load come before. A click's time is from its handing over to
    the moment a foreign reader holds its list, uncommitted.
    """
    topics = busy["topics"]
    with stand.worker(busy) as worker, stand.worker(idle) as other:
        for one in (worker, other):
            one.wait_until_ready(_READY_SECONDS)
        patience = stand.pace.patience_seconds(users)
        stand.sender.all_at_once(topics["clicks"], (click(user, user % items) for user in range(users)))
        eventually(lambda: worker.metric("nextclick_users") == users, patience, "all users")
        reader = Reader(stand.bootstrap, topics["recommendations"], "read_uncommitted")
        try:
            with Flow(
                stand.bootstrap, topics["clicks"], users=users, items=items, rate=rate, watch=True
            ) as flow:
                time.sleep(seconds)
                before = settled_bytes(worker)
                began = time.perf_counter()
                publish()
                published = time.perf_counter()
                _wait(one_or_other=(worker, other))
                serving = time.perf_counter()
                time.sleep(AFTER_SECONDS)
                after, resident = settled_bytes(worker), settled_bytes(other)
            eventually(lambda: worker.metric("nextclick_rebuild_left_users") == 0, patience, "all rebuilt")
            rebuilt = time.perf_counter()
            reader.wait_for(flow.watched, quiet_seconds=_QUIET_SECONDS)
        finally:
            reader.stop()
        by_click = worker.metric("nextclick_rebuilt_users_total", by="click")
    steady = _p99(flow.watched, reader.seen, began - seconds / 2, began)
    meanwhile = _p99(flow.watched, reader.seen, began, serving + AFTER_SECONDS)
    # Here the command that publishes needs one of the two cores, in service it has a machine of its own.
    adopting = _p99(flow.watched, reader.seen, published, serving + AFTER_SECONDS)
    return {
        "swap_p99_over_steady": meanwhile / steady,
        "swap_p99_seconds": meanwhile,
        "published_p99_over_steady": adopting / steady,
        "steady_p99_seconds": steady,
        "swap_lost": len(flow.watched.keys() - reader.seen.keys()),
        "publish_to_serving_seconds": serving - began,
        "publish_seconds": published - began,
        "rebuild_seconds": rebuilt - serving,
        "rebuilt_by_click": by_click,
        "memory_after_over_before": after / before,
        "resident_idle_bytes": resident,
    }


def _wait(one_or_other: Collection[WorkerProcess]) -> None:
    """Return when all of these serve under the second release."""
    deadline = time.monotonic() + _READY_SECONDS
    while not all(worker.metric("nextclick_release") == 2 for worker in one_or_other):
        if time.monotonic() > deadline:
            raise RuntimeError(f"the second release does not serve after {_READY_SECONDS:g} s")
        time.sleep(_LOOK_SECONDS)


def _p99(sent: Mapping[str, float], seen: Mapping[str, float], begin: float, end: float) -> float:
    taken = [seen[at] - when for at, when in sent.items() if begin <= when < end and at in seen]
    return float(np.quantile(taken, 0.99))
