"""Exact and approximate ranking from 4 thousand to a million items, as cost per list.

The item vectors are those of a network trained on real clicks, and jittered copies of them; the states are
those of its held-out sessions (`tests.benchmarks.shop`). Without the data, nothing is measured.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable
from typing import Final

import click
from threadpoolctl import threadpool_limits

from tests.benchmarks import shop
from tests.benchmarks.frame import Figures
from tests.benchmarks.ranking import BATCH, rank_over_product
from tests.benchmarks.shop import TOP
from worker.core.cells import Floats
from worker.core.lists import Lists
from worker.core.ranking import ItemTable, top_k

HIDDEN_SIZE: Final = 128
SIZES: Final = {"4k": 4_000, "20k": 20_000, "100k": 100_000, "300k": 300_000, "1m": 1_000_000}


def costs(rounds: int, sizes: Iterable[str]) -> Figures:
    """Return microseconds of CPU per list of both ways, their ratio, and the recall at 20, by size."""
    if not shop.available():
        click.echo(f"scale is not measured: {shop.DATA}.csv.gz is not there", err=True)
        return {}
    release, hidden, _ = shop.trained()
    found: Figures = {}
    with threadpool_limits(1, user_api="blas"):
        for size in sizes:
            vectors = shop.unit(shop.copies(release.vectors, SIZES[size]))
            found |= _costs(size, vectors, hidden, rounds)
    return found | {"rank_100k_over_product": rank_over_product(SIZES["100k"], HIDDEN_SIZE, rounds=rounds)}


def _costs(size: str, vectors: Floats, hidden: Floats, rounds: int) -> Figures:
    numbers, margin, recall = shop.listed(vectors, hidden)
    plain, lists = ItemTable(vectors), Lists(ItemTable(vectors, lists=numbers), margin=margin)
    batch = hidden[1 : 2 * BATCH : 2]
    taken = [
        (_seconds(lambda: top_k(batch, plain, TOP)), _seconds(lambda: lists.top_k(batch, TOP)))
        for _ in range(rounds)
    ]
    exact, approximate = (statistics.median(column) * 1e6 / BATCH for column in zip(*taken, strict=True))
    return {
        f"exact_{size}_microseconds": exact,
        f"approximate_{size}_microseconds": approximate,
        f"exact_over_approximate_{size}": statistics.median(one / other for one, other in taken),
        f"approximate_recall_{size}": recall,
    }


def _seconds(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start
