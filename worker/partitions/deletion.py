"""Deletion requests: how all data of a user is removed from the state topic.

A request is a record in the state topic, written by `nextclick-worker forget`. The owner of the partition
hears of it, deletes the row, writes the request again with the offset up to which it holds (`heard`), looks
for the blocks with copies, and has the next flush replace them. When the flush is past that offset no replay
can bring the person back: then the request gets a tombstone.
"""

from __future__ import annotations

from collections.abc import Callable

from worker.core.states import States
from worker.metrics import Metrics
from worker.partitions.follower import Copies, StateFollower
from worker.partitions.partition import DeletionRequest, Partition, Stage
from worker.topics.states import Forget, StateWriter, parse_forget


class Deletion:
    """Handles the deletion requests of all partitions; each `Partition` holds its own."""

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
        """Take a request as it is read back, or its tombstone. Raises StateRefused."""
        known = partition.requests.get(user_id)
        request = None if value is None else parse_forget(user_id, value)
        if known is not None and not known.request.heard and _is_of_earlier(request, known.request):
            return
        # Offsets begin again in a topic that was created again: a later request may name a lower one.
        self._states.forgotten(partition.number, user_id)
        if request is None:
            partition.requests.pop(user_id, None)
        else:
            partition.requests[user_id] = DeletionRequest(request, written=request.heard)
            self._states.forget(partition.number, user_id, request.hear(partition.serve_from).before)

    def loaded(self, partition: Partition) -> None:
        """Delete the data from clicks before `serve_from`: until then no owner obeyed the requests."""
        for user_id, one in partition.requests.items():
            self._states.forget(partition.number, user_id, one.request.hear(partition.serve_from).before)

    def serve(self, partition: Partition) -> None:
        """Raise the requests of a partition to where it is served from: this owner has heard them now."""
        for one in partition.requests.values():
            one.request = one.request.hear(partition.serve_from)

    def receive(self, partition: Partition, user_id: str, value: bytes) -> None:
        """Obey a request just written to a partition that is served. Raises StateRefused."""
        request = parse_forget(user_id, value)
        if request.heard:
            return  # This owner wrote it.
        heard = request.hear(partition.position)
        partition.requests[user_id] = DeletionRequest(heard, written=False)
        if self._states.forget(partition.number, user_id, heard.before):
            self._metrics.users_forgotten.labels("asked").inc()

    def unwritten(self, partition: Partition) -> list[str]:
        """Return the users whose requests are not in the topic yet as this owner heard them."""
        return [user_id for user_id, one in partition.requests.items() if not one.written]

    def write(self, partition: Partition) -> None:
        """Add the unwritten requests to the transaction, with the offsets up to which they hold."""
        for user_id in self.unwritten(partition):
            self._writer.heard(partition.number, user_id, partition.requests[user_id].request)
            partition.requests[user_id].written = True

    def search(self, partition: Partition) -> None:
        """Look for copies of those who asked. To be called when a transaction was committed.

        Not before: with a transaction open a block may be on its way that the search would not see.
        """
        asked = partition.at(Stage.ASKED)
        if asked and not partition.at(Stage.SEARCHED):
            self._follower.search(
                partition.number, {user_id: partition.requests[user_id].request.before for user_id in asked}
            )
            partition.move(asked, Stage.SEARCHED)

    def found(self, partition: Partition, copies: Copies) -> None:
        """Note which blocks hold copies of those who asked: the next flush drops them, and is due."""
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
        """Note that a flush that drops the condemned blocks has begun."""
        partition.move(partition.at(Stage.FOUND), Stage.WRITTEN)

    def flush_ended(self, partition: Partition) -> None:
        """Fulfil the requests that no block and no replay can undo any more."""
        partition.move(partition.at(Stage.WRITTEN), Stage.CLEAN)
        for user_id in partition.at(Stage.CLEAN):
            if partition.requests[user_id].request.before <= partition.saved_until:
                self._writer.forgotten(partition.number, user_id)
                self._states.forgotten(partition.number, user_id)
                del partition.requests[user_id]


def _is_of_earlier(request: Forget | None, known: Forget) -> bool:
    """Return whether an owner wrote this about an earlier request, not having heard of the `known` one."""
    return request is None or (request.heard and request.before < known.before)
