"""Lists of items: counted, sorted by count, and filled up with the most popular ones.

>>> by_count(counted(np.array([2, 0, 2, NO_ITEM]), size=3)).tolist()
[2, 0, 1]
>>> popular_lists(np.array([2, 0, 1]), excluded=np.array([[2], [1]]), top=2).tolist()
[[0, 1], [2, 0]]
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from worker.core.ranking import NO_ITEM, Indexes

_ROWS_AT_ONCE: Final = 8192


def counted(items: Indexes, size: int) -> NDArray[np.int64]:
    """Return how often each item is in `items`, `[size]`."""
    return np.bincount(items[items != NO_ITEM], minlength=size)


def by_count(counts: NDArray[np.int64]) -> Indexes:
    """Return all items, those with the highest of `counts` first; equal counts: lower index first."""
    return np.argsort(-counts, kind="stable").astype(np.int32)


def popular_lists(popular: Indexes, excluded: Indexes, top: int) -> Indexes:
    """Return the first `top` of `popular` (best first) without each row's `excluded` `[P, X]`; `[P, top]`.

    Unused places hold `NO_ITEM`.
    """
    nothing = np.empty((len(excluded), 0), np.int32)
    return filled(nothing, popular, excluded, top)


def filled(lists: Indexes, popular: Indexes, excluded: Indexes, top: int) -> Indexes:
    """Return `lists` `[P, L]` without each row's `excluded` `[P, X]`, filled up with `popular` to `[P, top]`.

    Unused places hold `NO_ITEM`.
    """
    enough = popular[: lists.shape[1] + excluded.shape[1] + top]
    padded = np.append(enough, np.full(top, NO_ITEM, np.int32))
    out = np.empty((len(lists), top), np.int32)
    for first in range(0, len(lists), _ROWS_AT_ONCE):
        rows = slice(first, first + _ROWS_AT_ONCE)
        out[rows] = _filled(lists[rows], padded, excluded[rows], top)
    return out


def _filled(lists: Indexes, popular: Indexes, excluded: Indexes, top: int) -> Indexes:
    more = np.broadcast_to(popular, (len(lists), len(popular)))
    taken = np.concatenate([lists, excluded], axis=1)
    candidates = np.concatenate([lists, more], axis=1)
    dropped = np.concatenate([_any_in(lists, excluded), _any_in(more, taken)], axis=1)
    # Empty places in the middle go to the end, after everything that is not dropped.
    kept = np.argsort(dropped | (candidates == NO_ITEM), axis=1, kind="stable")[:, :top]
    chosen = np.take_along_axis(candidates, kept, axis=1)
    return np.where(np.take_along_axis(dropped, kept, axis=1), NO_ITEM, chosen)


def _any_in(candidates: Indexes, others: Indexes) -> NDArray[np.bool_]:
    """Return whether each of `candidates` `[P, C]` is among its row of `others` `[P, X]`."""
    found = np.zeros(candidates.shape, np.bool_)
    for column in others.T:
        found |= candidates == column[:, None]
    return found
