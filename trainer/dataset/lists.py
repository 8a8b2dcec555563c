"""Item lists: count items, sort them by count, and fill lists up with popular items.

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
    """Return the number of occurrences of each item in `items`, `[size]`; `NO_ITEM` is not counted."""
    return np.bincount(items[items != NO_ITEM], minlength=size)


def by_count(counts: NDArray[np.int64]) -> Indexes:
    """Return all items by descending count; ties by lower index."""
    return np.argsort(-counts, kind="stable").astype(np.int32)


def popular_lists(popular: Indexes, excluded: Indexes, top: int) -> Indexes:
    """Return for each row the first `top` items of `popular` that are not in its `excluded` `[P, X]`.

    `popular` is best first. Rows `[P, top]` are padded with `NO_ITEM`.
    """
    nothing = np.empty((len(excluded), 0), np.int32)
    return filled(nothing, popular, excluded, top)


def filled(lists: Indexes, popular: Indexes, excluded: Indexes, top: int) -> Indexes:
    """Return `lists` `[P, L]` without the `excluded` `[P, X]` of each row, filled up from `popular`.

    Rows `[P, top]` are padded with `NO_ITEM`.
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
    # Stable sort: kept items move to the front, in their order; dropped items and padding move to the end.
    kept = np.argsort(dropped | (candidates == NO_ITEM), axis=1, kind="stable")[:, :top]
    chosen = np.take_along_axis(candidates, kept, axis=1)
    return np.where(np.take_along_axis(dropped, kept, axis=1), NO_ITEM, chosen)


def _any_in(candidates: Indexes, others: Indexes) -> NDArray[np.bool_]:
    """Return `[P, C]`: whether each of `candidates` `[P, C]` is in the same row of `others` `[P, X]`."""
    found = np.zeros(candidates.shape, np.bool_)
    for column in others.T:
        found |= candidates == column[:, None]
    return found
