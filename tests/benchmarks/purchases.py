"""What types of events, bought items and fatigue cost: CPU per event, and memory per user.

`.venv/bin/python -m tests.benchmarks.purchases`: the CPU time of decoding, applying and ranking with 2 % of
purchases over that of the same clicks without types; the same of fatigue; and resident memory per user.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Iterator
from multiprocessing import get_context
from typing import Any, Final

import numpy as np
import orjson
import psutil
from threadpoolctl import threadpool_limits

from tests.benchmarks.items import release_of
from tests.benchmarks.memory import _add
from tests.benchmarks.stand import HIDDEN_SIZE
from worker.core.bought import DAY_MS
from worker.core.quality import Quality
from worker.core.recommender import Recommender
from worker.core.states import States
from worker.kafka.memory import MemoryRecord
from worker.settings.common import Click
from worker.settings.events import Events
from worker.topics.clicks import decode

BATCH: Final = 1_000
USERS: Final = 100_000
PURCHASES: Final = 0.02
EXCLUDING: Final = Events(type="type", step=("view",), exclude=("purchase",))
TIRING: Final = Events(fatigue=5)


class Side:
    """A worker without Kafka, under some types of events."""

    def __init__(self, events: Events, *, items: int, share: float) -> None:
        release = release_of(items, lists=1)
        self.states = States(state_size=release.state_size)
        events.prepare(self.states)
        quality = Quality(self.states, top=20)
        self._recommender = Recommender(release, self.states, quality=quality, publish_max_age_ms=0)
        self._decoder = events.decoder(Click())
        self._batches = batches(items, share)

    def seconds(self) -> float:
        """Return the CPU time of the next batch."""
        records = next(self._batches)
        started = time.process_time()
        clicks = decode(records, self._decoder).clicks
        self._recommender.rank(self._recommender.apply(clicks, now_ms=0))
        return time.process_time() - started

    def buy(self, users: int, items: int) -> None:
        """Let the first users have bought some items today."""
        if self.states.bought is not None:
            rows = self.states.rows(0, [f"user-{number}" for number in range(users)])
            codes = self.states.item_codes.codes([f"item-{number}" for number in range(items)])
            today = np.full(len(rows), time.time() * 1000 // DAY_MS, np.int64)
            for code in codes:
                self.states.buy(rows, np.full(len(rows), code), today, np.zeros(len(rows), np.int64))


def batches(items: int, share: float) -> Iterator[list[MemoryRecord]]:
    """Yield batches of events of random users on popular items, of which a `share` are purchases."""
    random, now_ms, offset = np.random.default_rng(0), round(time.time() * 1000), 0
    while True:
        users, picked = random.integers(USERS, size=BATCH), np.minimum(random.zipf(1.3, BATCH), items) - 1
        kinds = np.where(random.random(BATCH) < share, "purchase", "view")
        documents: list[dict[str, Any]] = [
            {"user_id": f"user-{user}", "item_id": f"item-{item}", "timestamp": now_ms, "type": kind}
            for user, item, kind in zip(users.tolist(), picked.tolist(), kinds.tolist(), strict=True)
        ]
        yield [
            MemoryRecord("clicks", 0, offset + nth, now_ms, None, orjson.dumps(one), ())
            for nth, one in enumerate(documents)
        ]
        offset += BATCH


def cost(events: Events, *, items: int, rounds: int, warm: int = 100) -> float:
    """Return the CPU time per event over that without types; the median of `rounds` that take turns.

    A fifth of the users have bought five items. The lists are not encoded, nor is anything sent.
    """
    plain = Side(Events(), items=items, share=0.0)
    other = Side(events, items=items, share=PURCHASES if events.exclude else 0.0)
    other.buy(USERS // 5, 5)
    with threadpool_limits(1, user_api="blas"):
        ratios = [_ratio(plain, other, number) for number in range(warm + rounds)]
    return statistics.median(ratios[warm:])


def _ratio(plain: Side, other: Side, number: int) -> float:
    found = {id(side): side.seconds() for side in ((plain, other) if number % 2 else (other, plain))}
    return found[id(other)] / found[id(plain)]


def gib_per_million_users(buyers: float | None, users: int) -> float:
    """Return the resident memory per million users, of whom a share are `buyers`; None: nothing is kept."""
    with get_context("spawn").Pool(1) as pool:
        return pool.apply(growth, (buyers, users))


def growth(buyers: float | None, users: int) -> float:
    """Return the same for this process. Best called in a new one."""
    states, process, few = States(state_size=HIDDEN_SIZE), psutil.Process(), users // 10
    if buyers is not None:
        states.keep_bought(30)
    _bought_by(states, 0, few, buyers or 0.0)
    before = process.memory_info().rss
    _bought_by(states, few, users, buyers or 0.0)
    return (process.memory_info().rss - before) / (users - few) * 1e6 / (1 << 30)


def _bought_by(states: States, begin: int, end: int, buyers: float) -> None:
    _add(states, begin, end, 12)
    rows = np.arange(begin, end)
    rows = rows[np.random.default_rng(begin).random(len(rows)) < buyers]
    if len(rows):
        zeros = np.zeros(len(rows), np.int64)
        states.buy(rows, zeros.astype(np.int32), zeros + 20_000, zeros)


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=2_000)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--users", type=int, default=500_000)
    options = parser.parse_args()
    for name, events in (("2 % purchases", EXCLUDING), ("fatigue", TIRING)):
        ratio = cost(events, items=options.items, rounds=options.rounds)
        print(f"{name} over none, {options.items:,} items: {ratio:.3f}")
    for buyers in (None, 0.0, 0.1, 1.0):
        gib = gib_per_million_users(buyers, options.users)
        print(f"GiB per million users, {'off' if buyers is None else f'{buyers:.0%} bought'}: {gib:.3f}")


if __name__ == "__main__":
    main()
