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

from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from worker.core.batch import UserOrder
from worker.core.ranking import NO_ITEM, Indexes
from worker.core.slabs import Column, Rows

BOUGHT_ITEMS: Final = 16
"""The number of bought items that a user keeps. With one more, the oldest is dropped."""

DAY_MS: Final = 86_400_000

Days = NDArray[np.integer]

_LAST_DAY: Final = np.iinfo(np.uint16).max
_NOBODY: Final = 0
"""The slot of users who bought nothing: an empty ring."""


class Items(NamedTuple):
    """Bought items of `B` users, both `[B, X]`, newest last, padded at the beginning: `NO_ITEM`, day 0."""

    codes: Indexes
    days: NDArray[np.uint16]

    def taken(self, places: NDArray[np.integer] | NDArray[np.bool_]) -> Items:
        """Return only the users at the positions `places`."""
        return Items(self.codes[places], self.days[places])


class Bought:
    """The last `items` bought items of the users in rows of `worker.core.states`. Not thread-safe."""

    def __init__(self, *, days: int, slab_rows: int, items: int = BOUGHT_ITEMS) -> None:
        self.days = days
        self._items = items
        self.slots = Column(np.int32, (), slab_rows)
        """By user row: the slot of the user's ring. The caller reserves it, and clears it for new rows."""
        self._codes = Column(np.int32, (items,), slab_rows)
        self._days = Column(np.uint16, (items,), slab_rows)
        self._free: list[int] = []
        self._end = 0
        self._dropped = 0
        self._claimed(1)

    @property
    def users(self) -> int:
        """The number of users who have bought items."""
        return self._end - 1 - len(self._free)

    @property
    def size_bytes(self) -> int:
        """The memory of the bought items, in bytes, without `slots`."""
        return self.users * (self._codes.row_bytes + self._days.row_bytes)

    def take_dropped(self) -> int:
        """Return how many items were dropped before their time, for want of room, since the last call."""
        dropped, self._dropped = self._dropped, 0
        return dropped

    def of(self, rows: Rows) -> Items:
        """Return all bought items of some users, also those that are not left out any more."""
        slots = self.slots.take(rows)
        return Items(self._codes.take(slots), self._days.take(slots))

    def excluded(self, rows: Rows, days: Days) -> Indexes:
        """Return the codes of the items to leave out of lists of these `days`, `[B, X]`.

        Padded with `NO_ITEM`. A negative row stands for a user who bought nothing.
        """
        slots = np.where(rows < 0, _NOBODY, self.slots.take(np.maximum(rows, 0)))
        found = np.full((len(rows), self._items), NO_ITEM, np.int32)
        buyers = np.flatnonzero(slots)
        codes, bought = self._codes.take(slots[buyers]), self._days.take(slots[buyers])
        found[buyers] = np.where(bought + np.int64(self.days) >= days[buyers, None], codes, NO_ITEM)
        return found[:, (found != NO_ITEM).any(axis=0)]

    def last_ms(self, rows: Rows) -> NDArray[np.int64]:
        """Return the end of the last day on which each user bought an item, in ms; 0 if there is none."""
        days = self._days.take(self.slots.take(rows)).max(axis=1).astype(np.int64)
        return np.where(days > 0, (days + 1) * DAY_MS, 0)

    def add(self, rows: Rows, codes: Indexes, days: Days) -> None:
        """Add items in the order in which they were bought; users may repeat.

        An item that a user has already bought becomes the newest.
        """
        order = UserOrder(rows)
        self._ensure(order.rows)
        slots, dates = self.slots.take(rows), np.clip(days, 0, _LAST_DAY).astype(np.uint16)
        places, sizes = order.waves()
        for wave in np.split(order.arrival[places], np.cumsum(sizes)[:-1]):
            self._append(slots[wave], codes[wave], dates[wave])

    def put(self, rows: Rows, items: Items | None) -> None:
        """Replace the bought items of some users (no duplicates); None: they have none."""
        self.release(rows)
        if items is None:
            return
        buyers = np.flatnonzero((items.codes != NO_ITEM).any(axis=1))
        if not len(buyers):
            return
        self._ensure(rows[buyers])
        slots, kept = self.slots.take(rows[buyers]), items.codes.shape[1] - self._items
        codes, days = (one[buyers][:, max(0, kept) :] for one in items)
        padding = ((0, 0), (self._items - codes.shape[1], 0))
        self._codes.put(slots, np.pad(codes, padding, constant_values=NO_ITEM))
        self._days.put(slots, np.pad(days, padding))

    def release(self, rows: Rows) -> None:
        """Drop all bought items of some users (no duplicates). Their memory is reused."""
        slots = self.slots.take(rows)
        slots = slots[slots != _NOBODY]
        self._codes.put(slots, NO_ITEM)
        self._days.put(slots, 0)
        self._free.extend(slots.tolist())
        self.slots.put(rows, _NOBODY)

    def named(self) -> Iterator[Indexes]:
        """Yield arrays with the codes of all bought items, for a collection of item codes."""
        for number, slab in enumerate(self._codes.slabs):
            yield slab[: max(0, self._end - number * self._codes.slab_rows)]

    def _ensure(self, rows: Rows) -> None:
        """Assign a slot to each user of `rows` (no duplicates) without a slot."""
        new = rows[self.slots.take(rows) == _NOBODY]
        if len(new):
            self.slots.put(new, self._claimed(len(new)))

    def _claimed(self, count: int) -> NDArray[np.int32]:
        kept = max(0, len(self._free) - count)
        slots = self._free[kept:]
        del self._free[kept:]
        more = np.arange(self._end, self._end + count - len(slots))
        self._end += len(more)
        for column in (self._codes, self._days):
            column.reserve(self._end)
        self._codes.put(more, NO_ITEM)
        return np.append(np.array(slots, np.int32), more.astype(np.int32))

    def _append(self, slots: Rows, codes: Indexes, days: NDArray[np.uint16]) -> None:
        items, bought = self._codes.take(slots), self._days.take(slots)
        again = items == codes[:, None]
        latest = np.maximum(days, np.where(again, bought, 0).max(axis=1)).astype(np.uint16)
        items[again], bought[again] = NO_ITEM, 0
        order = np.argsort(items != NO_ITEM, axis=1, kind="stable")
        items, bought = (np.take_along_axis(one, order, axis=1) for one in (items, bought))
        early = (items[:, 0] != NO_ITEM) & (bought[:, 0] + np.int64(self.days) >= days)
        self._dropped += int(np.count_nonzero(early))
        self._codes.put(slots, np.column_stack([items[:, 1:], codes]))
        self._days.put(slots, np.column_stack([bought[:, 1:], latest]))
