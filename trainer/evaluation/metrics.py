"""From the ranks of targets in lists to figures, and how sure these are.

Ties: equal scores rank by catalogue order, the lower index first, in the worker, the network's
lists and every baseline's. So a rank never depends on what a sort happens to do.

    >>> metrics(np.array([1, 0, 4, 0]), 20)["mrr_at_20"]
    0.3125
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from worker.core.ranking import NO_ITEM, Indexes

Ranks = NDArray[np.int64]
"""For each prediction the rank of the target in its list, from 1; 0: not in it."""

Counts = NDArray[np.int64]
Values = NDArray[np.float64]

ROUNDS: Final = 1000
"""Resamples of a bootstrap."""

_CONFIDENCE: Final = 95.0
_DRAWS_AT_ONCE: Final = 1 << 21


class Answers(NamedTuple):
    """The answers of a model to `P` predictions over a catalogue of `N` items."""

    ranks: Ranks
    """`[P]`."""
    shown: Counts
    """`[N]`: how many of the lists each item was in."""


class Figure(NamedTuple):
    """A metric with its 95 % confidence interval; no bounds where a bootstrap over sessions gives none."""

    value: float
    low: float | None = None
    high: float | None = None


def answers_of(targets: Indexes, lists: Indexes, items: int) -> Answers:
    """Compare `lists` `[P, K]` from a catalogue of this many `items` with `targets` `[P]`."""
    return Answers(ranks_of(targets, lists), np.bincount(lists[lists != NO_ITEM], minlength=items))


def ranks_of(targets: Indexes, lists: Indexes) -> Ranks:
    """Return the rank of each of `targets` `[P]` in its row of `lists` `[P, K]`, 0 if it is not there."""
    found = (lists == targets[:, None]) & (targets != NO_ITEM)[:, None]
    return np.where(found.any(axis=1), found.argmax(axis=1) + 1, 0)


def values(ranks: Ranks, top: int) -> dict[str, Values]:
    """Return each prediction's contribution to the metrics that are means over predictions, `[P]`; K = `top`.

    Every prediction has one right answer, the next click, at rank p or not in the list (then all are 0):

    - Recall@K: 1; with one right answer it is the hit rate (Hidasi et al. 2016).
    - MRR@K: 1 / p (Voorhees 1999).
    - NDCG@K: 1 / log2(p + 1), as the ideal list has 1 (Jaervelin & Kekaelaeinen 2002).
    - Precision@K: 1 / K. F1@K: 2 P R / (P + R) = 2 / (K + 1) (van Rijsbergen 1979).
    - Accuracy: 1 where p = 1.
    """
    hit = (ranks > 0).astype(np.float64)
    place = np.maximum(ranks, 1)
    return {
        f"recall_at_{top}": hit,
        f"mrr_at_{top}": hit / place,
        f"ndcg_at_{top}": hit / np.log2(place + 1),
        f"precision_at_{top}": hit / top,
        f"f1_at_{top}": 2 * hit / (top + 1),
        "accuracy": (ranks == 1).astype(np.float64),
    }


def metrics(ranks: Ranks, top: int, *, prefix: str = "") -> dict[str, float]:
    """Return the means of `values`; all 0 if there is no prediction."""
    count = max(1, len(ranks))
    return {prefix + name: float(value.sum()) / count for name, value in values(ranks, top).items()}


def list_metrics(shown: Counts, clicks: Counts | None) -> dict[str, float]:
    """Return metrics of the lists, right or wrong.

    `clicks` `[N]`: the training clicks on each item, if known.

    - coverage: the share of the catalogue that was in any list (Ge et al. 2010).
    - popularity: popularity bias as the average recommendation popularity, the mean share that the
      shown items have in the training clicks (Yin et al. 2012).
    - novelty: the mean self-information -log2(share) of the shown items in bits (Zhou et al. 2010).
      An item without training clicks counts as clicked once.
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
    """Return the totals `[rounds, C]` of `sums` `[S, C]` over sessions drawn with replacement (Efron 1979).

    Sessions are drawn, not predictions: those of one session are no independent evidence. The same
    seed and number of sessions draw the same sessions, so several models can be compared round by round.
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
    """Return the 95 % percentile interval, low and high, of the `estimates` of all rounds, `[2, ...]`.

    A round that drew no session with such a prediction came to NaN and is left out.
    """
    outside = (100 - _CONFIDENCE) / 2
    return np.nanpercentile(estimates, [outside, 100 - outside], axis=0)
