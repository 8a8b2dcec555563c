"""Metrics from the ranks of targets, with bootstrap confidence intervals.

Ties: items with equal scores are ordered by catalogue index, lowest first, in the worker, in the network's
lists and in all baselines. So ranks do not depend on the sorting algorithm.

    >>> metrics(np.array([1, 0, 4, 0]), 20)["mrr_at_20"]
    0.3125
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from worker.core.ranking import NO_ITEM, Indexes

Ranks = NDArray[np.int64]
"""`[P]`: the rank of each prediction's target in the list, from 1; 0: not in the list."""

Counts = NDArray[np.int64]
Values = NDArray[np.float64]

ROUNDS: Final = 1000
"""Number of bootstrap resamples."""

_CONFIDENCE: Final = 95.0
_DRAWS_AT_ONCE: Final = 1 << 21


class Answers(NamedTuple):
    """The answers of a model to P predictions over a catalogue of N items."""

    ranks: Ranks
    """`[P]`: the ranks of the targets."""
    shown: Counts
    """`[N]`: the number of lists that contain each item."""


class Figure(NamedTuple):
    """The value of a metric with its 95 % confidence interval; the bounds are None if it has no interval."""

    value: float
    low: float | None = None
    high: float | None = None


def answers_of(targets: Indexes, lists: Indexes, items: int) -> Answers:
    """Return the answers in `lists` `[P, K]` to predictions with these `targets` `[P]`.

    `items` is the size of the catalogue.
    """
    return Answers(ranks_of(targets, lists), np.bincount(lists[lists != NO_ITEM], minlength=items))


def ranks_of(targets: Indexes, lists: Indexes) -> Ranks:
    """Return the rank, from 1, of each of `targets` `[P]` in its row of `lists` `[P, K]`; 0 if absent."""
    found = (lists == targets[:, None]) & (targets != NO_ITEM)[:, None]
    return np.where(found.any(axis=1), found.argmax(axis=1) + 1, 0)


def values(ranks: Ranks, *tops: int) -> dict[str, Values]:
    """Return each metric's values for all predictions, `[P]`, for each K of `tops`, in ascending order.

    The means are the reported metrics. A prediction has one correct answer, the next click. If it is at rank
    p of the list, the values are as follows; if it is not in the list, all values are 0.

    - Recall@K: 1. With one correct answer this is the hit rate (Hidasi et al. 2016).
    - MRR@K: 1 / p (Voorhees 1999).
    - NDCG@K: 1 / log2(p + 1); the ideal list has 1 (Jaervelin & Kekaelaeinen 2002).
    - Precision@K: 1 / K. F1@K: 2 P R / (P + R) = 2 / (K + 1) (van Rijsbergen 1979).
    - Accuracy: 1 if p = 1, else 0.
    """
    place = np.maximum(ranks, 1)
    found: dict[str, Values] = {}
    for top in sorted(tops):
        hit = ((ranks > 0) & (ranks <= top)).astype(np.float64)
        found |= {
            f"recall_at_{top}": hit,
            f"mrr_at_{top}": hit / place,
            f"ndcg_at_{top}": hit / np.log2(place + 1),
            f"precision_at_{top}": hit / top,
            f"f1_at_{top}": 2 * hit / (top + 1),
        }
    return {**found, "accuracy": (ranks == 1).astype(np.float64)}


def metrics(ranks: Ranks, top: int, *, prefix: str = "") -> dict[str, float]:
    """Return the means of `values`; all means are 0 if there are no predictions."""
    count = max(1, len(ranks))
    return {prefix + name: float(value.sum()) / count for name, value in values(ranks, top).items()}


def list_metrics(shown: Counts, clicks: Counts | None) -> dict[str, float]:
    """Return metrics of the lists that do not depend on the targets.

    `clicks` `[N]`: the number of training clicks on each item; if None, only coverage is returned.

    - coverage: the share of the catalogue that is in at least one list (Ge et al. 2010).
    - popularity: the average recommendation popularity, a measure of popularity bias: the mean share of the
      training clicks that a recommended item has (Yin et al. 2012).
    - novelty: the mean self-information -log2(share) of the recommended items, in bits (Zhou et al. 2010).
      An item without training clicks is treated as if it had a single click.
    """
    found = {"coverage": float(np.count_nonzero(shown)) / max(1, len(shown))}
    total = shown.sum()
    if clicks is not None and total > 0:
        share = np.maximum(clicks, 1) / max(1, clicks.sum())
        found["popularity"] = float(shown @ (clicks / max(1, clicks.sum())) / total)
        found["novelty"] = float(shown @ -np.log2(share) / total)
    return found


def sums_by(session: Counts, columns: Values) -> Values:
    """Return the sums of `columns` `[P, C]` over the predictions of each session, `[S, C]`."""
    size = int(session.max()) + 1 if len(session) else 0
    sums = [np.bincount(session, column, minlength=size) for column in columns.T]
    return np.stack(sums, axis=1)


def resampled(sums: Values, *, rounds: int = ROUNDS, seed: int = 0) -> Values:
    """Return bootstrap totals `[rounds, C]` of `sums` `[S, C]` (Efron 1979).

    Whole sessions, not predictions, are drawn with replacement, because predictions of one session are not
    independent. The same seed and number of sessions give the same draws, so that models can be compared
    resample by resample.
    """
    random = np.random.default_rng(seed)
    sessions = len(sums)
    at_once = max(1, _DRAWS_AT_ONCE // sessions)
    totals = np.empty((rounds, sums.shape[1]))
    for first in range(0, rounds, at_once):
        size = min(at_once, rounds - first)
        drawn = random.integers(sessions, size=(size, sessions)) + sessions * np.arange(size)[:, None]
        often = np.bincount(drawn.ravel(), minlength=size * sessions).reshape(size, sessions)
        totals[first : first + size] = often.astype(np.float64) @ sums
    return totals


def interval(estimates: Values) -> Values:
    """Return the 95 % percentile interval of `estimates` `[rounds, ...]`, as low and high `[2, ...]`.

    NaN estimates, from resamples without a prediction of the slice, are ignored.
    """
    outside = (100 - _CONFIDENCE) / 2
    return np.nanpercentile(estimates, [outside, 100 - outside], axis=0)
