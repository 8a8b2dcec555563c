"""Exact ranking against the matrix product that it cannot do without; a blend against none."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Final

import numpy as np
from threadpoolctl import threadpool_limits

from tests.builders import item_names, packed, tiny_release, tiny_tensors
from worker.core.batch import Clicks
from worker.core.manifest import (
    MAX_CO_OCCURRENCE_LAGS,
    MAX_CO_OCCURRENCES,
    MAX_REPEAT_LAGS,
    MAX_TRANSITIONS,
)
from worker.core.ranking import OwnItems
from worker.core.recommender import Recommender
from worker.core.release import verify
from worker.core.states import States

BATCH: Final = 500
TOP: Final = 20
OWN_ITEMS: Final = OwnItems(64, 1.0, 32.0)
BATCHES: Final = (250, 2_000)
"""Clicks at a time: what a worker takes that keeps up, and one that catches up."""


def rank_over_product(items: int, hidden_size: int, *, rounds: int) -> float:
    """Return the time to rank over that of the bare product `[BATCH, H] @ [H, items]`.

    It is the median of `rounds`, in which both take turns; counted is the time of the processor. The product
    writes into memory that is there already.
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


def blend_over_none(items: int, hidden_size: int, *, clicks: int, rounds: int) -> float:
    """Return the time of a batch of `clicks` with the largest blend that a release may have over one without.

    It is applied and ranked, one list for each user, whose sessions are as long as repeats look back and who
    clicked as often as own items are counted: there a blend costs most. The median of `rounds`, in which both
    take turns.
    """
    without, blended = (_recommender(items, hidden_size, blended=blended) for blended in (False, True))
    ratios = []
    with threadpool_limits(1, user_api="blas"):
        for batch in _batches(items, clicks, OWN_ITEMS.clicks + rounds):
            plain = _seconds(partial(_served, without, batch))
            ratios.append(_seconds(partial(_served, blended, batch)) / plain)
    return statistics.median(ratios[OWN_ITEMS.clicks :])


def _served(recommender: Recommender, batch: Clicks) -> None:
    recommender.rank(recommender.apply(batch, now_ms=0))


def _recommender(items: int, hidden_size: int, *, blended: bool) -> Recommender:
    tensors = tiny_tensors(items, hidden_size=hidden_size, embedding_size=hidden_size, output_bias=blended)
    decay, repeat_bias, own_items = list[float](), list[float](), OwnItems()
    if blended:
        random = np.random.default_rng(0)
        for name, entries in (("transition", MAX_TRANSITIONS), ("co_occurrence", MAX_CO_OCCURRENCES)):
            others = [random.choice(items, entries, replace=False) for _ in range(items)]
            tensors[f"{name}_items"] = np.array(others, np.int32)
            tensors[f"{name}_scores"] = random.standard_normal((items, entries)).astype(np.float32)
        decay = random.standard_normal(MAX_CO_OCCURRENCE_LAGS).tolist()
        repeat_bias, own_items = random.standard_normal(MAX_REPEAT_LAGS).tolist(), OWN_ITEMS
    parts = packed(
        tensors,
        item_names(items),
        cell="gru",
        output="tied",
        co_occurrence_decay=decay,
        repeat_bias=repeat_bias,
        own_items=own_items,
    )
    release = verify(*parts)
    states = States(state_size=release.state_size)
    states.keep_recent(release.own_needed)
    return Recommender(release, states, publish_max_age_ms=0, top=TOP)


def _batches(items: int, clicks: int, count: int) -> list[Clicks]:
    """Return batches with one click of each of the same users."""
    random, names = np.random.default_rng(1), item_names(items)
    return [
        Clicks(
            partitions=np.zeros(clicks, np.int32),
            offsets=np.arange(clicks) + number * clicks,
            user_ids=[f"user-{user}" for user in random.permutation(clicks).tolist()],
            item_ids=[names[item] for item in random.integers(items, size=clicks).tolist()],
            timestamps_ms=np.full(clicks, number),
            record_timestamps_ms=np.full(clicks, number),
        )
        for number in range(count)
    ]


def _seconds(work: Callable[[], None]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start
