"""Flush: saves the changed rows of a partition, and moves the current rows of mostly outdated blocks.

The state topic is a log: a block is never rewritten, and its rows move to new blocks as they change (a
log-structured store, Rosenblum and Ousterhout 1992). So the bytes written depend on the number of active
users, not on the number of all users. When fewer than half of the rows of a block are current, these rows are
moved to a new block and the old block is dropped.

>>> states, ledger = States(state_size=4), Ledger()
>>> rows, lamp = states.rows(0, ["ada", "bob"]), states.item_codes.codes(["lamp"])
>>> states.write(rows, replace(states.read(rows), clicks=np.array([1, 1], np.int32)))
>>> flush = Flush(states, ledger, partition=0)
>>> [(number, len(value) > 100) for number, value in flush.next_blocks(at_most=9)], flush.done
([(1, True)], True)
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace  # noqa: F401  # for the doctest
from typing import Final

import numpy as np
from numpy.typing import NDArray

from worker.core import blocks
from worker.core.slabs import Rows
from worker.core.states import States
from worker.core.user_states import Saved

SMALL_BLOCKS: Final = 16
"""Maximum number of blocks that are at most half full; if there are more, these blocks are merged. Small
blocks arise when there are few clicks.
"""


class Ledger:
    """The blocks of one partition, with their sizes and their rows."""

    def __init__(self) -> None:
        self.sizes: dict[int, int] = {}
        """By block number: the number of rows."""
        self.bytes: dict[int, int] = {}
        """By block number: the length of the value, in bytes."""
        self._rows: dict[int, NDArray[np.int32]] = {}
        """By block number: the rows that the block may still hold, so that dropping the block checks only
        these rows.
        """
        self._lowest = 1

    def __len__(self) -> int:
        return len(self.sizes)

    def load(self, states: States, partition: int, number: int, saved: Saved) -> int:
        """Load and register block `number` during recovery; return how many of its rows were loaded."""
        self.drop(states, partition, number)
        rows = states.load(partition, number, saved)
        self.add(number, rows, size=len(saved.user_ids), size_bytes=saved.size_bytes)
        return len(rows)

    def drop(self, states: States, partition: int, number: int) -> None:
        """Apply a block's tombstone during recovery: free the rows whose latest state is in the block."""
        if number in self.sizes:
            rows = self.remove(number).astype(np.int64)
            held = (states.blocks(rows) == number) & (states.partitions(rows) == partition)
            states.free(rows[held & states.in_use(rows)])

    def add(self, number: int, rows: Rows, *, size: int, size_bytes: int) -> None:
        """Register a block that was written or read: it has `size` rows, of which `rows` are current."""
        self.sizes[number], self.bytes[number] = size, size_bytes
        self._rows[number] = rows.astype(np.int32)

    def remove(self, number: int) -> NDArray[np.int32]:
        """Remove a block; return the rows that it may still hold."""
        del self.sizes[number], self.bytes[number]
        self._lowest = min(self._lowest, number)
        return self._rows.pop(number)

    def new_number(self) -> int:
        """Return the lowest unused block number. The numbers of dropped blocks are reused."""
        while self._lowest in self.sizes:
            self._lowest += 1
        return self._lowest


class Flush:
    """One flush of one partition, written a few blocks at a time.

    A row is saved as it is when its block is written, so it may include clicks from after the start of the
    flush. Rows that first change after the start are left to the next flush. `condemned`: blocks to drop even
    if most of their rows are current.
    """

    def __init__(
        self, states: States, ledger: Ledger, *, partition: int, condemned: Collection[int] = ()
    ) -> None:
        self._states = states
        self._ledger = ledger
        self._partition = partition
        self.tombstones: list[int] = []
        """The blocks to drop once the last new block is written."""
        self._parts: list[Rows] = []
        self._closed = False
        self._plan(condemned)

    @property
    def blocks_left(self) -> int:
        """The approximate number of blocks still to be written."""
        return len(self._parts)

    @property
    def done(self) -> bool:
        """Whether all blocks have been returned."""
        return not self._parts

    def next_blocks(self, at_most: int) -> list[tuple[int, bytes]]:
        """Return number and value of about `at_most` new blocks. After the last block, `done` is True."""
        parts, self._parts = self._parts[:at_most], self._parts[at_most:]
        written = [block for rows in parts for block in self._blocks(self._still_there(rows))]
        if self.done and not self._closed:
            self._closed = True
            for number in self.tombstones:
                self._ledger.remove(number)
        return written

    def _plan(self, condemned: Collection[int]) -> None:
        states, ledger = self._states, self._ledger
        owned = states.owned(self._partition)
        moving = states.are_changed(owned)
        changed, block = owned[moving], states.blocks(owned)
        numbers = np.array(sorted(ledger.sizes), np.int64)
        current = np.bincount(block[~moving], minlength=int(numbers.max(initial=0)) + 1)[numbers]
        dropped = numbers[self._hollow(numbers, current) | np.isin(numbers, list(condemned))]
        taken_along = owned[~moving & np.isin(block, dropped)]
        self.tombstones = dropped.tolist()
        # Rows that will change soon are put into the same blocks. Users with many clicks will soon click
        # again, so their blocks soon become outdated as a whole. Moved rows belong to users who have been
        # inactive for long, so these rows share other blocks.
        clicks = states.read_column("clicks", changed)
        for rows in (changed[np.argsort(-clicks, kind="stable")], taken_along):
            self._parts += _divided(rows, self._rows_per_block())

    def _hollow(self, numbers: NDArray[np.int64], current: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return a mask of the blocks to drop, given the number of current rows in each block."""
        sizes, size_bytes = (
            np.array([of[number] for number in numbers.tolist()], np.int64)
            for of in (self._ledger.sizes, self._ledger.bytes)
        )
        hollow = 2 * current < sizes
        # Size in bytes matters, too: a block that was split because of long ids has few rows, but is not
        # small. Each half has about half of the maximum size; the limit of a third keeps the halves from
        # being merged again.
        filled = current * size_bytes / np.maximum(1, sizes)
        small = ~hollow & (2 * current <= self._rows_per_block()) & (3 * filled <= blocks.MAX_BYTES)
        return hollow | small if np.count_nonzero(small) > SMALL_BLOCKS else hollow

    def _rows_per_block(self) -> int:
        states = self._states
        about = 2 * states.state_size + 14 * states.recent_items + 80
        return max(1, min(blocks.MAX_ROWS, blocks.MAX_BYTES // about))

    def _still_there(self, rows: Rows) -> Rows:
        """Return those of `rows` that this partition still uses: some users may have been deleted by now."""
        mine = self._states.partitions(rows) == self._partition
        return rows[mine & self._states.in_use(rows)]

    def _blocks(self, rows: Rows) -> list[tuple[int, bytes]]:
        if not len(rows):
            return []
        value = blocks.encode(self._states, rows)
        if len(value) > blocks.MAX_BYTES and len(rows) > 1:
            half = len(rows) // 2
            return [*self._blocks(rows[:half]), *self._blocks(rows[half:])]
        number = self._ledger.new_number()
        self._ledger.add(number, rows, size=len(rows), size_bytes=len(value))
        self._states.saved(rows, number)
        return [(number, value)]


def _divided(rows: Rows, at_most: int) -> list[Rows]:
    """Divide `rows` into as few parts as possible, of nearly equal size and at most `at_most` rows."""
    return np.array_split(rows, -(-len(rows) // at_most)) if len(rows) else []
