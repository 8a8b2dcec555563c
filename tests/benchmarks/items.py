"""What unavailable items cost per click, and what a million described items cost in memory and at the start.

`.venv/bin/python -m tests.benchmarks.items`: CPU time with a tenth of 100,000 items unavailable over that
with none, in exact and in approximate ranking; `--described N` items for memory and start, over a Kafka in
memory.
"""

from __future__ import annotations

import argparse
import statistics
import time
from itertools import product
from typing import Final

import numpy as np
import orjson
import psutil
from threadpoolctl import threadpool_limits

from tests.builders import item_names, packed, tiny_tensors
from worker.clock import Clock
from worker.core.availability import Availability
from worker.core.item_record import ItemDecoder
from worker.core.known_items import KnownItems
from worker.core.release import Release, verify
from worker.core.tables import Ranking
from worker.items.follower import CaughtUp, Follower
from worker.kafka.memory import MemoryCluster
from worker.topics.compacted import CompactedReader

ITEMS: Final = 100_000
HIDDEN_SIZE: Final = 128
LISTS: Final = 316
BATCH: Final = 500
TOP: Final = 20
TAGS: Final = 5
DESCRIBED: Final = 100_000


def release_of(items: int, *, lists: int = LISTS, bias: bool = True) -> Release:
    """A release whose items are in as many lists as they form groups; with a bias, as a blend has one."""
    random, names = np.random.default_rng(0), item_names(items)
    tensors = tiny_tensors(items, hidden_size=HIDDEN_SIZE, embedding_size=HIDDEN_SIZE, output_bias=bias)
    numbers = (np.arange(items) % lists).astype(np.int32)
    centres = random.standard_normal((lists, HIDDEN_SIZE)).astype(np.float32)
    tensors["embedding"] = (centres[numbers] + 0.5 * tensors["embedding"]).astype(np.float32)
    tensors["lists"] = numbers
    return verify(*packed(tensors, names, cell="gru", output="tied", list_margin=12.0))


def unavailable_over_none(*, ranking: Ranking, share: float, rounds: int, bias: bool = True) -> float:
    """Return the CPU time of ranking with a `share` of the items unavailable over that with none.

    It is the median of `rounds`, in which two equal releases take turns. Without a `bias`, the release with
    unavailable items has one more number per item than the other.
    """
    random, plain, less = np.random.default_rng(1), release_of(ITEMS, bias=bias), release_of(ITEMS, bias=bias)
    states = np.tanh(random.standard_normal((BATCH, plain.state_size))).astype(np.float32)
    names = plain.catalogue.ids(random.permutation(ITEMS)[: round(share * ITEMS)]).tolist()
    excluded = random.integers(ITEMS, size=(BATCH, 1)).astype(np.int32)
    Availability(less).only_without(names)

    def seconds(release: Release) -> float:
        started = time.process_time()
        release.rank(states, TOP, excluded, approximate=ranking == "approximate")
        return time.process_time() - started

    ratios = list[float]()
    with threadpool_limits(1, user_api="blas"):
        for number in range(rounds + 1):
            first, second = (plain, less) if number % 2 else (less, plain)
            found = {id(one): seconds(one) for one in (first, second)}
            ratios.append(found[id(less)] / found[id(plain)])
    return statistics.median(ratios[1:])


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
    """Return bytes of memory per described item, and the CPU seconds in which all of them were read.

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
    reader = CompactedReader(cluster.connect(), ItemDecoder(), topic="items")
    follower = Follower(reader, KnownItems, clock=Clock(), background=False)
    before, started = psutil.Process().memory_info().rss, time.process_time()
    while not isinstance(event := follower.take(), CaughtUp):
        pass
    seconds = time.process_time() - started
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
    print(f"{options.described:,} described items: {grown:.0f} bytes each, read in {seconds:.2f} s of CPU")
    rankings: tuple[Ranking, ...] = ("exact", "approximate")
    for ranking, bias in product(rankings, (True, False)):
        ratio = unavailable_over_none(ranking=ranking, share=0.1, rounds=options.rounds, bias=bias)
        which = "" if bias else ", without a bias before"
        print(f"{ranking} ranking{which}, a tenth of {ITEMS:,} items unavailable over none: {ratio:.3f}")
    many, one = change_seconds(release_of(ITEMS), 0.1)
    print(f"a change of {ITEMS // 10:,} items at once: {1000 * many:.1f} ms; of one item: {1e6 * one:.0f} us")


if __name__ == "__main__":
    main()
