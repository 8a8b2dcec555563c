"""The pace of the loop: poll timeout, batch size, and time for background work."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from worker.checkpoint import Checkpoint
from worker.kafka.interface import MAX_BATCH
from worker.partitions.partition import Status
from worker.partitions.recovery import Recovery
from worker.partitions.table import PartitionTable
from worker.releases.adoption import Adoption

IDLE_POLL_MS: Final = 250
"""Maximum wait of a poll, and therefore the maximum delay until the loop notices a stop request."""

LOADING_POLL_MS: Final = 10
"""Maximum wait of a poll while state blocks are loading."""

LOAD_SECONDS: Final = 0.02
"""Time per round for loading blocks while other partitions are served."""

LOAD_ALONE_SECONDS: Final = 0.2
"""Time per round for loading blocks while no partition is served."""

REBUILD_SECONDS: Final = 0.02
"""Time for rebuilding states of older releases in a round without clicks."""

REBUILD_MEANWHILE_SECONDS: Final = 0.001
"""Time for rebuilding states of older releases in a round with clicks."""

BUSY_PARTS: Final = 4
"""Background work pauses when a poll returns at least 1/BUSY_PARTS of the batch limit."""

_FIRST_BATCH: Final = 250
_MIN_BATCH: Final = 64
"""Minimum batch size, in clicks: a matrix product of fewer rows costs more per row."""


class Pace:
    """Chooses poll timeout, batch size and background time from pending work and recent batch durations."""

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
        """Maximum number of records that the next poll returns."""
        self.served = _FIRST_BATCH
        """The same, as learned from batches whose clicks were all answered."""
        self._clicks = 0

    def wait_ms(self) -> int:
        """Return the timeout of the next poll, in milliseconds."""
        if self._recovery.loading:
            return LOADING_POLL_MS if self._table.served() and not self._recovery.waiting else 0
        if self._adoption.rebuilding:
            return 0
        if not self._checkpoint.needed:
            return IDLE_POLL_MS
        return min(max(0, int(self._checkpoint.left_seconds() * 1000)), IDLE_POLL_MS)

    @contextmanager
    def measured(self, records: int, *, replayed: bool = False) -> Iterator[None]:
        """Time the processing of a batch, and adapt the batch size to the commit interval.

        `replayed`: whether clicks were replayed. That takes a small part of the time that answers take, so
        the size of such batches ends with the replay.
        """
        began, self._clicks = self._steady(), 0
        yield
        seconds, within = self._steady() - began, self._checkpoint.interval_seconds
        self.records = fitting(records, self._clicks, seconds, within=within)
        if not replayed:
            self.served = self.records
        elif not self._table.at(Status.REPLAYING):
            self.records = min(self.records, self.served)

    def count(self, clicks: int) -> None:
        """Add to the number of clicks in the batch that is being measured."""
        self._clicks += clicks

    def spare_seconds(self, came: int) -> float:
        """Return the seconds for background work after a poll that returned `came` records."""
        if came * BUSY_PARTS >= self.records:
            return 0.0
        return REBUILD_MEANWHILE_SECONDS if came else REBUILD_SECONDS

    def load_seconds(self) -> tuple[float, float]:
        """Return the seconds for loading blocks, and the seconds to wait for the first block."""
        if self._table.served():
            return LOAD_SECONDS, 0.0
        return LOAD_ALONE_SECONDS, IDLE_POLL_MS / 1000 if self._recovery.loading else 0.0


def fitting(records: int, clicks: int, seconds: float, *, within: float) -> int:
    """Return the number of records that take about `within` seconds.

    The last batch had `records` records with `clicks` clicks and took `seconds`. In a larger batch, each
    click costs less, but all clicks wait longer. With a few thousand items, a batch may have thousands of
    clicks; with a million items, it has dozens. The result is limited to 64 to 4,000 clicks, but is at least
    one record.

    >>> fitting(100, 100, 0.01, within=0.2), fitting(100, 100, 0.001, within=0.2)
    (2000, 4000)
    >>> fitting(100, 0, 5, within=0.2), fitting(100, 390_000, 40, within=0.2)
    (64, 1)
    """
    rows = max(clicks, records)
    fit = max(_MIN_BATCH, min(MAX_BATCH, int(rows * within / max(seconds, 1e-6))))
    return max(1, fit * records // rows)
