"""The log of one partition: offsets, transactions and their marks, the last stable offset (KIP-98)."""

from __future__ import annotations

from enum import Enum, auto
from typing import NamedTuple

from worker.kafka.interface import Unreadable


class MemoryRecord(NamedTuple):
    """As `worker.kafka.interface.Record`."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]
    unreadable: Unreadable | None = None


class Outcome(Enum):
    """The end of a transaction."""

    OPEN = auto()
    COMMITTED = auto()
    ABORTED = auto()


class Transaction:
    """The records and offsets of one producer between two commits, in all partitions."""

    __slots__ = ("began_ms", "logs", "offsets", "outcome")

    def __init__(self, began_ms: int) -> None:
        self.began_ms = began_ms
        self.outcome = Outcome.OPEN
        self.logs: set[PartitionLog] = set()
        """Where it has records."""
        self.offsets: dict[tuple[str, str, int], int] = {}
        """By group, topic and partition: the offset to be committed."""


class PartitionLog:
    """The records of one partition. A mark takes an offset, and so does what compaction removed."""

    def __init__(self, topic: str, partition: int) -> None:
        self.topic = topic
        self.partition = partition
        self.start = 0
        """The first offset that is not deleted."""
        self._base = 0
        self._slots: list[tuple[MemoryRecord | None, Transaction | None]] = []
        self._open: dict[Transaction, int] = {}
        """The first offset of each transaction that is open here."""

    @property
    def end(self) -> int:
        """The high-water mark: the offset of the next record."""
        return self._base + len(self._slots)

    @property
    def stable(self) -> int:
        """The last stable offset: before the first record of any transaction that is open."""
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
        """Add a stretch of `offsets` that no client can decode; return its first offset."""
        first = self.end
        self._slots += [(None, None)] * (offsets - 1)
        lost = Unreadable(first, why)
        record = MemoryRecord(self.topic, self.partition, self.end, timestamp, None, data, (), lost)
        self._slots.append((record, None))
        return first

    def mark(self, transaction: Transaction) -> None:
        """Add the mark that a transaction has ended."""
        self._slots.append((None, None))
        del self._open[transaction]

    def read(self, offset: int, at_most: int, *, committed: bool) -> tuple[list[MemoryRecord], int]:
        """Return the next records from `offset` on, and the offset to go on at.

        From the start where `offset` is out of range, as with auto_offset_reset `earliest`.
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
        """Keep the newest record of each key alone, and drop aborted records.

        With `tombstones`, records without a value go too. Records after the last stable offset stay.
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
    """Return the stretch as a reader has it that begins within."""
    return lost._replace(first=max(lost.first, offset))
