"""Deletion requests: how all data of a user is removed from the state topic.

A request is a record in the state topic, written by `nextclick-worker forget`. The owner of the partition
reads it, deletes the row, writes the request again with the offset up to which it applies (`heard`), searches
for blocks with copies of the user's data, and makes the next flush replace them. Once states are saved beyond
that offset, no replay can restore the data, and the request gets a tombstone.
"""

from __future__ import annotations

from collections.abc import Callable

from worker.core.states import States
from worker.metrics import Metrics
from worker.partitions.follower import Copies, StateFollower
from worker.partitions.partition import DeletionRequest, Partition, Stage
from worker.topics.states import Forget, StateWriter, parse_forget


class Deletion:
    """Handles the deletion requests of all partitions; each `Partition` stores its own requests."""

    def __init__(
        self,
        states: States,
        writer: StateWriter,
        follower: StateFollower,
        *,
        metrics: Metrics,
        steady: Callable[[], float],
    ) -> None:
        self._states = states
        self._writer = writer
        self._follower = follower
        self._metrics = metrics
        self._steady = steady

    def load(self, partition: Partition, user_id: str, value: bytes | None) -> None:
        """Apply a request, or its tombstone, that was read during recovery. Raises StateRefused."""
        known = partition.requests.get(user_id)
        request = None if value is None else parse_forget(user_id, value)
        if known is not None and not known.request.heard and _is_of_earlier(request, known.request):
            return
        # Offsets start over in a topic that was created again, so a later request may have a lower offset.
        self._states.forgotten(partition.number, user_id)
        if request is None:
            partition.requests.pop(user_id, None)
        else:
            partition.requests[user_id] = DeletionRequest(request, written=request.heard)
            self._states.forget(partition.number, user_id, request.hear(partition.serve_from).before)

    def loaded(self, partition: Partition) -> None:
        """Apply the requests of a loaded partition: delete data from clicks before `serve_from`."""
        for user_id, one in partition.requests.items():
            self._states.forget(partition.number, user_id, one.request.hear(partition.serve_from).before)

    def serve(self, partition: Partition) -> None:
        """Acknowledge the requests of a partition at `serve_from`, where this owner starts to serve."""
        for one in partition.requests.values():
            one.request = one.request.hear(partition.serve_from)

    def receive(self, partition: Partition, user_id: str, value: bytes) -> None:
        """Apply a request that was just written to a partition in service. Raises StateRefused."""
        request = parse_forget(user_id, value)
        if request.heard:
            return  # This owner wrote the request.
        heard = request.hear(partition.position)
        partition.requests[user_id] = DeletionRequest(heard, written=False)
        if self._states.forget(partition.number, user_id, heard.before):
            self._metrics.deleted.inc()

    def unwritten(self, partition: Partition) -> list[str]:
        """Return the users whose requests this owner has acknowledged, but not written to the topic yet."""
        return [user_id for user_id, one in partition.requests.items() if not one.written]

    def write(self, partition: Partition) -> None:
        """Add the unwritten requests to the transaction, with the offsets up to which they apply."""
        for user_id in self.unwritten(partition):
            self._writer.heard(partition.number, user_id, partition.requests[user_id].request)
            partition.requests[user_id].written = True

    def search(self, partition: Partition) -> None:
        """Start the search for blocks with data of the requests' users. Call this only after a commit.

        While a transaction is open, the search would miss blocks that are part of the transaction.
        """
        asked = partition.at(Stage.ASKED)
        if asked and not partition.at(Stage.SEARCHED):
            self._follower.search(
                partition.number, {user_id: partition.requests[user_id].request.before for user_id in asked}
            )
            partition.move(asked, Stage.SEARCHED)

    def found(self, partition: Partition, copies: Copies) -> None:
        """Condemn the blocks that hold copies of the users' data: the next flush, due now, drops them."""
        partition.condemned |= copies.blocks & partition.ledger.sizes.keys()
        sought = [
            user_id
            for user_id, before in copies.sought.items()
            if (one := partition.requests.get(user_id)) is not None
            and (one.stage, one.request.before) == (Stage.SEARCHED, before)
        ]
        partition.move(sought, Stage.FOUND)
        partition.flush_due = self._steady()

    def flush_began(self, partition: Partition) -> None:
        """Record that a flush that drops the condemned blocks has begun."""
        partition.move(partition.at(Stage.FOUND), Stage.WRITTEN)

    def flush_ended(self, partition: Partition) -> None:
        """Complete the requests whose users' data are in no block and cannot be restored by a replay."""
        partition.move(partition.at(Stage.WRITTEN), Stage.CLEAN)
        for user_id in partition.at(Stage.CLEAN):
            if partition.requests[user_id].request.before <= partition.saved_until:
                self._writer.forgotten(partition.number, user_id)
                self._states.forgotten(partition.number, user_id)
                del partition.requests[user_id]


def _is_of_earlier(request: Forget | None, known: Forget) -> bool:
    """Return whether `request` (None: a tombstone) belongs to an earlier request than `known`."""
    return request is None or (request.heard and request.before < known.before)
