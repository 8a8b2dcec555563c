"""Observation of the worker: gauges, lag, and answers about users."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from worker.checkpoint import Checkpoint
from worker.clock import Clock
from worker.core.description import described
from worker.core.ids import canonical
from worker.core.states import States
from worker.http.questions import Answer, Questions
from worker.http.readiness import Readiness
from worker.kafka.interface import GroupMember
from worker.metrics import Look, Metrics
from worker.partitions.partition import Partition
from worker.partitions.table import PartitionTable
from worker.releases.adoption import Adoption

LOOK_SECONDS: Final = 5.0
"""The interval at which the lag is read, which also detects an unreachable broker."""


class Observer:
    """Updates gauges and answers questions between batches."""

    def __init__(
        self,
        table: PartitionTable,
        states: States,
        member: GroupMember,
        adoption: Adoption,
        checkpoint: Checkpoint,
        *,
        partitions: Callable[[], int],
        metrics: Metrics,
        readiness: Readiness,
        questions: Questions,
        clock: Clock,
    ) -> None:
        self._table = table
        self._states = states
        self._member = member
        self._adoption = adoption
        self._checkpoint = checkpoint
        self._partitions = partitions
        """Returns the number of partitions of the clicks topic."""
        self._metrics = metrics
        self._readiness = readiness
        self._questions = questions
        self._steady = clock.steady
        self._look_due = 0.0
        self._looked_at: set[int] = set()
        """The partitions that were served when the lag was last read."""

    def look(self) -> None:
        """Update the gauges and, every few seconds, the lag. Raises KafkaAway, TopicError."""
        self._readiness.beat()
        self._note()
        self._questions.answer(self._known_of)
        served = self._table.served()
        due = self._steady() >= self._look_due or served.keys() != self._looked_at
        # Skipped while a transaction is open: a slow answer of the broker could make the commit time out.
        if not due or self._checkpoint.open:
            return
        self._look_due, self._looked_at = self._steady() + LOOK_SECONDS, set(served)
        for partition in served.values():
            # The client's position may be higher, because it also moves past transaction markers.
            partition.position = max(partition.position, self._member.position(partition.number))
        self._metrics.unsaved_users.set(self._table.unsaved_users())
        self._metrics.topic_partitions.set(self._partitions())
        self._metrics.progress.look(self._looks(served), [one.number for one in self._table])

    def _looks(self, served: Mapping[int, Partition]) -> dict[int, Look]:
        """Ask the broker for the unread records. Raises KafkaAway."""
        # Served partitions only: a partition in recovery reads old records or none, so its lag is unknown.
        found = {at: one for at, one in self._member.backlogs().items() if at in served}
        return {
            at: Look(one.end, one.records, served[at].position, served[at].committed, served[at].read_ms)
            for at, one in found.items()
        }

    def _note(self) -> None:
        metrics = self._metrics
        metrics.assigned.set(len(self._table.served()))
        metrics.users.set(len(self._states))
        metrics.state_blocks.set(self._table.blocks())
        metrics.recovering.set(len(self._table.recovering()))
        metrics.recovery_left.set(self._table.left_seconds())
        metrics.users_moved.inc(self._states.take_moved())
        if (bought := self._states.bought) is not None:
            metrics.users_with_bought_items.set(bought.users)
            metrics.bought_items_dropped.inc(bought.take_dropped())
        self._adoption.note()

    def _known_of(self, user_id: str) -> Answer:
        """Return this worker's state of a user or, if it has none, the partitions that it serves."""
        sent = {number: one.uncommitted for number, one in sorted(self._table.served().items())}
        user_id = canonical(user_id)
        known = described(self._states, self._adoption.serving.recommender(user_id), user_id, sent)
        if known is not None:
            return True, known
        error = (
            "this worker has no state of this user: the user never clicked, is in another partition, or was "
            "evicted or deleted; `nextclick-worker user` shows more"
        )
        return False, {"error": error, "serves": [*sent], "not_ready": self._table.describe()}
