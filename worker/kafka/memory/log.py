"""The log of a partition: offsets, transactions and their markers, the last stable offset (KIP-98)."""

from __future__ import annotations

from enum import Enum, auto
from typing import NamedTuple

from worker.kafka.interface import Unreadable


class MemoryRecord(NamedTuple):
    """Implements `worker.kafka.interface.Record`."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]
    unreadable: Unreadable | None = None


class Outcome(Enum):
    """The state of a transaction."""

    OPEN = auto()
    COMMITTED = auto()
    ABORTED = auto()


class Transaction:
    """A transaction: its records and offsets in all partitions."""

    __slots__ = ("began_ms", "logs", "offsets", "outcome")

    def __init__(self, began_ms: int) -> None:
        self.began_ms = began_ms
        self.outcome = Outcome.OPEN
        self.logs: set[PartitionLog] = set()
        """The logs that hold records of the transaction."""
        self.offsets: dict[tuple[str, str, int], int] = {}
        """The offsets to be committed, by group, topic and partition."""


class PartitionLog:
    """The records of a partition. Markers, and records that compaction removed, also occupy offsets."""

    def __init__(self, topic: str, partition: int) -> None:
        self.topic = topic
        self.partition = partition
        self.start = 0
        """The earliest offset that is not deleted."""
        self._base = 0
        self._slots: list[tuple[MemoryRecord | None, Transaction | None]] = []
        self._open: dict[Transaction, int] = {}
        """The first offset of each open transaction in this partition."""

    @property
    def end(self) -> int:
        """The high-water mark: the offset of the next record."""
        return self._base + len(self._slots)

    @property
    def stable(self) -> int:
        """The last stable offset: the lowest offset of any open transaction; the end if none is open."""
        return min(self._open.values()) if self._open else self.end

    def append(
        self,
        *,
        timestamp: int,
        key: bytes | None,
        value: bytes | None,
        headers: tuple[tuple[str, bytes | None], ...],
        transaction: Transaction | None = None,
    ) -> int:
        """Add a record; return its offset."""
        offset = self._base + len(self._slots)
        record = MemoryRecord(self.topic, self.partition, offset, timestamp, key, value, headers)
        self._slots.append((record, transaction))
        if transaction is not None and transaction not in self._open:
            self._open[transaction] = offset
            transaction.logs.add(self)
        return offset

    def append_unreadable(self, *, offsets: int, timestamp: int, data: bytes, why: str) -> int:
        """Add a range of offsets that no client can decode; return its first offset."""
        first = self.end
        self._slots += [(None, None)] * (offsets - 1)
        lost = Unreadable(first, why)
        record = MemoryRecord(self.topic, self.partition, self.end, timestamp, None, data, (), lost)
        self._slots.append((record, None))
        return first

    def mark(self, transaction: Transaction) -> None:
        """Add the marker of a transaction's end."""
        self._slots.append((None, None))
        del self._open[transaction]

    def read(self, offset: int, at_most: int, *, committed: bool) -> tuple[list[MemoryRecord], int]:
        """Return the next records from `offset`, and the next offset to read.

        If `offset` is out of range, reading starts at the start of the log (auto_offset_reset `earliest`).
        """
        at = offset if self.start <= offset <= self.end else self.start
        end = self.stable if committed else self.end
        found: list[MemoryRecord] = []
        while at < end and len(found) < at_most:
            record, transaction = self._slots[at - self._base]
            at += 1
            if record is None:
                continue
            if record.unreadable is not None:
                found.append(record._replace(unreadable=_from(record.unreadable, offset)))
            elif not committed or transaction is None or transaction.outcome is Outcome.COMMITTED:
                found.append(record)
        return found, at

    def delete_before(self, offset: int) -> None:
        """Delete the records before `offset`, as retention does."""
        self.start = max(self.start, min(offset, self.end))
        del self._slots[: self.start - self._base]
        self._base = self.start

    def compact(self, *, tombstones: bool) -> None:
        """Keep only the newest record of each key, and drop aborted records.

        With `tombstones`, also remove records without a value. Records after the last stable offset stay.
        """
        stable = self.stable
        newest: dict[bytes | None, int] = {}
        for kept in self.read(self.start, len(self._slots), committed=True)[0]:
            newest[kept.key] = kept.offset if kept.unreadable is None else newest.get(kept.key, -1)
        for place in range(stable - self._base):
            record, transaction = self._slots[place]
            if record is None or record.unreadable is not None:
                continue
            old = newest.get(record.key) != record.offset
            if old or (tombstones and record.value is None):
                self._slots[place] = (None, transaction)


def _from(lost: Unreadable, offset: int) -> Unreadable:
    """Return an unreadable range as seen by a reader that starts at `offset`."""
    return lost._replace(first=max(lost.first, offset))
