"""Columns that only some users have, so that the others take no memory for them.

A user's row in `worker.core.states` has the number of a slot here, or 0. A slot is claimed when the user
first has something, and given back when the row is freed.

>>> table = SparseRows(slab_rows=4, codes=(Column(np.int32, (2,), 4), -1))
>>> table.slots.reserve(3)
>>> rows = np.array([2])
>>> table.columns["codes"].put(table.claimed(rows), np.array([[7, 8]]))
>>> table.taken("codes", np.array([2, 0])).tolist(), table.users
([[7, 8], [-1, -1]], 1)
>>> table.release(rows)
>>> table.taken("codes", rows).tolist(), table.users
([[-1, -1]], 0)
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from worker.core.ranking import Indexes
from worker.core.slabs import Column, Rows

_NOBODY: Final = 0
"""The slot of users who have nothing. It is empty."""


class SparseRows:
    """A table with a slot for each user who has something. Not thread-safe.

    `columns` by name, each with the value that means nothing. `codes` has codes of items.
    """

    def __init__(self, *, slab_rows: int, **columns: tuple[Column, int]) -> None:
        self.slots = Column(np.int32, (), slab_rows)
        """By user row: the slot of the user. The caller reserves it, and clears it for new rows."""
        self.columns = {name: column for name, (column, _) in columns.items()}
        self._empty = {name: value for name, (_, value) in columns.items()}
        self._free: list[int] = []
        self._end = 0
        self._new(1)

    @property
    def users(self) -> int:
        """The number of users who have a slot."""
        return self._end - 1 - len(self._free)

    @property
    def size_bytes(self) -> int:
        """The memory of the table, in bytes, without `slots`."""
        return self.users * sum(column.row_bytes for column in self.columns.values())

    def taken(self, name: str, rows: Rows) -> NDArray[Any]:
        """Return a copy of a column for some users. A negative row stands for a user who has nothing."""
        return self.columns[name].take(self.slots_of(rows))

    def slots_of(self, rows: Rows) -> Rows:
        """Return the slots of some users; 0 for those who have none, and for negative rows."""
        return np.where(rows < 0, _NOBODY, self.slots.take(np.maximum(rows, 0))).astype(np.int64)

    def claimed(self, rows: Rows) -> Rows:
        """Return the slots of some users (no duplicates), all of whom have a slot from now on."""
        new = rows[self.slots.take(rows) == _NOBODY]
        if len(new):
            self.slots.put(new, self._new(len(new)))
        return self.slots_of(rows)

    def release(self, rows: Rows) -> None:
        """Drop all that some users (no duplicates) have. Their memory is reused."""
        slots = self.slots_of(rows)
        slots = slots[slots != _NOBODY]
        if not len(slots):
            return
        for name, column in self.columns.items():
            column.put(slots, self._empty[name])
        self._free.extend(slots.tolist())
        self.slots.put(rows, _NOBODY)

    def named(self) -> Iterator[Indexes]:
        """Yield arrays with the codes of all items in the table, for a collection of item codes."""
        codes = self.columns["codes"]
        for number, slab in enumerate(codes.slabs):
            yield slab[: max(0, self._end - number * codes.slab_rows)]

    def _new(self, count: int) -> Rows:
        kept = max(0, len(self._free) - count)
        slots = np.array(self._free[kept:], np.int64)
        del self._free[kept:]
        more = np.arange(self._end, self._end + count - len(slots))
        self._end += len(more)
        for name, column in self.columns.items():
            column.reserve(self._end)
            column.put(more, self._empty[name])
        return np.append(slots, more)
