"""Exact ranking against the matrix product that it cannot do without, in this process."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Final

import numpy as np
from threadpoolctl import threadpool_limits

from tests.builders import item_names, tiny_release

BATCH: Final = 500
TOP: Final = 20


def rank_over_product(items: int, hidden_size: int, *, rounds: int) -> float:
    """How many times the bare product `[BATCH, H] @ [H, items]` it takes to rank: the median of `rounds`.

    The product writes into memory that is there already. Both take turns, and what counts is the time of
    the processor.
    """
    release = tiny_release(item_names(items), hidden_size=hidden_size)
    random = np.random.default_rng(0)
    hidden = np.tanh(random.standard_normal((BATCH, hidden_size))).astype(np.float32)
    excluded = random.integers(items, size=(BATCH, 1)).astype(np.int32)
    table = random.standard_normal((hidden_size, items)).astype(np.float32)
    out = np.empty((BATCH, items), np.float32)

    def product() -> None:
        np.matmul(hidden, table, out=out)

    def rank() -> None:
        release.rank(hidden, TOP, excluded)

    with threadpool_limits(1, user_api="blas"):
        product()
        rank()
        return statistics.median(_seconds(rank) / _seconds(product) for _ in range(rounds))


def _seconds(work: Callable[[], None]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start
