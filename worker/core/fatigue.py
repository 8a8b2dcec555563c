"""Fatigue: an item that was shown several times without a click is left out of lists for some hours.

An item was shown `times` times if it was in as many lists of the user, each within `hours` of the one
before, and the user did not click it meanwhile. It is left out until `hours` after the last of these lists.
Of a list, the first 20 items count. For each user, the 64 items shown last are kept, in memory only.

>>> fatigue = Fatigue(times=2, hours=24, slab_rows=4)
>>> fatigue.slots.reserve(1)
>>> ada, lamp, hour = np.array([0]), np.array([[7]], np.int32), np.array([500_000])
>>> fatigue.show(ada, lamp, hour)
>>> fatigue.excluded(ada, hour).tolist()
[[]]
>>> fatigue.show(ada, lamp, hour + 24)
>>> [fatigue.excluded(ada, hour + later).tolist() for later in (24, 48, 49)]
[[[7]], [[7]], [[]]]
>>> fatigue.click(ada, np.array([7], np.int32))
>>> fatigue.excluded(ada, hour + 24).tolist()
[[]]
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from worker.core.ranking import NO_ITEM, Indexes
from worker.core.slabs import Column, Rows
from worker.core.sparse_rows import SparseRows

HOUR_MS: Final = 3_600_000

Hours = NDArray[np.int64]

_LISTED: Final = 20
"""The number of items at the top of a list that count as shown."""

_KEPT: Final = 64
"""The number of items that a user keeps; at least twice `_LISTED`."""

_MOST: Final = 255
_NEWEST: Final = np.iinfo(np.int32).max


class Fatigue(SparseRows):
    """The lists that users in rows of `worker.core.states` were shown: how often an item, and when last.

    `times`: at most 255.
    """

    def __init__(self, *, times: int, hours: int, slab_rows: int) -> None:
        codes, counts, last = (Column(kind, (_KEPT,), slab_rows) for kind in (np.int32, np.uint8, np.int32))
        super().__init__(slab_rows=slab_rows, codes=(codes, NO_ITEM), counts=(counts, 0), last=(last, 0))
        self._times, self._hours = times, hours

    def show(self, rows: Rows, lists: Indexes, hours: Hours) -> None:
        """Count the lists `[B, K]` shown to the users of `rows` (no duplicates) at these `hours`."""
        slots, lists = self.claimed(rows), lists[:, :_LISTED]
        codes, counts, last = (column.take(slots) for column in self.columns.values())
        shown = (codes[:, :, None] == lists[:, None, :]) & (lists != NO_ITEM)[:, None, :]
        again, new = shown.any(axis=2), ~shown.any(axis=1) & (lists != NO_ITEM)
        recent = hours[:, None] <= last + np.int64(self._hours)
        counts = np.where(again, np.where(recent, np.minimum(counts, _MOST - 1) + 1, 1), counts)
        last = np.where(again, np.maximum(last, hours[:, None]), last)
        oldest = np.argsort(np.where(again, _NEWEST, last), axis=1, kind="stable")
        users, places = np.nonzero(new)
        there = oldest[users, (np.cumsum(new, axis=1) - 1)[users, places]]
        codes[users, there], counts[users, there] = lists[users, places], 1
        last[users, there] = hours[users]
        for column, values in zip(self.columns.values(), (codes, counts, last), strict=True):
            column.put(slots, values)

    def click(self, rows: Rows, codes: Indexes) -> None:
        """Start again from 0 for items that were clicked. Users may repeat."""
        slots = self.slots_of(rows)
        of = np.flatnonzero(slots)
        users, places = np.nonzero(self.columns["codes"].take(slots[of]) == codes[of, None])
        self.columns["counts"].put_at(slots[of[users]], places, 0)

    def excluded(self, rows: Rows, hours: Hours) -> Indexes:
        """Return the codes of the items to leave out of lists of these `hours`, `[B, X]`.

        Padded with `NO_ITEM`. A negative row stands for a user without a list.
        """
        found = np.full((len(rows), _KEPT), NO_ITEM, np.int32)
        users = np.flatnonzero(self.slots_of(rows))
        codes, counts, last = (self.taken(name, rows[users]) for name in self.columns)
        tired = (counts >= self._times) & (hours[users, None] <= last + np.int64(self._hours))
        found[users] = np.where(tired, codes, NO_ITEM)
        return found[:, (found != NO_ITEM).any(axis=0)]
