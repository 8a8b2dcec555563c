"""The user states: one row per user, column by column, as their blocks will hold them.

A row is the hidden state (half precision), the recent items (by id, so that any release can read
them), how many of these belong to the current session, whether a known item is in the hidden state,
the time of the last click, the offset of the last record absorbed, and the release that made it.

Rows never move. Memory is reserved in slabs of a million rows that the kernel hands out page by
page when a row is first written, so growing copies nothing and an empty worker is small. Rows of
all partitions share the slabs, so that one batch is one matrix product; each partition has its own
index from user id to row, so that a revoked partition is forgotten at once.

    >>> states = States(state_size=4)
    >>> states.rows(0, ["ada", "bob", "ada"]).tolist()
    [0, 1, 0]
    >>> states.forget(0)
    2
    >>> len(states)
    0
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from itertools import count
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from worker.core.catalogue import Catalogue
from worker.core.ranking import NO_ITEM, Indexes

RECENT_ITEMS: Final = 20
"""How many of a user's last items a row keeps."""

_SLAB_ROWS: Final = 1 << 20

Rows = NDArray[np.int64]


@dataclass(slots=True)
class UserStates:
    """The states of some users, `B` rows: what `States.read` copies out and `States.write` back."""

    hidden: NDArray[np.float16]
    """`[B, S]`: the recurrent state; zeros where no item was stepped since the session began."""
    recent: NDArray[np.int32]
    """`[B, R]`: codes of the last items, a ring in which click number n stands at n modulo R."""
    clicks: NDArray[np.int64]
    """How many clicks were absorbed in all; 0 for a new user."""
    session: NDArray[np.int32]
    """How many of the recent items belong to the current session, at most R."""
    warm: NDArray[np.bool_]
    """Whether a known item was stepped since the session began."""
    timestamp_ms: NDArray[np.int64]
    """The time of the latest click."""
    offset: NDArray[np.int64]
    """The offset of the last record absorbed."""
    release: NDArray[np.int32]
    """The number of the release that made `hidden`."""


class States:
    """The rows of all users of the partitions that this worker owns."""

    def __init__(
        self, *, state_size: int, recent_items: int = RECENT_ITEMS, slab_rows: int = _SLAB_ROWS
    ) -> None:
        self.item_codes = ItemCodes()
        self.recent_items = recent_items
        self._columns = {
            "hidden": _Column(np.float16, (state_size,), slab_rows),
            "recent": _Column(np.int32, (recent_items,), slab_rows),
            "clicks": _Column(np.int64, (), slab_rows),
            "session": _Column(np.int32, (), slab_rows),
            "warm": _Column(np.bool_, (), slab_rows),
            "timestamp_ms": _Column(np.int64, (), slab_rows),
            "offset": _Column(np.int64, (), slab_rows),
            "release": _Column(np.int32, (), slab_rows),
        }
        self._rows: dict[int, dict[str, int]] = {}
        self._new_row = count()
        self._free: list[int] = []

    def __len__(self) -> int:
        return sum(len(rows) for rows in self._rows.values())

    def users(self, partition: int) -> int:
        """How many users of `partition` have a row."""
        return len(self._rows.get(partition, ()))

    def rows(self, partition: int, user_ids: Sequence[str]) -> Rows:
        """The row of each user of `partition`; a user without one gets a new row, all zeros."""
        index = self._rows.setdefault(partition, {})
        found = [index.get(user_id, -1) for user_id in user_ids]
        if -1 in found:
            found = [self._row(index, user_id) for user_id in user_ids]
        return np.array(found, dtype=np.int64)

    def read(self, rows: Rows) -> UserStates:
        """A copy of `rows`."""
        columns: dict[str, Any] = {name: column.take(rows) for name, column in self._columns.items()}
        return UserStates(**columns)

    def write(self, rows: Rows, states: UserStates) -> None:
        """Put `states` into `rows`, of which none may come twice."""
        for field in fields(states):
            self._columns[field.name].put(rows, getattr(states, field.name))

    def forget(self, partition: int) -> int:
        """Drop all rows of `partition`; their number. The memory is used again for other rows."""
        rows = list(self._rows.pop(partition, {}).values())
        for column in self._columns.values() if rows else ():
            column.put(np.array(rows), 0)
        self._free.extend(rows)
        return len(rows)

    def _row(self, index: dict[str, int], user_id: str) -> int:
        row = index.get(user_id)
        if row is None:
            row = index[user_id] = self._fresh_row()
        return row

    def _fresh_row(self) -> int:
        if self._free:
            return self._free.pop()
        row = next(self._new_row)
        for column in self._columns.values():
            column.reserve(row)
        return row


