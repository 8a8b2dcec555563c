"""Counts of the items that are clicked near each other within a session, in either order.

Two clicks of a session that are d clicks apart, d from 1 to `REACH`, count 1 / d for both items. Clicks on
the same item do not count. Unlike transitions, these counts know no order and see past the next click, as
nearest neighbours do: they help where a catalogue has few clicks per item.

>>> past = Past(np.array([0, 1, 2]), np.array([NO_ITEM, 0, 1]), np.zeros(3, np.int64), np.arange(3))
>>> found = co_occurrences(past, 1, items=3, entries=2)
>>> found.items.tolist(), found.counts[..., 0].tolist()
([[1, 2], [0, 2], [1, 0]], [[1.0, 0.5], [1.0, 1.0], [1.0, 0.5]])
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from trainer.dataset.decayed_counts import REACH, Entries, Past
from worker.core.ranking import NO_ITEM

_CLICKS_AT_ONCE: Final = 1 << 17
"""The number of clicks whose pairs are counted together, which limits the memory for pairs to about 100 MB.
All clicks of an item are counted together, so a chunk is larger if an item has more clicks.
"""

_DISTANCE_BITS: Final = 4
_SHARES: Final = np.append(0.0, 1 / np.arange(1, REACH + 1))
"""The count of a pair, by distance."""


def co_occurrences(past: Past, now_ms: int, *, items: int, entries: int) -> Entries:
    """Return the items that are clicked near each item most, up to `entries` per item.

    `items` is the size of the catalogue. Only clicks before `now_ms` count. Entries are ordered by count;
    ties by lower index.
    """
    past = past.between(-math.inf, now_ms)
    found = Entries.none(rows=items, entries=entries)
    if not entries:
        return found
    for clicks in _by_item(past, items):
        # Hot path: the distance is in the lowest bits of the pair, so that one sort of integers suffices.
        pairs = np.sort(np.concatenate([*_pairs(past, clicks, items)]))
        shares = _SHARES[pairs & ((1 << _DISTANCE_BITS) - 1)]
        pairs >>= _DISTANCE_BITS
        begins = np.flatnonzero(np.diff(pairs, prepend=-1))
        if len(begins):
            found.put(*np.divmod(pairs[begins], items), np.add.reduceat(shares, begins)[:, None])
    return found


def _by_item(past: Past, items: int) -> Iterator[NDArray[np.intp]]:
    """Yield the indexes of the clicks on known items, chunk by chunk; all clicks of an item in one chunk."""
    known = np.flatnonzero(past.items != NO_ITEM)
    ordered = known[np.argsort(past.items[known], kind="stable")]
    bounds = np.append(0, np.cumsum(np.bincount(past.items[known], minlength=items)))
    begin = 0
    while begin < len(ordered):
        last, following = np.searchsorted(bounds, [begin + _CLICKS_AT_ONCE, begin], side="right")
        end = int(bounds[max(last - 1, following)])
        yield ordered[begin:end]
        begin = end


def _pairs(past: Past, clicks: NDArray[np.intp], items: int) -> Iterator[NDArray[np.int64]]:
    """Yield the pairs of each of `clicks` with the clicks near it: (item * N + other) << 4 | distance."""
    first, places = past.items[clicks].astype(np.int64) * items, past.places[clicks]
    # Clicks may be missing in between, so the distance of two clicks is that of their places.
    for shift in (*range(-REACH, 0), *range(1, REACH + 1)):
        near = clicks + shift
        inside = (near >= 0) & (near < len(past.items))
        near = near[inside]
        second, distance = past.items[near], np.abs(past.places[near] - places[inside])
        used: NDArray[np.bool_] = (second != NO_ITEM) & (second != past.items[clicks[inside]])
        used &= distance <= REACH
        pairs: NDArray[Any] = (first[inside] + second)[used] << _DISTANCE_BITS | distance[used]
        yield pairs
