"""A reader of the in-memory cluster. Raises kafka-python's errors; used inside `Connection.errors`."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from worker.errors import NotStable
from worker.kafka.interface import ANSWER_MS, Record, TopicPartition
from worker.kafka.memory.broker import Process
from worker.kafka.memory.cursor import Cursor


class MemoryReader:
    """Implements `worker.kafka.interface.Reader`."""

    def __init__(self, process: Process, *, group: str | None, committed: bool, at_most: int) -> None:
        self._process = process
        self._group = group
        self._committed = committed
        self._at_most = at_most
        self._cursor = Cursor(committed=committed)
        with process.broker.lock:
            process.live().reach()

    def assign(self, partitions: Collection[TopicPartition]) -> None:
        """Read exactly these partitions; partitions assigned before keep their positions."""
        self._process.live()
        self._cursor.assign(partitions)

    def seek(self, at: TopicPartition, offset: int) -> None:
        """Read an assigned partition from `offset`, or from its first record if the offset was deleted."""
        self._process.live()
        self._cursor.seek(at, offset)

    def pause(self, partitions: Collection[TopicPartition]) -> None:
        """Stop reading some assigned partitions."""
        self._process.live()
        self._cursor.pause(partitions)

    def poll(self, timeout_ms: int) -> Mapping[TopicPartition, Sequence[Record]]:
        """Return the next records by partition, in order, without waiting."""
        with self._process.broker.lock:
            broker = self._process.live()
            if broker.away:
                return {}
            for at in self._cursor.unknown():
                self._begin(at)
            return self._cursor.read(self._process, self._at_most)

    def position(self, at: TopicPartition, *, timeout_ms: int = ANSWER_MS) -> int:
        """Return the next offset to read, past any transaction markers; 0 if unknown."""
        with self._process.broker.lock:
            broker = self._process.live()
            if not broker.away and at in self._cursor.unknown():
                self._begin(at)
            return self._cursor.position(at)

    def begins(self, partitions: Collection[TopicPartition]) -> dict[TopicPartition, int]:
        """Return the earliest offset of each partition."""
        with self._process.broker.lock:
            broker = self._process.live()
            broker.reach()
            self._must_see(partitions)
            return {at: broker.written(*at).start for at in partitions}

    def ends(self, partitions: Collection[TopicPartition]) -> dict[TopicPartition, int]:
        """Return the end of each partition.

        A reader of committed records returns the last stable offset, other readers the high-water mark.
        """
        with self._process.broker.lock:
            broker = self._process.live()
            broker.reach()
            self._must_see(partitions)
            logs = {at: broker.written(*at) for at in partitions}
            return {at: log.stable if self._committed else log.end for at, log in logs.items()}

    def committed(self, at: TopicPartition, *, timeout_ms: int = ANSWER_MS) -> int | None:
        """Return the committed offset of the group; None if the group has not committed any.

        A reader of committed records raises NotStable while the offset may change (KIP-447).
        """
        with self._process.broker.lock:
            broker = self._process.live()
            broker.reach()
            if self._group is None:
                raise ValueError("a reader without a group has no committed offsets")
            self._process.rights.require("group", self._group, "DESCRIBE")
            self._must_see([at])
            group = broker.group(self._group)
            if self._committed and group.pending.get((at.topic, at.partition)):
                raise NotStable(f"the last transaction of partition {at.partition} is still open")
            return group.offsets.get((at.topic, at.partition))

    def partitions(self, topic: str) -> set[int]:
        """Return the partition numbers of a topic; empty if the topic does not exist."""
        with self._process.broker.lock:
            broker = self._process.live()
            broker.reach()
            visible = self._process.rights.allows("topic", topic, "DESCRIBE")
            return set(range(broker.partitions(topic))) if visible else set()

    def close(self) -> None:
        """Close the connection."""
        self._cursor.assign(())

    def _must_see(self, partitions: Collection[TopicPartition]) -> None:
        for at in partitions:
            self._process.rights.require("topic", at.topic, "DESCRIBE")

    def _begin(self, at: TopicPartition) -> None:
        """Set the initial position: the group's committed offset, else the start of the log."""
        try:
            committed = self.committed(at) if self._group else None
        except NotStable:
            return
        self._must_see([at])
        self._cursor.seek(at, self._process.broker.log(*at).start if committed is None else committed)
