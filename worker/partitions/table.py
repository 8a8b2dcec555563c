"""The table of partitions: which partitions this worker has, and the state of each.

An aborted transaction counts as a crash of its partitions (rule e): they are dropped, with their rows, and
recovered.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from worker.core.quality import Quality
from worker.core.states import States
from worker.errors import CheckpointFailed
from worker.kafka.interface import Record
from worker.partitions.follower import StateFollower
from worker.partitions.partition import Partition, RecoveryProgress, Status


class PartitionTable:
    """Owns the partitions that are assigned to this worker, by number."""

    def __init__(
        self, states: States, quality: Quality, follower: StateFollower, *, steady: Callable[[], float]
    ) -> None:
        self._states = states
        self._quality = quality
        self._follower = follower
        self._steady = steady
        self._partitions: dict[int, Partition] = {}
        self.waits_for = ""
        """The reason why recovery is blocked at the moment; empty if it is not blocked."""

    def __contains__(self, number: int) -> bool:
        return number in self._partitions

    def __getitem__(self, number: int) -> Partition:
        return self._partitions[number]

    def __iter__(self) -> Iterator[Partition]:
        return iter(self._partitions.values())

    def get(self, number: int) -> Partition | None:
        """Return a partition; None if it is not assigned."""
        return self._partitions.get(number)

    def assign(self, number: int) -> Partition:
        """Add a newly assigned partition, which must have no rows yet, and start to read its states."""
        partition = Partition(number, self._follower.follow(number), RecoveryProgress(self._steady()))
        self._partitions[number] = partition
        return partition

    def drop(self, number: int) -> int:
        """Drop a partition with its rows; return the number of its users."""
        self._follower.leave(number)
        self._quality.drop(number)
        self._partitions.pop(number, None)
        return self._states.drop(number)

    def served(self) -> dict[int, Partition]:
        """Return the partitions whose clicks are answered, by number."""
        return {one.number: one for one in self._partitions.values() if one.served}

    def recovering(self) -> list[Partition]:
        """Return the partitions that are assigned and not served yet."""
        return [one for one in self._partitions.values() if not one.served]

    def at(self, *statuses: Status) -> list[Partition]:
        """Return the partitions with one of these statuses."""
        return [one for one in self._partitions.values() if one.status in statuses]

    def require_order(self, records: Sequence[Record]) -> None:
        """Raise CheckpointFailed if a polled record comes before those that its partition has had.

        Kafka's client continues at the first record of a partition if the broker has no record at its
        position. Then the broker lost records, or it was frozen and does not know yet that another broker
        leads the partition. Without this check, the worker would answer all clicks of the partition again.
        """
        for number, offset in {one.partition: one.offset for one in reversed(records)}.items():
            partition = self._partitions.get(number)
            if partition is not None and offset < partition.earliest:
                raise CheckpointFailed(
                    f"Kafka returned offset {offset} of partition {number} of the clicks after offset "
                    f"{partition.earliest - 1}: the broker lost records, or was not the leader"
                )

    def tidy(self) -> None:
        """Take one step (a few ms) of the collection of unused item codes. Call this between batches."""
        self._states.collect_items()

    def blocks(self) -> int:
        """Return the number of blocks of the partitions in service."""
        return sum(len(one.ledger) for one in self._partitions.values() if one.served)

    def unsaved_users(self) -> int:
        """Return the number of users in service whose state changed since it was last saved."""
        return sum(len(self._states.changed(number)) for number in self.served())

    def left_seconds(self) -> float:
        """Return the estimated time until the last recovery ends, in seconds."""
        now = self._steady()
        return max((one.left_seconds(now) for one in self.recovering()), default=0.0)

    def describe(self) -> str:
        """Return why some partitions are not served yet; empty if all are."""
        recovering = self.recovering()
        if not recovering:
            return ""
        names = ", ".join(str(number) for number in sorted(one.number for one in recovering))
        if self.waits_for:
            return f"recovering partitions {names}: {self.waits_for}"
        users = sum(self._states.users(one.number) for one in recovering)
        megabytes = sum(one.progress.bytes for one in recovering) / 1e6
        replayed = sum(one.progress.replayed for one in recovering)
        return (
            f"recovering partitions {names}: {users} users, {megabytes:.0f} MB of blocks, {replayed} clicks "
            f"replayed, about {self.left_seconds():.0f} s left"
        )
