"""The pace of the loop: how long a poll waits, how much it brings, and what is done in between."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from worker.checkpoint import Checkpoint
from worker.kafka.interface import MAX_BATCH
from worker.partitions.recovery import Recovery
from worker.partitions.table import PartitionTable
from worker.releases.adoption import Adoption

IDLE_POLL_MS: Final = 250
"""The longest that a poll waits: how late a stop may be noticed."""

LOADING_POLL_MS: Final = 10
"""The same where blocks may come any moment."""

LOAD_SECONDS: Final = 0.02
"""The time for loading blocks in one round while other partitions wait to be served."""

LOAD_ALONE_SECONDS: Final = 0.2
"""The same where none does."""

REBUILD_SECONDS: Final = 0.02
"""The time for rebuilding states of another release in one round without clicks."""

REBUILD_MEANWHILE_SECONDS: Final = 0.001
"""The same where clicks did."""

BUSY_PARTS: Final = 4
"""Background work stops when a poll returns more than one part in this many of the batch limit."""

_FIRST_BATCH: Final = 250
_MIN_BATCH: Final = 64
"""A matrix product of fewer rows costs more per row."""


class Pace:
    """Decides by what there is to do, and by how long the last batches took."""

    def __init__(
        self,
        table: PartitionTable,
        recovery: Recovery,
        adoption: Adoption,
        checkpoint: Checkpoint,
        *,
        steady: Callable[[], float],
    ) -> None:
        self._table = table
        self._recovery = recovery
        self._adoption = adoption
        self._checkpoint = checkpoint
        self._steady = steady
        self.records = _FIRST_BATCH
        """The number of records that the next poll may bring."""

    def wait_ms(self) -> int:
        """Return how long the next poll may wait."""
        if self._recovery.loading:
            return LOADING_POLL_MS if self._table.served() and not self._recovery.waiting else 0
        if self._adoption.rebuilding:
            return 0
        if not self._checkpoint.needed:
            return IDLE_POLL_MS
        return min(max(0, int(self._checkpoint.left_seconds() * 1000)), IDLE_POLL_MS)

    @contextmanager
    def measured(self, records: int) -> Iterator[None]:
        """Time the walk of a batch, and fit the next one into the commit interval."""
        began = self._steady()
        yield
        self.records = fitting(records, self._steady() - began, within=self._checkpoint.interval_seconds)

    def spare_seconds(self, came: int) -> float:
        """Return how long background work may take after a poll that brought `came` records."""
        if came * BUSY_PARTS >= self.records:
            return 0.0
        return REBUILD_MEANWHILE_SECONDS if came else REBUILD_SECONDS

    def load_seconds(self) -> tuple[float, float]:
        """Return how long blocks may be loaded, and how long the first of them may be waited for."""
        if self._table.served():
            return LOAD_SECONDS, 0.0
        return LOAD_ALONE_SECONDS, IDLE_POLL_MS / 1000 if self._recovery.loading else 0.0


def fitting(records: int, seconds: float, *, within: float) -> int:
    """Return how many records can be walked `within` some seconds where `records` took `seconds`.

    The more records a batch has, the less each costs, and the longer all of them wait: with a few thousand
    items a batch may have thousands, with a million some dozens.

    >>> fitting(100, 0.01, within=0.2), fitting(100, 0.001, within=0.2), fitting(100, 5, within=0.2)
    (2000, 4000, 64)
    """
    return max(_MIN_BATCH, min(MAX_BATCH, int(records * within / max(seconds, 1e-6))))
