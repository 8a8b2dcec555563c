"""Memory per user: how the resident memory of a process grows with its `States`."""

from __future__ import annotations

import multiprocessing

import numpy as np
import psutil

from tests.benchmarks.frame import Figures
from tests.benchmarks.population import fill
from tests.benchmarks.saving import ITEMS, Sizes
from tests.benchmarks.stand import HIDDEN_SIZE, PARTITIONS, Stand
from worker.core.cells import CELLS
from worker.core.recent import RECENT_ITEMS
from worker.core.states import States
from worker.process.memory import collect_seldom


def memory(_: Stand, sizes: Sizes) -> Figures:
    """Return the resident growth from a tenth of the users to all, GiB per million."""
    return {
        "gib_per_million_users": _measured("gru", 12, sizes.users),
        "gib_per_million_users_uuids": _measured("gru", 36, sizes.users),
        "gib_per_million_users_lstm": _measured("lstm", 12, sizes.users),
    }


def _measured(cell: str, id_length: int, users: int) -> float:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(growth, (CELLS[cell].state_size(HIDDEN_SIZE), id_length, users))


def growth(state_size: int, id_length: int, users: int) -> float:
    """Return GiB per million users, all in: rows, index, ids of that length. Best called in a new process."""
    collect_seldom()
    states, process = States(state_size=state_size), psutil.Process()
    few = users // 10
    _add(states, 0, few, id_length)
    before = process.memory_info().rss
    _add(states, few, users, id_length)
    grown = process.memory_info().rss - before
    return grown / (users - few) * 1e6 / (1 << 30)


def _add(states: States, begin: int, end: int, id_length: int) -> None:
    """Add users with full rings, in turns to each partition, as clicks come."""
    step = 20_000
    for first in range(begin, end, step):
        numbers = range(first, min(first + step, end))
        for partition in range(PARTITIONS):
            ids = [f"{number:0{id_length}d}" for number in numbers[partition::PARTITIONS]]
            fill(states, partition, ids, np.full(len(ids), RECENT_ITEMS), items=ITEMS)
