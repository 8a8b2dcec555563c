"""A reader of a cluster in memory. Raises kafka-python's errors: used inside `Connection.errors`."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from worker.errors import NotStable
from worker.kafka.interface import ANSWER_MS, Record, TopicPartition
from worker.kafka.memory.broker import Process
from worker.kafka.memory.cursor import Cursor


class MemoryReader:
    """As `worker.kafka.interface.Reader`."""

    def __init__(self, process: Process, *, group: str | None, committed: bool, at_most: int) -> None:
        self._process = process
        self._group = group
        self._committed = committed
        self._at_most = at_most
        self._cursor = Cursor(committed=committed)
        with process.broker.lock:
            process.live().reach()

    def assign(self, partitions: Collection[TopicPartition]) -> None:
        """Read these partitions and no others; those that it read before keep their positions."""
        self._process.live()
        self._cursor.assign(partitions)

    def seek(self, at: TopicPartition, offset: int) -> None:
        """Read an assigned partition from `offset` on; from its first record where that is gone."""
        self._process.live()
        self._cursor.seek(at, offset)

    def pause(self, partitions: Collection[TopicPartition]) -> None:
        """Read no more of some assigned partitions."""
        self._process.live()
        self._cursor.pause(partitions)

    def poll(self, timeout_ms: int) -> Mapping[TopicPartition, Sequence[Record]]:
        """Return the next records by partition, in order. Never waits."""
        with self._process.broker.lock:
            broker = self._process.live()
            if broker.away:
                return {}
            for at in self._cursor.unknown():
                self._begin(at)
            return self._cursor.read(broker, self._at_most)

    def position(self, at: TopicPartition, *, timeout_ms: int = ANSWER_MS) -> int:
        """Return the next offset to be read: past the marks of transactions, too. 0 where it is not known."""
        with self._process.broker.lock:
            broker = self._process.live()
            if not broker.away and at in self._cursor.unknown():
                self._begin(at)
            return self._cursor.position(at)

    def begins(self, partitions: Collection[TopicPartition]) -> dict[TopicPartition, int]:
        """Return the first offset that each partition still has."""
        with self._process.broker.lock:
            broker = self._process.live()
            broker.reach()
            return {at: broker.written(*at).start for at in partitions}

    def ends(self, partitions: Collection[TopicPartition]) -> dict[TopicPartition, int]:
        """Return each high-water mark; for a reader of committed records the last stable offset."""
        with self._process.broker.lock:
            broker = self._process.live()
            broker.reach()
            logs = {at: broker.written(*at) for at in partitions}
            return {at: log.stable if self._committed else log.end for at, log in logs.items()}

    def committed(self, at: TopicPartition, *, timeout_ms: int = ANSWER_MS) -> int | None:
        """Return the offset that the group has committed; None if it has none.

        A reader of committed records raises NotStable while it may change (KIP-447).
        """
        with self._process.broker.lock:
            broker = self._process.live()
            broker.reach()
            if self._group is None:
                raise ValueError("a reader without a group has no committed offsets")
            group = broker.group(self._group)
            if self._committed and group.pending.get((at.topic, at.partition)):
                raise NotStable(f"the last transaction of partition {at.partition} is still open")
            return group.offsets.get((at.topic, at.partition))

    def partitions(self, topic: str) -> set[int]:
        """Return the numbers of a topic's partitions; none where there is no such topic."""
        with self._process.broker.lock:
            broker = self._process.live()
            broker.reach()
            return set(range(broker.partitions(topic)))

    def close(self) -> None:
        """Drop the connection."""
        self._cursor.assign(())

    def _begin(self, at: TopicPartition) -> None:
        """Begin where the group has committed, or at the first record, as a consumer without a position."""
        try:
            committed = self.committed(at) if self._group else None
        except NotStable:
            return
        self._cursor.seek(at, self._process.broker.log(*at).start if committed is None else committed)
