"""Reckons what a deployment needs, from costs that the benchmarks measured.

The costs hold for one core, a GRU of `HIDDEN_SIZE` and lists of 20 items. `tests.benchmarks.costs` writes
them and compares what is reckoned with what was measured.

    >>> exact, releases = {"1000": 5, "10000": 50}, {"1000": 1e7, "10000": 1e8}
    >>> costs = Costs(30, exact, {}, 1e8, 500, releases, 90, 650, 450, 600, 1e8)
    >>> limits = Limits(memory_bytes=4 << 30, flush_seconds=30, session_timeout_seconds=10)
    >>> found = size(Demand(clicks_per_second=50_000, users=1e7, items=1_000), costs, limits)
    >>> found.workers_for_cpu, found.workers_for_memory, found.workers, found.partitions
    (3, 2, 3, 12)
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import orjson

from worker.core.tables import EXACT_NUMBERS

HIDDEN_SIZE: Final = 128

BUSY: Final = 0.6
"""Planned share of a core. The rest is for catching up, and for the partitions of a lost worker."""

SPARE: Final = 1.25
"""Memory to provide, relative to what is reckoned."""

PARTITIONS_PER_WORKER: Final = 4
"""Partitions cannot be added later: users would change their partition. So the group can grow fourfold."""

_POINTS: Final = 2_000
"""Users that stand for all of them in a sum over users."""


@dataclass(frozen=True, slots=True)
class Costs:
    """The measured costs. Times are CPU time; memory is resident."""

    click_microseconds: float
    """A click that is read, applied and answered, without the ranking of its list."""
    exact_microseconds: Mapping[str, float]
    """By number of items: a list that is ranked exactly."""
    approximate_microseconds: Mapping[str, float]
    """By number of items: a list that is ranked approximately."""
    worker_bytes: float
    """A worker without users and without a release."""
    user_bytes: float
    """The state of a user in memory."""
    release_bytes: Mapping[str, float]
    """By number of items: a release in memory."""
    click_bytes: float
    list_bytes: float
    """A click and a list in Kafka."""
    saved_user_bytes: float
    """A user in the state topic, whenever the state is saved."""
    kept_user_bytes: float
    """A user in the state topic, with the older copies that compaction has not removed yet."""
    restored_bytes_per_second: float
    """The speed at which a worker reads the state topic after a start."""

    @classmethod
    def from_json(cls, text: bytes) -> Costs:
        """Return the costs in a JSON object with these fields."""
        return cls(**orjson.loads(text))

    def list_microseconds(self, items: int) -> float:
        """Return the cost of a list from a catalogue of `items`, ranked as `auto` ranks it.

        Between two measured sizes, the logarithm of a cost is linear in that of the size.
        """
        exact = items * HIDDEN_SIZE <= EXACT_NUMBERS
        return _at(self.exact_microseconds if exact else self.approximate_microseconds, items)

    def memory_bytes(self, items: int) -> float:
        """Return the memory of a worker without users; while it adopts a release, it has two."""
        return self.worker_bytes + 2 * _at(self.release_bytes, items)


@dataclass(frozen=True, slots=True)
class Demand:
    """The load of a deployment."""

    clicks_per_second: float
    users: float
    """Users whose states are kept."""
    items: int


@dataclass(frozen=True, slots=True)
class Limits:
    """The memory and the settings of a worker."""

    memory_bytes: float
    flush_seconds: float
    session_timeout_seconds: float


@dataclass(frozen=True, slots=True)
class Size:
    """The needs of a deployment. Bytes per second are those of Kafka, before replication."""

    click_microseconds: float
    """CPU time per click with its list."""
    workers: int
    workers_for_cpu: int
    workers_for_memory: int
    partitions: int
    users_per_worker: float
    worker_bytes: float
    """Memory to provide for a worker; during the adoption of a release it has two."""
    clicks_bytes_per_second: float
    lists_bytes_per_second: float
    state_bytes_per_second: float
    state_topic_bytes: float
    restore_seconds: float
    """From the start of a worker until its users are loaded, without replay of clicks."""
    takeover_seconds: float
    """From the loss of a worker until others serve its users."""
    clicks_growth: float
    """By which factor the clicks may grow before the workers' cores are full."""
    users_growth: float
    """By which factor the users may grow before the workers' memory is full, with the margin still free."""

    def document(self) -> dict[str, Any]:
        """Return the values by name."""
        return {name: getattr(self, name) for name in self.__slots__}


def size(demand: Demand, costs: Costs, limits: Limits) -> Size:
    """Return what `demand` needs. Raises ValueError if no worker has enough memory for the release."""
    click = costs.click_microseconds + costs.list_microseconds(demand.items)
    cores = demand.clicks_per_second * click / 1e6
    for_cpu = max(1, math.ceil(cores / BUSY))
    fixed = costs.memory_bytes(demand.items)
    room = limits.memory_bytes / SPARE - fixed
    if room <= 0:
        raise ValueError(
            f"a worker needs {SPARE * fixed / (1 << 30):.1f} GiB for a release of {demand.items:,} items "
            "and its successor, without any users"
        )
    for_memory = max(1, math.ceil(demand.users * costs.user_bytes / room))
    workers = max(2, for_cpu, for_memory)
    each = demand.users / workers
    restore = each * costs.kept_user_bytes / costs.restored_bytes_per_second
    heirs = min(PARTITIONS_PER_WORKER, workers - 1)
    flushed = demand.clicks_per_second * limits.flush_seconds
    return Size(
        click_microseconds=click,
        workers=workers,
        workers_for_cpu=for_cpu,
        workers_for_memory=for_memory,
        partitions=PARTITIONS_PER_WORKER * workers,
        users_per_worker=each,
        worker_bytes=SPARE * (fixed + each * costs.user_bytes),
        clicks_bytes_per_second=demand.clicks_per_second * costs.click_bytes,
        lists_bytes_per_second=demand.clicks_per_second * costs.list_bytes,
        state_bytes_per_second=_distinct(demand.users, flushed)
        / limits.flush_seconds
        * costs.saved_user_bytes,
        state_topic_bytes=demand.users * costs.kept_user_bytes,
        restore_seconds=restore,
        takeover_seconds=limits.session_timeout_seconds + restore / heirs,
        clicks_growth=workers / cores,
        users_growth=workers * room / (demand.users * costs.user_bytes),
    )


def _at(measured: Mapping[str, float], items: int) -> float:
    """Return the cost at `items` by the measured sizes; beyond the ends, the end's slope goes on."""
    known = np.log([float(one) for one in measured]).tolist()
    costs = np.log(list(measured.values())).tolist()
    at = math.log(max(1, items))
    place = min(max(1, int(np.searchsorted(known, at))), len(known) - 1)
    share = (at - known[place - 1]) / (known[place] - known[place - 1])
    return math.exp(costs[place - 1] + share * (costs[place] - costs[place - 1]))


def _distinct(users: float, clicks: float) -> float:
    """Return how many different users make `clicks`, if user n clicks 1/n as often as the first.

    The benchmarks have such users. The expected number is the sum of 1 - exp(-clicks * share) over users.
    """
    edges = np.geomspace(1, users + 1, _POINTS)
    shares = np.log(edges[1:] / edges[:-1]) / math.log(users + 1)
    counts = np.diff(edges)
    return float(np.sum(counts * -np.expm1(-clicks * shares / counts)))
