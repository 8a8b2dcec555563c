"""The items that users bought: their lists leave these items out for some days.

A user keeps the last 16 different items, each with the day (UTC) on which it was bought. An item is left out
through the day that is `days` days later, so for at least `days` days.

Only users who bought something have a ring of items, of 96 bytes; the others take 4 bytes each.

>>> bought, day = Bought(days=30, slab_rows=4), np.array([20_000])
>>> bought.slots.reserve(2)
>>> ada = np.array([1])
>>> bought.add(ada, np.array([7]), day)
>>> [bought.excluded(ada, day + later).tolist() for later in (0, 30, 31)]
[[[7]], [[7]], [[]]]
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from worker.core.batch import UserOrder
from worker.core.ranking import NO_ITEM, Indexes
from worker.core.slabs import Column, Rows
from worker.core.sparse_rows import SparseRows

BOUGHT_ITEMS: Final = 16
"""The number of bought items that a user keeps. With one more, the oldest is dropped."""

DAY_MS: Final = 86_400_000

Days = NDArray[np.integer]

_LAST_DAY: Final = np.iinfo(np.uint16).max


class Items(NamedTuple):
    """Bought items of `B` users, both `[B, X]`, newest last, padded at the beginning: `NO_ITEM`, day 0."""

    codes: Indexes
    days: NDArray[np.uint16]

    def taken(self, places: NDArray[np.integer] | NDArray[np.bool_]) -> Items:
        """Return only the users at the positions `places`."""
        return Items(self.codes[places], self.days[places])


class Bought(SparseRows):
    """The last `items` bought items of the users in rows of `worker.core.states`, left out for `days`."""

    def __init__(self, *, days: int, slab_rows: int, items: int = BOUGHT_ITEMS) -> None:
        codes, dates = (Column(kind, (items,), slab_rows) for kind in (np.int32, np.uint16))
        super().__init__(slab_rows=slab_rows, codes=(codes, NO_ITEM), days=(dates, 0))
        self.days = days
        self._items = items
        self._dropped = 0

    def take_dropped(self) -> int:
        """Return how many items were dropped before their time, for want of room, since the last call."""
        dropped, self._dropped = self._dropped, 0
        return dropped

    def of(self, rows: Rows) -> Items:
        """Return all bought items of some users, also those that are not left out any more."""
        return Items(self.taken("codes", rows), self.taken("days", rows))

    def excluded(self, rows: Rows, days: Days) -> Indexes:
        """Return the codes of the items to leave out of lists of these `days`, `[B, X]`.

        Padded with `NO_ITEM`. A negative row stands for a user who bought nothing.
        """
        found = np.full((len(rows), self._items), NO_ITEM, np.int32)
        buyers = np.flatnonzero(self.slots_of(rows))
        codes, bought = self.of(rows[buyers])
        found[buyers] = np.where(bought + np.int64(self.days) >= days[buyers, None], codes, NO_ITEM)
        return found[:, (found != NO_ITEM).any(axis=0)]

    def last_ms(self, rows: Rows) -> NDArray[np.int64]:
        """Return the end of the last day on which each user bought an item, in ms; 0 if there is none."""
        days = self.taken("days", rows).max(axis=1).astype(np.int64)
        return np.where(days > 0, (days + 1) * DAY_MS, 0)

    def add(self, rows: Rows, codes: Indexes, days: Days) -> None:
        """Add items in the order in which they were bought; users may repeat.

        An item that a user has already bought becomes the newest.
        """
        order = UserOrder(rows)
        slots = self.claimed(order.rows)[order.user]
        dates = np.clip(days, 0, _LAST_DAY).astype(np.uint16)
        places, sizes = order.waves()
        for wave in np.split(places, np.cumsum(sizes)[:-1]):
            of = order.arrival[wave]
            self._append(slots[wave], codes[of], dates[of])

    def put(self, rows: Rows, items: Items | None) -> None:
        """Replace the bought items of some users (no duplicates); None: they have none."""
        self.release(rows)
        if items is None:
            return
        buyers = np.flatnonzero((items.codes != NO_ITEM).any(axis=1))
        slots, kept = self.claimed(rows[buyers]), items.codes.shape[1] - self._items
        codes, days = (one[buyers][:, max(0, kept) :] for one in items)
        padding = ((0, 0), (self._items - codes.shape[1], 0))
        self.columns["codes"].put(slots, np.pad(codes, padding, constant_values=NO_ITEM))
        self.columns["days"].put(slots, np.pad(days, padding))

    def _append(self, slots: Rows, codes: Indexes, days: NDArray[np.uint16]) -> None:
        items, bought = (column.take(slots) for column in self.columns.values())
        again = items == codes[:, None]
        latest = np.maximum(days, np.where(again, bought, 0).max(axis=1)).astype(np.uint16)
        items[again], bought[again] = NO_ITEM, 0
        order = np.argsort(items != NO_ITEM, axis=1, kind="stable")
        items, bought = (np.take_along_axis(one, order, axis=1) for one in (items, bought))
        early = (items[:, 0] != NO_ITEM) & (bought[:, 0] + np.int64(self.days) >= days)
        self._dropped += int(np.count_nonzero(early))
        self.columns["codes"].put(slots, np.column_stack([items[:, 1:], codes]))
        self.columns["days"].put(slots, np.column_stack([bought[:, 1:], latest]))
