"""The checkpoint: a transaction that makes states, outputs and offsets durable together.

The steps of a checkpoint, with the same numbers in the code:

1. add the live-quality report if it is due, dead letters of the items topic, the records of fulfilled
   deletion requests, and the first `replay` record of each partition that has none (state blocks that are due
   were added earlier, at the start of the transaction)
2. flush the producer; every send must have succeeded
3. add the offset of every clicks partition to which a record in the transaction belongs (rule d), with the
   group metadata (rule a in `worker.kafka.group`)
4. commit

Steps 2 to 4 are in `worker.kafka.transactions`.

Rule d: a transaction contains the offset of every clicks partition to which one of the
transaction's records belongs. To fence a removed group member, the broker compares the generation that
is sent with the offsets, so a transaction without offsets is not fenced.
"""

from __future__ import annotations

from collections.abc import Collection

from worker.clock import Clock
from worker.errors import CheckpointFailed
from worker.items.letters import WRITERS_PARTITION, ItemLetters
from worker.kafka.interface import GroupMember, Transactions
from worker.live_quality import LiveQuality
from worker.metrics import Metrics
from worker.partitions.deletion import Deletion
from worker.partitions.flushing import Flushing
from worker.partitions.partition import Partition
from worker.partitions.table import PartitionTable
from worker.process.retry import Retry
from worker.releases.adoption import Adoption


class Checkpoint:
    """The commit of the open transaction, and the partitions that have records in it."""

    def __init__(
        self,
        table: PartitionTable,
        transactions: Transactions,
        member: GroupMember,
        adoption: Adoption,
        *,
        flushing: Flushing,
        deletion: Deletion,
        live_quality: LiveQuality,
        letters: ItemLetters,
        retry: Retry,
        interval_seconds: float,
        metrics: Metrics,
        clock: Clock,
    ) -> None:
        self._table = table
        self._transactions = transactions
        self._member = member
        self._adoption = adoption
        self._flushing = flushing
        self._deletion = deletion
        self._live_quality = live_quality
        self._letters = letters
        self._retry = retry
        self.interval_seconds = interval_seconds
        self._metrics = metrics
        self._steady = clock.steady
        self._pending: set[int] = set()
        """The partitions that have records in the open transaction."""
        self._touched: set[int] = set()
        """The partitions that a failure resets: pending ones, and those polled since the last checkpoint."""
        self._flush_due = True
        """Whether `flush_due` has yet to run in the open transaction."""
        self._due_at = 0.0

    @property
    def due(self) -> bool:
        """Whether the next checkpoint is due."""
        return self._steady() >= self._due_at

    @property
    def open(self) -> bool:
        """Whether the open transaction contains any records."""
        return bool(self._pending)

    def left_seconds(self) -> float:
        """Return the seconds until the next checkpoint is due."""
        return self._due_at - self._steady()

    @property
    def needed(self) -> bool:
        """Whether there is something to commit: records in the open transaction, or an unfinished flush."""
        return self.open or any(one.flushing is not None for one in self._table)

    def touch(self, partitions: Collection[int]) -> None:
        """Mark `partitions` to be reset if the open transaction fails."""
        self._touched |= set(partitions)

    def include(self, partitions: Collection[int]) -> None:
        """Mark `partitions` as part of the open transaction, to which their offsets will be added.

        Must be called before a partition's state blocks are sent: if a send fails, the partition's memory
        refers to blocks that do not exist, so the partition must be reset (rule e). Lists may be sent before
        the call, because `touch` has already marked their partitions for a reset.
        """
        self._pending |= set(partitions)
        self._touched |= set(partitions)

    def flush_due(self) -> None:
        """Add the states that are due for a flush, unless this was already done in the open transaction."""
        if not self._flush_due:
            return
        self._flush_due = False
        with self._metrics.timed("save"):
            for partition in self._table.served().values():
                if self._flushing.due(partition):
                    self.include([partition.number])
                    self._flushing.write_due(partition, self._release)

    def commit(self, seconds: float) -> None:
        """Commit the open transaction within `seconds`. Raises CheckpointFailed, NotAllowed, TopicError."""
        if self._member.lost:
            raise CheckpointFailed(
                "the group gave this worker's partitions to other workers", reason="revoked"
            )
        if gone := [number for number in self._pending if number not in self._table]:
            raise CheckpointFailed(
                f"partitions {sorted(gone)} were revoked before the commit", reason="revoked"
            )
        started = self._steady()
        self._due_at = started + self.interval_seconds
        self._flush_due = True
        with self._metrics.timed("save"):
            self._add_counts()  # 1
            self._add_letters()  # 1
            self._add_missing()  # 1
        if self.open:
            with self._metrics.timed("commit"):
                offsets = {number: self._table[number].position for number in self._pending}
                member = self._member
                self._transactions.commit(member.topic, offsets, member.metadata, seconds=seconds)  # 2, 3, 4
            for number, offset in offsets.items():
                partition = self._table[number]
                partition.committed = offset
                partition.uncommitted.clear()
            self._pending, self._touched = set(), set()
            self._retry.succeeded()
            self._live_quality.committed()
            self._letters.committed()
            self._metrics.observe_checkpoint(self._steady() - started, offsets)
        for partition in self._table.served().values():
            self._deletion.search(partition)

    def commit_all(self, partitions: Collection[Partition], seconds: float, *, flush_seconds: float) -> None:
        """Flush the unsaved states of `partitions` for up to `flush_seconds`, then commit within `seconds`.

        Called before the partitions move to another worker, which replays the clicks of states that are still
        unsaved.
        """
        if flush_seconds:
            self._live_quality.hurry()
            with self._metrics.timed("save"):
                self._flush_all(partitions, self._steady() + flush_seconds)
        self.commit(seconds)

    def failed(self) -> None:
        """Forget the contents of the open transaction, because it failed or its outcome is unknown."""
        self._pending = set()
        self._live_quality.failed()
        self._letters.failed()

    def take_touched(self) -> set[int]:
        """Return the partitions to reset after a failure, and clear the set."""
        touched, self._touched = self._touched, set()
        return touched

    @property
    def _release(self) -> int:
        return self._adoption.serving.champion.release.number

    def _add_counts(self) -> None:
        served = self._table.served()
        if served and self._live_quality.due():
            self._live_quality.report(self._adoption.serving)
            if not self.open:
                # Without an offset, the transaction would not be fenced (rule d); any offset will do.
                self.include([min(served)])

    def _add_letters(self) -> None:
        if self._letters.due(writes=WRITERS_PARTITION in self._table.served()):
            self._letters.write()
            self.include([WRITERS_PARTITION])

    def _add_missing(self) -> None:
        """Add the first `replay` record of each partition that has none, and fulfilled deletion requests."""
        for partition in self._table.served().values():
            unwritten = bool(self._deletion.unwritten(partition))
            # Written with the partition's first transaction: recovery starts from the offset in this record.
            first = partition.saved is None and (partition.number in self._pending or unwritten)
            if not (first or unwritten):
                continue
            self.include([partition.number])
            self._deletion.write(partition)
            if first:
                self._flushing.write_replay(partition, partition.serve_from, self._release)

    def _flush_all(self, partitions: Collection[Partition], deadline: float) -> None:
        for partition in partitions:
            if partition.flushing or self._flushing.unsaved(partition):
                self.include([partition.number])
            while self._steady() < deadline and (partition.flushing or self._flushing.unsaved(partition)):
                self._flushing.write_one(partition, self._release)
