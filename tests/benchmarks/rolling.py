"""A rolling restart: three workers under load stopped and started again, one after the other."""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import Final

from tests.benchmarks.clicks import Flow
from tests.benchmarks.frame import Figures
from tests.benchmarks.latency import Reader
from tests.benchmarks.saving import ITEMS, SLOW_RATE, Sizes, primed
from tests.benchmarks.stand import Stand
from tests.benchmarks.takeover import wait_until_served, worker_of

PARTITIONS: Final = 6
USERS: Final = 100_000
_WORKERS: Final = ("a", "b", "c")
_QUIET_SECONDS: Final = 10.0
"""A click without a list is lost when none has come for this long."""


def rolling(stand: Stand, sizes: Sizes) -> Figures:
    """Return the longest time from a click to its list, uncommitted. RuntimeError where one is lost."""
    settings = primed(stand, USERS, partitions=PARTITIONS, publish="every", publish_max_age=0)
    topics = settings["topics"]
    with ExitStack() as life:
        reader = Reader(stand.bootstrap, topics["recommendations"], "read_uncommitted", partitions=PARTITIONS)
        life.callback(reader.stop)
        lives = {name: life.enter_context(ExitStack()) for name in _WORKERS}
        each = {name: worker_of(settings, name) for name in _WORKERS}
        workers = {name: lives[name].enter_context(stand.worker(each[name])) for name in _WORKERS}
        wait_until_served(list(workers.values()), PARTITIONS)
        flow = Flow(stand.bootstrap, topics["clicks"], users=USERS, items=ITEMS, rate=SLOW_RATE, watch=True)
        with flow:
            time.sleep(sizes.quiet_seconds / 2)
            for name in _WORKERS:
                lives[name].close()
                workers[name] = lives[name].enter_context(stand.worker(each[name]))
                wait_until_served(list(workers.values()), PARTITIONS)
            time.sleep(sizes.quiet_seconds / 2)
        reader.wait_for(flow.watched, quiet_seconds=_QUIET_SECONDS)
    lost = flow.watched.keys() - reader.seen.keys()
    if lost or len(flow.watched) != flow.sent:
        raise RuntimeError(f"{len(lost)} of {flow.sent} clicks have no answer, as {sorted(lost)[:5]}")
    return {
        "rolling_restart_longest_wait_seconds": max(
            reader.seen[click] - at for click, at in flow.watched.items()
        )
    }