class ItemCodes:
    """Small numbers for item ids. Unlike an `item_index` a code outlives every release."""

    def __init__(self) -> None:
        self._codes: dict[str, int] = {}
        self._ids: list[str] = []

    def __len__(self) -> int:
        return len(self._ids)

    def codes(self, item_ids: Sequence[str]) -> Indexes:
        """The code of each id; an id without one gets the next."""
        codes = self._codes
        found = [codes.get(item_id, -1) for item_id in item_ids]
        if -1 in found:
            found = [self._code(item_id) for item_id in item_ids]
        return np.array(found, dtype=np.int32)

    def ids(self, codes: Indexes) -> list[str]:
        """The id of each code."""
        return [self._ids[code] for code in codes]

    def _code(self, item_id: str) -> int:
        code = self._codes.get(item_id)
        if code is None:
            code = self._codes[item_id] = len(self._ids)
            self._ids.append(item_id)
        return code


class ItemIndexes:
    """From item codes to one catalogue's `item_index`; codes that came since are looked up once."""

    def __init__(self, catalogue: Catalogue, item_codes: ItemCodes) -> None:
        self._catalogue = catalogue
        self._codes = item_codes
        self._indexes = np.array([NO_ITEM], np.int32)
        """By code, and at the end, where the code `NO_ITEM` looks, `NO_ITEM`."""

    def __call__(self, codes: Indexes) -> Indexes:
        """The `item_index` of each code, `NO_ITEM` where the catalogue does not know it or there is none."""
        known = len(self._indexes) - 1
        if known < len(self._codes):
            new = self._catalogue.indexes(self._codes.ids(np.arange(known, len(self._codes), dtype=np.int32)))
            self._indexes = np.concatenate([self._indexes[:-1], new, self._indexes[-1:]])
        return self._indexes[codes]


class _Column:
    """One column in slabs; a slab is reserved at once and becomes resident where it is written."""

    def __init__(self, dtype: type[np.generic], shape: tuple[int, ...], slab_rows: int) -> None:
        self._dtype, self._shape, self._slab_rows = dtype, shape, slab_rows
        self._slabs: list[NDArray[np.generic]] = []

    def reserve(self, row: int) -> None:
        """Make room for `row`."""
        if row >= len(self._slabs) * self._slab_rows:
            self._slabs.append(np.zeros((self._slab_rows, *self._shape), self._dtype))

    def take(self, rows: Rows) -> NDArray[np.generic]:
        """A copy of the values of `rows`."""
        if len(self._slabs) == 1:
            return self._slabs[0][rows]
        values = np.empty((len(rows), *self._shape), self._dtype)
        for slab, at, places in self._divided(rows):
            values[at] = slab[places]
        return values

    def put(self, rows: Rows, values: NDArray[np.generic] | int) -> None:
        """Write one value, or one for each row."""
        if len(self._slabs) == 1:
            self._slabs[0][rows] = values
            return
        for slab, at, places in self._divided(rows):
            slab[places] = values if isinstance(values, int) else values[at]

    def _divided(self, rows: Rows) -> Iterator[tuple[NDArray[np.generic], Rows, Rows]]:
        """For each slab among `rows`: the slab, where its rows stand in `rows`, and their places in it."""
        slabs, places = np.divmod(rows, self._slab_rows)
        for slab in np.unique(slabs):
            at = np.flatnonzero(slabs == slab)
            yield self._slabs[slab], at, places[at]
