"""The user states: one row per user, stored in columns, as in blocks.

A row has the hidden state (half precision), the recent items (independent of any release), the number of
recent items in the current session, whether the hidden state includes a known item, the time of the last
click, the offset of the last record applied, and the number of the release that computed the hidden state.

Rows never move. Memory is reserved in slabs of a million rows; the kernel maps a page when a row is first
written to it. So growing copies nothing, and an empty worker is small. Rows of all partitions share the
slabs, so that one batch is one matrix product. Each partition has its own index from user id to row, so that
a revoked partition is dropped at once.

Each row also records whether it changed since it was last saved, and in which block of its partition it was
saved then (`worker.core.flush` decides what to save and when). Blocks do not contain these two columns. The
items that users bought or were shown, if kept, are in tables of their own (`worker.core.sparse_rows`).

    >>> states = States(state_size=4)
    >>> states.rows(0, ["ada", "bob", "ada"]).tolist()
    [0, 1, 0]
    >>> states.drop(0)
    2
    >>> len(states)
    0
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import fields
from sys import getsizeof
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from worker.core.bought import BOUGHT_ITEMS, Bought, Days, Items
from worker.core.fatigue import Fatigue
from worker.core.items import ItemCodes
from worker.core.ranking import NO_ITEM, Indexes
from worker.core.recent import RECENT_ITEMS, Ring, lengthened
from worker.core.slabs import Column, Rows, where
from worker.core.sparse_rows import SparseRows
from worker.core.user_states import NO_OFFSET, NO_RELEASE, Saved, UserStates

_SLAB_ROWS: Final = 1 << 20

_ID_BYTES: Final = 90
"""Memory per user for the id besides its text: an entry in the index, a list element, and a row number."""

_FREE: Final = 0
_SAVED: Final = 1
_CHANGED: Final = 2
"""The status of a row: not in use, in use, or in use and changed since it was last saved."""

_LOOKED_AT: Final = 1 << 15
"""The number of rows whose items one step of a collection checks (2 ms)."""


class States:
    """The rows of all users of the partitions that this worker owns."""

    def __init__(
        self, *, state_size: int, recent_items: int = RECENT_ITEMS, slab_rows: int = _SLAB_ROWS
    ) -> None:
        self.item_codes = ItemCodes()
        self.recent_items = recent_items
        self.state_size = state_size
        self._columns = {
            "hidden": Column(np.float16, (state_size,), slab_rows),
            "recent": Column(np.int32, (recent_items,), slab_rows),
            "clicks": Column(np.int32, (), slab_rows),
            "session": Column(np.int8, (), slab_rows),
            "warm": Column(np.bool_, (), slab_rows),
            "timestamp_ms": Column(np.int64, (), slab_rows),
            "offset": Column(np.int64, (), slab_rows),
            "release": Column(np.int32, (), slab_rows),
        }
        self._partition = Column(np.int32, (), slab_rows)
        self._block = Column(np.int32, (), slab_rows)
        self._status = Column(np.uint8, (), slab_rows)
        self.bought: Bought | None = None
        """The items that users bought; None unless `keep_bought` was called."""
        self.fatigue: Fatigue | None = None
        """The items that users were shown; None unless `keep_shown` was called."""
        self._sparse: list[SparseRows] = []
        self._list_columns()
        self._indexes: dict[int, dict[str, int]] = {}
        self._ids: list[str] = []
        """By row: the user's id; empty if the row is free."""
        self._id_bytes = 0
        self._free: list[int] = []
        self._void_before: dict[int, dict[str, int]] = {}
        self._moved = 0
        self._unseen: list[NDArray[np.int32]] = []
        """Arrays of item codes that the current collection has not checked yet."""

    def __len__(self) -> int:
        return len(self._ids) - len(self._free)

    @property
    def size_bytes(self) -> int:
        """The approximate memory of all users, in bytes; in a test, 3 % above their resident memory."""
        row_bytes = sum(column.row_bytes for column in self._all) + _ID_BYTES
        return len(self) * row_bytes + self._id_bytes + sum(table.size_bytes for table in self._sparse)

    def users(self, partition: int) -> int:
        """Return the number of users of `partition` that have a row."""
        return len(self._indexes.get(partition, ()))

    def find(self, partition: int, user_id: str) -> int | None:
        """Return the row of a user of `partition`; None if the user has no row."""
        return self._indexes.get(partition, {}).get(user_id)

    def rows(self, partition: int, user_ids: Sequence[str]) -> Rows:
        """Return the row of each user of `partition`; a user without a row gets a new row of zeros."""
        try:
            return self._found(partition, user_ids)
        except KeyError:
            new = self._add(partition, user_ids)
        others = [other for number, other in self._indexes.items() if number != partition]
        self._moved += sum(any(user_id in other for other in others) for user_id in new)
        return self._found(partition, user_ids)

    def take_moved(self) -> int:
        """Return how many users with a row in another partition got a new row since the last call."""
        moved, self._moved = self._moved, 0
        return moved

    def user_ids(self, rows: Rows) -> list[str]:
        """Return the ids of the users of `rows`; empty for a free row."""
        return [*map(self._ids.__getitem__, rows.tolist())]

    def read(self, rows: Rows) -> UserStates:
        """Return a copy of the states in `rows`."""
        columns: dict[str, Any] = {name: column.take(rows) for name, column in self._columns.items()}
        return UserStates(**columns)

    def write(self, rows: Rows, states: UserStates) -> None:
        """Write `states` to `rows` (no duplicates) and mark them as changed.

        Hidden states may be smaller than the column.
        """
        for field in fields(states):
            self._columns[field.name].put(rows, getattr(states, field.name))
        self._status.put(rows, _CHANGED)

    def buy(self, rows: Rows, codes: Indexes, days: Days, offsets: NDArray[np.int64]) -> None:
        """Add bought items, in order of arrival, and the offsets of their records. Users may repeat."""
        assert self.bought is not None  # noqa: S101  # checked by the caller
        self.bought.add(rows, codes, days)
        # Of a user's several records, the last assignment stands.
        offset = self._columns["offset"]
        offset.put(rows, np.maximum(offset.take(rows), offsets))
        self._status.put(rows, _CHANGED)

    def write_rebuilt(self, rows: Rows, states: UserStates) -> None:
        """Write the rebuilt states of `rows` without marking them as changed.

        A worker that loads the older rows rebuilds the same states, so a new release causes no saves.
        """
        for name in ("hidden", "warm", "release"):
            self._columns[name].put(rows, getattr(states, name))

    def forget_release(self, rows: Rows) -> None:
        """Mark `rows` as having no release, so that they are rebuilt."""
        self._columns["release"].put(rows, NO_RELEASE)

    def resize(self, state_size: int) -> None:
        """Change the size of hidden states, and mark all states as having no release.

        Each state is then rebuilt when its user next clicks; copying all states would pause the worker.
        """
        if state_size == self.state_size:
            return
        self.state_size = state_size
        hidden, release = Column(np.float16, (state_size,), self._block.slab_rows), self._columns["release"]
        hidden.reserve(len(release.slabs) * release.slab_rows)
        for slab in release.slabs:
            slab[:] = NO_RELEASE
        self._replace("hidden", hidden)

    def keep_recent(self, recent_items: int) -> None:
        """Make every row keep at least `recent_items` recent items; copy all rows at once if they do not."""
        if recent_items <= self.recent_items:
            return
        self.recent_items, columns = recent_items, self._columns
        self._replace("recent", lengthened(columns["recent"], columns["clicks"], recent_items, rows=self.end))

    def keep_bought(self, days: int, *, items: int = BOUGHT_ITEMS) -> None:
        """Keep the last `items` that users buy, left out for `days`. Call this before any user has a row."""
        self.bought = Bought(days=days, slab_rows=self._block.slab_rows, items=items)
        self._sparse.append(self.bought)
        self._list_columns()

    def keep_shown(self, times: int, hours: int) -> None:
        """Keep what users are shown, left out after `times`. Call this before any user has a row."""
        self.fatigue = Fatigue(times=times, hours=hours, slab_rows=self._block.slab_rows)
        self._sparse.append(self.fatigue)
        self._list_columns()

    def _replace(self, name: str, column: Column) -> None:
        self._columns[name] = column
        self._list_columns()

    def _list_columns(self) -> None:
        slots = [table.slots for table in self._sparse]
        self._all = (*self._columns.values(), self._partition, self._block, self._status, *slots)

    @property
    def end(self) -> int:
        """One more than the highest row number."""
        return len(self._ids)

    def used(self, begin: int, end: int) -> Rows:
        """Return the rows from `begin` to `end` (exclusive) that have a user."""
        rows = np.arange(begin, min(end, len(self._ids)), dtype=np.int64)
        return rows[self.in_use(rows)]

    def in_use(self, rows: Rows) -> NDArray[np.bool_]:
        """Return a mask of the `rows` that have a user with a state."""
        return self._status.take(rows) != _FREE

    def load(self, partition: int, number: int, saved: Saved) -> Rows:
        """Load block `number`, except states older than those in memory; return the loaded rows.

        Hidden states of another size are not loaded: their rows are marked as having no release, and so are
        rebuilt from the recent items when their users next click. Users who only bought items have no state
        if bought items are not kept.
        """
        if self.bought is None and not saved.states.clicks.all():
            saved = saved.taken(np.flatnonzero(saved.states.clicks))
        self._add(partition, saved.user_ids)
        rows, states = self._found(partition, saved.user_ids), saved.states
        new = ~self.in_use(rows)
        newer = new | (states.offset >= self.read_column("offset", rows))
        void = states.offset < self.void_before(np.full(len(rows), partition, np.int32), saved.user_ids)
        self.free(rows[void & new])
        newer &= ~void
        rows, states, bought = rows[newer], states.taken(newer), saved.bought
        codes = np.append(self.item_codes.codes(saved.item_ids), np.int32(NO_ITEM))
        states.recent = Ring(codes[states.recent], states.clicks).resized(self.recent_items)
        if states.hidden.shape[1] != self.state_size:
            states.hidden = np.zeros((len(rows), self.state_size), np.float16)
            states.release[:] = NO_RELEASE
        states.session = np.minimum(states.session, states.ring.session_size).astype(np.int8)
        self.write(rows, states)
        if self.bought is not None:
            self.bought.put(rows, bought and Items(codes[bought.codes[newer]], bought.days[newer]))
        self.saved(rows, number)
        return rows

    def saved(self, rows: Rows, number: int) -> None:
        """Record that the current states of `rows` are in block `number` of their partition."""
        self._status.put(rows, _SAVED)
        self._block.put(rows, number)

    def changed(self, partition: int) -> Rows:
        """Return the rows of `partition` that changed since they were last saved."""
        columns = self._status, self._partition
        return where(lambda status, its: (status == _CHANGED) & (its == partition), *columns, rows=self.end)

    def are_changed(self, rows: Rows) -> NDArray[np.bool_]:
        """Return a mask of the `rows` that changed since they were last saved."""
        return self._status.take(rows) == _CHANGED

    def owned(self, partition: int) -> Rows:
        """Return the rows of `partition` that have a user."""
        columns = self._status, self._partition
        return where(lambda status, its: (status != _FREE) & (its == partition), *columns, rows=self.end)

    def longest_idle(self, count: int) -> Rows:
        """Return the `count` rows whose users have been inactive for the longest time (`active_ms`)."""
        rows = where(lambda status: status != _FREE, self._status, rows=self.end)
        if count >= len(rows):
            return rows
        return rows[np.argpartition(self.active_ms(rows), count)[:count]]

    def active_ms(self, rows: Rows) -> NDArray[np.int64]:
        """Return the time of each user's last click, or the end of the day of the last purchase if later."""
        clicked_ms: NDArray[np.int64] = self._columns["timestamp_ms"].take(rows)
        return clicked_ms if self.bought is None else np.maximum(clicked_ms, self.bought.last_ms(rows))

    def read_column(self, name: str, rows: Rows) -> NDArray[Any]:
        """Return a copy of one column of `rows`."""
        return self._columns[name].take(rows)

    def blocks(self, rows: Rows) -> NDArray[np.int32]:
        """Return the number of the block in which each of `rows` was last saved; 0 if never saved."""
        return self._block.take(rows)

    def partitions(self, rows: Rows) -> NDArray[np.int32]:
        """Return the partition of each of `rows`."""
        return self._partition.take(rows)

    def free(self, rows: Rows) -> None:
        """Evict the users of `rows` (no duplicates). Their memory is reused."""
        partitions = self.partitions(rows)
        for partition in np.unique(partitions).tolist():
            index = self._indexes[partition]
            for user_id in self.user_ids(rows[partitions == partition]):
                del index[user_id]
        self._release(rows.tolist())

    def forget(self, partition: int, user_id: str, before: int) -> bool:
        """Delete a user's data that stem from clicks with offsets below `before`.

        Return whether a state was deleted. Until `forgotten` is called, such data are also ignored when
        clicks are applied and when blocks are loaded.
        """
        void = self._void_before.setdefault(partition, {})
        void[user_id] = before = max(before, void.get(user_id, 0))
        row = self.find(partition, user_id)
        if row is None or self.read_column("offset", np.array([row]))[0] >= before:
            return False
        for column in self._columns.values():
            column.put(np.array([row]), 0)
        self.free(np.array([row]))
        return True

    def forgotten(self, partition: int, user_id: str) -> None:
        """End the effect of `forget`, once old data of the user can no longer be applied or loaded."""
        self._void_before.get(partition, {}).pop(user_id, None)

    def void_before(self, partitions: NDArray[np.int32], user_ids: Sequence[str]) -> NDArray[np.int64]:
        """Return, for each click, the offset below which its user's data are deleted, or `NO_OFFSET`."""
        if not any(self._void_before.values()):
            return np.full(len(user_ids), NO_OFFSET, np.int64)
        void, nobody = self._void_before, dict[str, int]()
        pairs = zip(partitions.tolist(), user_ids, strict=True)
        return np.array(
            [void.get(partition, nobody).get(user_id, NO_OFFSET) for partition, user_id in pairs], np.int64
        )

    def drop(self, partition: int) -> int:
        """Drop all rows of `partition` and return their number. Their memory is reused."""
        self._void_before.pop(partition, None)
        rows = list(self._indexes.pop(partition, {}).values())
        self._release(rows)
        return len(rows)

    def collect_items(self) -> None:
        """Take one step (a few ms) of the search for item codes that no row uses any more, and free them.

        Call this repeatedly between batches; most calls have nothing to do. Without it, memory would grow
        without limit, because clicks may have any number of unknown item ids.
        """
        codes = self.item_codes
        if codes.begin_collection():
            slabs, used = self._columns["recent"].slabs, len(self._ids)
            rows = [slabs[base // len(slabs[0])][: used - base] for base in range(0, used, len(slabs[0]))]
            sparse = [codes for table in self._sparse for codes in table.named()]
            self._unseen = [
                named[at : at + _LOOKED_AT]
                for named in (*rows, *sparse, *codes.roots)
                for at in range(0, len(named), _LOOKED_AT)
            ]
        if codes.collecting and self._unseen:
            codes.keep(self._unseen.pop().ravel())
        elif codes.collecting:
            codes.sweep()

    def _found(self, partition: int, user_ids: Sequence[str]) -> Rows:
        """Return the rows of users. Raises KeyError if a user has no row."""
        index = self._indexes.get(partition, {})
        return np.fromiter(map(index.__getitem__, user_ids), np.int64, len(user_ids))

    def _add(self, partition: int, user_ids: Iterable[str]) -> list[str]:
        """Assign a row to each user without a row; return the ids of these new users."""
        index = self._indexes.setdefault(partition, {})
        new = [user_id for user_id in dict.fromkeys(user_ids) if user_id not in index]
        if not new:
            return new
        self._id_bytes += sum(map(getsizeof, new))
        kept = max(0, len(self._free) - len(new))
        rows = self._free[kept:]
        del self._free[kept:]
        for row, user_id in zip(rows, new, strict=False):
            self._ids[row] = user_id
        begin = len(self._ids)
        self._ids.extend(new[len(rows) :])
        for column in self._all:
            column.reserve(len(self._ids))
            column.put(np.array(rows, np.int64), 0)
        rows += range(begin, len(self._ids))
        self._partition.put(np.array(rows, np.int64), partition)
        index.update(zip(new, rows, strict=True))
        return new

    def _release(self, rows: list[int]) -> None:
        # The other columns are cleared when the rows are reused; clearing all columns now would pause the
        # worker.
        for row in rows:
            self._id_bytes -= getsizeof(self._ids[row])
            self._ids[row] = ""
        if rows:
            freed = np.array(rows, np.int64)
            self._status.put(freed, _FREE)
            for table in self._sparse:
                table.release(freed)
        self._free.extend(rows)
