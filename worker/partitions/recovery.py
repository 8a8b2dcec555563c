"""Recovery: restores the states of a partition when the partition is assigned, or after a failure.

First its blocks are loaded. Then the clicks that the blocks lack are replayed, from the `replay` offset to
the committed offset: they are applied without publishing, and skipped if a user's row already includes them.
Only then is the partition served. In the meantime, other partitions are served as usual.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection
from typing import Final

import structlog

from worker.core import blocks
from worker.core.states import States
from worker.core.user_states import NO_RELEASE
from worker.errors import StateRefused
from worker.kafka.interface import GroupMember, Record
from worker.metrics import Metrics
from worker.partitions.consistency import check
from worker.partitions.deletion import Deletion
from worker.partitions.flushing import Flushing
from worker.partitions.follower import AllRead, Copies, Failed, StateFollower, StateRecord, Waits
from worker.partitions.partition import Partition, Status
from worker.partitions.table import PartitionTable
from worker.topics.states import BLOCK, FORGET, REPLAY, UNREADABLE, TopicIds, block_number, parse_replay

log = structlog.get_logger("worker")

RELEASE_SECONDS: Final = 10.0
"""Maximum time that a replay waits for the release that served when the states were saved, in seconds. After
that, the replay starts without this release.
"""


class Recovery:
    """Brings assigned partitions into service; each `Partition` stores its own progress."""

    def __init__(
        self,
        table: PartitionTable,
        states: States,
        follower: StateFollower,
        member: GroupMember,
        *,
        deletion: Deletion,
        flushing: Flushing,
        knows: Callable[[int], bool],
        ids: Callable[[], TopicIds],
        metrics: Metrics,
        steady: Callable[[], float],
    ) -> None:
        self._table = table
        self._states = states
        self._follower = follower
        self._member = member
        self._deletion = deletion
        self._flushing = flushing
        self._knows = knows
        """Returns whether the release with this number was adopted, refused or skipped."""
        self._ids = ids
        self._metrics = metrics
        self._steady = steady

    @property
    def loading(self) -> bool:
        """Whether any partition still waits for its replay to begin."""
        return bool(self._table.at(Status.ASSIGNED, Status.LOADING, Status.WAITING))

    @property
    def waiting(self) -> bool:
        """Whether `load` has events to process."""
        return self._follower.waiting

    def load(self, seconds: float, wait_seconds: float = 0.0) -> bool:
        """Process events for about `seconds`, after waiting up to `wait_seconds` for the first event.

        Returns whether a partition came into service. Raises StateRefused, and the error that ended the
        follower.
        """
        deadline = self._steady() + wait_seconds + seconds
        event = self._follower.take(wait_seconds)
        while event is not None:
            if isinstance(event, Failed):
                raise event.error
            if isinstance(event, Waits):
                # No event will follow for a while.
                self._table.waits_for = event.reason
                break
            if (partition := self._table.get(event.partition)) and partition.token == event.token:
                self._table.waits_for = ""
                self._take(partition, event)
                # The partitions of a lost worker may bring more users than this worker has room for. A user
                # who is evicted here does not come back with an older copy: copies are read in their order.
                self._flushing.make_room()
            event = self._follower.take() if self._steady() < deadline else None
        self._begin_replays()
        return self._serve_replayed({})

    def split(self, records: list[Record]) -> tuple[list[Record], list[Record]]:
        """Divide polled records into records to replay and records that may be answered."""
        before = {one.number: one.serve_from for one in self._table.at(Status.REPLAYING)}
        if not before:
            return [], records
        silent = [record for record in records if record.offset < before.get(record.partition, 0)]
        return silent, [record for record in records if record.offset >= before.get(record.partition, 0)]

    def replayed(self, records: Collection[Record]) -> bool:
        """Count `records` as replayed; return whether a partition came into service."""
        return self._serve_replayed(Counter(record.partition for record in records))

    def close(self) -> None:
        """Stop reading the state topic."""
        self._follower.close()

    def _take(self, partition: Partition, event: StateRecord | AllRead | Copies) -> None:
        if isinstance(event, Copies):
            if partition.served:
                self._deletion.found(partition, event)
        elif isinstance(event, AllRead):
            if not partition.served:
                self._loaded(partition, event)
        elif not partition.served:
            self._load(partition, event)
        elif event.key.startswith(FORGET) and event.value is not None:
            self._deletion.receive(partition, event.key.removeprefix(FORGET), event.value)

    def _load(self, partition: Partition, record: StateRecord) -> None:
        partition.progress.refused.pop(record.key, None)
        try:
            self._load_record(partition, record.key, record.value)
        except StateRefused as error:
            if partition.status in {Status.WAITING, Status.REPLAYING}:
                raise
            if record.value is not None:
                partition.progress.refused[record.key] = str(error)
            return
        if partition.status is Status.ASSIGNED:
            partition.status = Status.LOADING
        partition.progress.loaded = record.done
        partition.progress.bytes += len(record.value or b"")
        self._metrics.recovery_bytes.inc(len(record.value or b""))

    def _load_record(self, partition: Partition, key: str, value: bytes | None) -> None:
        if key.startswith(BLOCK):
            number = block_number(key)
            if value is None:
                partition.ledger.drop(self._states, partition.number, number)
            else:
                saved = blocks.decode(value)
                users = partition.ledger.load(self._states, partition.number, number, saved)
                self._metrics.recovery_users.inc(users)
        elif key == REPLAY:
            partition.saved = parse_replay(value) if value is not None else None
        elif key.startswith(FORGET):
            self._deletion.load(partition, key.removeprefix(FORGET), value)
        elif not key.startswith(UNREADABLE):
            raise StateRefused("the key is unknown")
        elif value is not None:
            raise StateRefused(value.decode())

    def _loaded(self, partition: Partition, read: AllRead) -> None:
        """Prepare the replay once all blocks are loaded: find its range, and report missing clicks."""
        ids = self._ids()
        check(partition, read, topic=self._follower.topic, clicks=self._member.topic, clicks_id=ids.clicks)
        if partition.saved and not partition.saved.release_is_of(ids.releases):
            # Another release may have this number in the new topic.
            self._states.forget_release(self._states.owned(partition.number))
            partition.saved = partition.saved._replace(release=NO_RELEASE)
        saved_until = read.begin if partition.saved is None else partition.saved.offset
        begin = max(saved_until, read.begin)
        serve_from = max(read.begin, begin if read.committed is None else read.committed)
        missing = min(begin, serve_from) - saved_until
        if missing > 0:
            self._report_missing(partition, read, missing=missing, first=saved_until)
        partition.replay_from = partition.position = begin
        partition.serve_from = serve_from
        self._deletion.loaded(partition)
        partition.progress.loaded, partition.progress.loaded_at = 1.0, self._steady()
        partition.status = Status.WAITING

    def _report_missing(self, partition: Partition, read: AllRead, *, missing: int, first: int) -> None:
        unanswered = max(0, read.begin - (read.begin if read.committed is None else read.committed))
        self._metrics.replay_missing.inc(missing)
        self._metrics.unanswered.inc(unanswered)
        log.warning(
            "retention deleted clicks that were not saved yet: the states of their users lack these clicks",
            partition=partition.number,
            offsets=missing,
            unanswered=unanswered,
            first=first,
            log_start=read.begin,
        )

    def _begin_replays(self) -> None:
        """Start the replay of each waiting partition whose release is known, or whose wait has timed out."""
        for partition in self._table.at(Status.WAITING):
            late = self._steady() - partition.progress.loaded_at > RELEASE_SECONDS
            if partition.saved is None or self._knows(partition.saved.release) or late:
                partition.status, self._table.waits_for = Status.REPLAYING, ""
                self._member.begin(partition.number, partition.replay_from)
            else:
                self._table.waits_for = (
                    f"waiting for release {partition.saved.release}, which was in service when the "
                    "states were saved"
                )

    def _serve_replayed(self, counts: dict[int, int]) -> bool:
        """Serve the partitions whose replay has ended; return whether any came into service."""
        found = False
        for partition in self._table.at(Status.REPLAYING):
            partition.progress.replayed += counts.get(partition.number, 0)
            partition.position = self._member.position(partition.number)
            if partition.position >= partition.serve_from:
                self._serve(partition)
                found = True
        return found

    def _serve(self, partition: Partition) -> None:
        partition.status = Status.SERVED
        partition.position = partition.committed = partition.serve_from
        self._deletion.serve(partition)
        self._flushing.schedule(partition)
        progress, now = partition.progress, self._steady()
        self._metrics.recovery_seconds.observe(now - progress.assigned_at)
        log.info(
            "partition recovered",
            partition=partition.number,
            users=self._states.users(partition.number),
            blocks=len(partition.ledger),
            megabytes=round(progress.bytes / 1e6, 1),
            replayed=progress.replayed,
            seconds=round(now - progress.assigned_at, 2),
            replay_seconds=round(now - progress.loaded_at, 2),
        )
