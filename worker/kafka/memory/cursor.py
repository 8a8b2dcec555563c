"""Positions of a client in the partitions that it reads, pauses, and whose turn it is."""

from __future__ import annotations

from collections.abc import Collection

from worker.kafka.interface import TopicPartition
from worker.kafka.memory.broker import Broker
from worker.kafka.memory.log import MemoryRecord


class Cursor:
    """The positions of one client."""

    def __init__(self, *, committed: bool) -> None:
        self._committed = committed
        self._positions: dict[TopicPartition, int | None] = {}
        """In the order in which they are read next; None where none is known yet."""
        self._paused: set[TopicPartition] = set()

    @property
    def assigned(self) -> Collection[TopicPartition]:
        """The partitions that are read."""
        return self._positions.keys()

    @property
    def read_now(self) -> Collection[TopicPartition]:
        """Those that are not paused, and whose positions are known."""
        return [
            at for at, position in self._positions.items() if position is not None and at not in self._paused
        ]

    def assign(self, partitions: Collection[TopicPartition]) -> None:
        """Read these and no others; those that were read before keep their positions."""
        self._positions = {at: self._positions.get(at) for at in partitions}
        self._paused &= self._positions.keys()

    def unknown(self) -> list[TopicPartition]:
        """Return the partitions without a position."""
        return [at for at, position in self._positions.items() if position is None]

    def position(self, at: TopicPartition) -> int:
        """Return the next offset to be read; 0 if it is not known."""
        return self._positions[at] or 0

    def seek(self, at: TopicPartition, offset: int) -> None:
        """Go on at `offset` in an assigned partition."""
        if at not in self._positions:
            raise ValueError(f"{at} is not assigned")
        self._positions[at] = offset

    def pause(self, partitions: Collection[TopicPartition]) -> None:
        """Read no more of some assigned partitions."""
        self._paused.update(at for at in partitions if at in self._positions)

    def resume(self, at: TopicPartition) -> None:
        """Read an assigned partition again."""
        self._paused.discard(at)

    def read(self, broker: Broker, at_most: int) -> dict[TopicPartition, list[MemoryRecord]]:
        """Return the next records by partition, and go past them; the partition read last comes last next."""
        found: dict[TopicPartition, list[MemoryRecord]] = {}
        for at, position in list(self._positions.items()):
            if position is None or at in self._paused:
                continue
            records, following = broker.log(*at).read(position, at_most, committed=self._committed)
            if records:
                found[at] = records
                del self._positions[at]
                at_most -= len(records)
            self._positions[at] = following
            if at_most <= 0:
                break
        return found
