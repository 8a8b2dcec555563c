"""A client's positions in its partitions, paused partitions, and the order of reading."""

from __future__ import annotations

from collections.abc import Collection

from worker.kafka.interface import TopicPartition
from worker.kafka.memory.broker import Process
from worker.kafka.memory.log import MemoryRecord


class Cursor:
    """The read positions of one client."""

    def __init__(self, *, committed: bool) -> None:
        self._committed = committed
        self._positions: dict[TopicPartition, int | None] = {}
        """The position of each partition, in the order of reading; None if not known yet."""
        self._paused: set[TopicPartition] = set()

    @property
    def assigned(self) -> Collection[TopicPartition]:
        """The assigned partitions."""
        return self._positions.keys()

    @property
    def read_now(self) -> Collection[TopicPartition]:
        """The partitions that are not paused, and whose positions are known."""
        return [
            at for at, position in self._positions.items() if position is not None and at not in self._paused
        ]

    def assign(self, partitions: Collection[TopicPartition]) -> None:
        """Read exactly these partitions; partitions assigned before keep their positions."""
        self._positions = {at: self._positions.get(at) for at in partitions}
        self._paused &= self._positions.keys()

    def unknown(self) -> list[TopicPartition]:
        """Return the partitions without a position."""
        return [at for at, position in self._positions.items() if position is None]

    def position(self, at: TopicPartition) -> int:
        """Return the next offset to read; 0 if unknown."""
        return self._positions[at] or 0

    def seek(self, at: TopicPartition, offset: int) -> None:
        """Set the position of an assigned partition."""
        if at not in self._positions:
            raise ValueError(f"{at} is not assigned")
        self._positions[at] = offset

    def pause(self, partitions: Collection[TopicPartition]) -> None:
        """Stop reading some assigned partitions."""
        self._paused.update(at for at in partitions if at in self._positions)

    def resume(self, at: TopicPartition) -> None:
        """Resume reading an assigned partition."""
        self._paused.discard(at)

    def read(self, process: Process, at_most: int) -> dict[TopicPartition, list[MemoryRecord]]:
        """Return up to `at_most` next records by partition, and advance the positions.

        Partitions that were read move to the end of the order. Raises TopicAuthorizationFailedError.
        """
        found: dict[TopicPartition, list[MemoryRecord]] = {}
        for at, position in list(self._positions.items()):
            if position is None or at in self._paused:
                continue
            process.rights.require("topic", at.topic, "READ")
            records, following = process.broker.log(*at).read(position, at_most, committed=self._committed)
            if records:
                found[at] = records
                del self._positions[at]
                at_most -= len(records)
            self._positions[at] = following
            if at_most <= 0:
                break
        return found
