"""What unavailable items cost per click, and what a million described items cost in memory and at the start.

`.venv/bin/python -m tests.benchmarks.items`: CPU time with a tenth of 100,000 items unavailable over that
with none, in exact and in approximate ranking; `--described N` items for memory and start, over a Kafka in
memory.
"""

from __future__ import annotations

import argparse
import statistics
import time
from typing import Final

import numpy as np
import orjson
import psutil
from threadpoolctl import threadpool_limits

from tests.builders import item_names, packed, tiny_tensors
from worker.clock import Clock
from worker.core.availability import Availability
from worker.core.item_record import ItemDecoder
from worker.core.release import Release, verify
from worker.core.tables import Ranking
from worker.items.follower import CaughtUp, ItemFollower
from worker.kafka.memory import MemoryCluster
from worker.topics.items import ItemReader

ITEMS: Final = 100_000
HIDDEN_SIZE: Final = 128
LISTS: Final = 316
BATCH: Final = 500
TOP: Final = 20
TAGS: Final = 5
DESCRIBED: Final = 100_000


def release_of(items: int, *, lists: int = LISTS) -> Release:
    """A release with a bias, as a blend has, whose items are in as many lists as they form groups."""
    random, names = np.random.default_rng(0), item_names(items)
    tensors = tiny_tensors(items, hidden_size=HIDDEN_SIZE, embedding_size=HIDDEN_SIZE, output_bias=True)
    numbers = (np.arange(items) % lists).astype(np.int32)
    centres = random.standard_normal((lists, HIDDEN_SIZE)).astype(np.float32)
    tensors["embedding"] = (centres[numbers] + 0.5 * tensors["embedding"]).astype(np.float32)
    tensors["lists"] = numbers
    return verify(*packed(tensors, names, cell="gru", output="tied", list_margin=12.0))


def unavailable_over_none(release: Release, *, ranking: Ranking, share: float, rounds: int) -> float:
    """Return the CPU time of ranking with a `share` of the items unavailable over that with none.

    It is the median of `rounds`, in which both take turns on the same table.
    """
    random = np.random.default_rng(1)
    states = np.tanh(random.standard_normal((BATCH, release.state_size))).astype(np.float32)
    names = release.catalogue.ids(random.permutation(release.items)[: round(share * release.items)]).tolist()
    excluded = random.integers(release.items, size=(BATCH, 1)).astype(np.int32)
    availability, ratios = Availability(release), list[float]()

    def rank() -> float:
        started = time.process_time()
        release.rank(states, TOP, excluded, approximate=ranking == "approximate")
        return time.process_time() - started

    with threadpool_limits(1, user_api="blas"):
        rank()
        for number in range(rounds):
            # In turn first, so that neither always follows the change.
            found = dict[bool, float]()
            for some in (True, False) if number % 2 else (False, True):
                availability.only_without(names if some else ())
                rank()
                found[some] = rank()
            ratios.append(found[True] / found[False])
    availability.only_without(())
    return statistics.median(ratios)


def change_seconds(release: Release, share: float) -> tuple[float, float]:
    """Return the time to make a `share` of the items unavailable at once, and to make one more so."""
    availability, names = Availability(release), release.catalogue.ids(np.arange(release.items)).tolist()
    some = names[: round(share * release.items)]
    started = time.perf_counter()
    availability.only_without(some)
    many = time.perf_counter() - started
    availability.only_without(())
    started = time.perf_counter()
    for one in some[:1_000]:
        availability.set([one], np.zeros(1, np.bool_))
    return many, (time.perf_counter() - started) / 1_000


def described(items: int) -> tuple[float, float]:
    """Return bytes of memory per described item, and the seconds until all of them were read.

    A tenth of them is unavailable; each has five of 5,000 tags, a title and a price.
    """
    cluster = MemoryCluster()
    cluster.create("items")
    random = np.random.default_rng(0)
    for number in range(items):
        document = {
            "available": number % 10 > 0,
            "tags": [f"tag:{one}" for one in random.integers(5_000, size=TAGS).tolist()],
            "title": f"The item with the number {number}",
            "price": number / 100,
        }
        cluster.produce("items", orjson.dumps(document), key=f"item-{number}".encode())
    reader = ItemReader(cluster.connect(), ItemDecoder(), topic="items")
    follower = ItemFollower(reader, clock=Clock(), background=False)
    before, started = psutil.Process().memory_info().rss, time.perf_counter()
    while not isinstance(event := follower.take(), CaughtUp):
        pass
    seconds = time.perf_counter() - started
    grown = psutil.Process().memory_info().rss - before

    assert len(event.known) == items

    return grown / items, seconds


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--described", type=int, default=DESCRIBED)
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    grown, seconds = described(options.described)
    print(f"{options.described:,} described items: {grown:.0f} bytes each, read in {seconds:.2f} s")
    release = release_of(ITEMS)
    rankings: tuple[Ranking, ...] = ("exact", "approximate")
    for ranking in rankings:
        ratio = unavailable_over_none(release, ranking=ranking, share=0.1, rounds=options.rounds)
        print(f"{ranking} ranking, a tenth of {ITEMS:,} items unavailable over none: {ratio:.3f}")
    many, one = change_seconds(release, 0.1)
    print(f"a change of {ITEMS // 10:,} items at once: {1000 * many:.1f} ms; of one item: {1e6 * one:.0f} us")


if __name__ == "__main__":
    main()
