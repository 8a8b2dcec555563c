"""The checkpoint: what makes states, outputs and offsets durable together.

Owns what is in the open transaction. Every checkpoint is, with the same numbers in the code:

1. add what only this transaction can bring: the counts of live quality, deletion requests as they were
   obeyed, the first `replay` record of a partition. (Blocks that are due went out when it began.)
2. flush the producer; every send must have succeeded
3. add the offsets of every partition that anything in the transaction belongs to (rule d), under the
   metadata of the last poll (rule a)
4. commit

2 to 4 are in `worker.kafka.transactions`.

Rule d: every transaction holds an offset of every partition that it is about. The broker fences by the
group's generation, which comes with the offsets: a transaction without any is not fenced.
"""

from __future__ import annotations

from collections.abc import Collection

from worker.clock import Clock
from worker.errors import CheckpointFailed
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
    """Knows what the open transaction holds, and commits it."""

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
        self._retry = retry
        self.interval_seconds = interval_seconds
        self._metrics = metrics
        self._steady = clock.steady
        self._pending: set[int] = set()
        """The partitions of which something is in the open transaction."""
        self._touched: set[int] = set()
        """Those, and the ones polled from since the last checkpoint: an abort is a crash of these."""
        self._flush_due = True
        """Whether the open transaction may still take a part of a flush."""
        self._due_at = 0.0

    @property
    def due(self) -> bool:
        """Whether it is time for the next checkpoint."""
        return self._steady() >= self._due_at

    @property
    def open(self) -> bool:
        """Whether anything is in the open transaction."""
        return bool(self._pending)

    def left_seconds(self) -> float:
        """Return how long it is until the next checkpoint is due."""
        return self._due_at - self._steady()

    @property
    def needed(self) -> bool:
        """Whether the next checkpoint will have something to do."""
        return self.open or any(one.flushing is not None for one in self._table)

    def touch(self, partitions: Collection[int]) -> None:
        """Note the partitions that were polled from, or that a failure has a part in."""
        self._touched |= set(partitions)

    def include(self, partitions: Collection[int]) -> None:
        """Note that something of these partitions goes into the transaction.

        To be called before blocks are sent: where a send fails, the partition's memory knows of blocks that
        will never be, and must be dropped (rule e). Lists come from partitions that `touch` named already.
        """
        self._pending |= set(partitions)
        self._touched |= set(partitions)

    def flush_due(self) -> None:
        """Add the states that are due, once in a transaction, soon after it began."""
        if not self._flush_due:
            return
        self._flush_due = False
        with self._metrics.timed("save"):
            for partition in self._table.served().values():
                if self._flushing.due(partition):
                    self.include([partition.number])
                    self._flushing.write_due(partition, self._release)

    def commit(self, seconds: float) -> None:
        """Make all that happened durable in `seconds`. Raises CheckpointFailed, NotAllowed, TopicError."""
        if self._member.lost:
            raise CheckpointFailed("the group gave this worker's partitions to others")
        if gone := [number for number in self._pending if number not in self._table]:
            raise CheckpointFailed(f"partitions {sorted(gone)} were revoked before they were committed")
        started = self._steady()
        self._due_at = started + self.interval_seconds
        self._flush_due = True
        with self._metrics.timed("save"):
            self._add_counts()  # 1
            self._add_missing()  # 1
        if self.open:
            with self._metrics.timed("commit"):
                offsets = {number: self._table[number].position for number in self._pending}
                member = self._member
                self._transactions.commit(member.topic, offsets, member.metadata, seconds=seconds)  # 2, 3, 4
            for number in self._pending:
                self._table[number].uncommitted.clear()
            self._pending, self._touched = set(), set()
            self._retry.succeeded()
            self._live_quality.committed()
            self._metrics.observe_checkpoint(self._steady() - started)
        for partition in self._table.served().values():
            self._deletion.search(partition)

    def commit_all(self, partitions: Collection[Partition], seconds: float, *, flush_seconds: float) -> None:
        """Commit as `commit` does, after adding all states of `partitions` that `flush_seconds` allow.

        For partitions that go to another worker, which replays what there was no time for.
        """
        if flush_seconds:
            self._live_quality.hurry()
            with self._metrics.timed("save"):
                self._flush_all(partitions, self._steady() + flush_seconds)
        self.commit(seconds)

    def failed(self) -> None:
        """Note that the open transaction will not be committed, or may not have been."""
        self._pending = set()
        self._live_quality.failed()

    def take_touched(self) -> set[int]:
        """Return the partitions that a failure is a crash of, and forget them."""
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
                # Something has to fence it: any partition's offset does.
                self.include([min(served)])

    def _add_missing(self) -> None:
        """Add what the first transaction of a partition has to bring, and what it heard of deletions."""
        for partition in self._table.served().values():
            unwritten = bool(self._deletion.unwritten(partition))
            # From the first transaction on, recovery of the partition knows where to begin.
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
