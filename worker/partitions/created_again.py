"""The reactions to topics that were deleted and created again while the worker runs.

*Clicks*: the offsets begin at 0 again and no longer match the states. Only an operator knows whether the
states are still valid, so the worker stops. *States*: the states in memory are written to the new topic.
*Releases*, *items*, *rules*: the new topic is read from its beginning; the releases in service keep serving,
and what is known of items and rules stays until a record changes it. The other topics are only written to, so
nothing has to be done.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

import structlog

from worker.partitions.consistency import clicks_created_again
from worker.partitions.flushing import Flushing
from worker.partitions.follower import StateFollower
from worker.partitions.table import PartitionTable

log = structlog.get_logger("worker")


class CreatedAgain:
    """Reacts to topics that were created again."""

    def __init__(
        self,
        table: PartitionTable,
        follower: StateFollower,
        flushing: Flushing,
        *,
        clicks: str,
        read_again: Mapping[str, Callable[[], None]],
    ) -> None:
        self._table = table
        self.state = follower.topic
        self._follower = follower
        self._flushing = flushing
        self._clicks = clicks
        self._read_again = read_again
        """By topic that another thread follows: the request to read it from its beginning."""

    def heed(self, topics: Collection[str]) -> None:
        """React to `topics`, which were created again. Raises StateRefused for the clicks topic."""
        if self._clicks in topics:
            raise clicks_created_again(self._clicks, states_too=self.state in topics)
        for topic in sorted(topics):
            log.warning("a topic was deleted and created again", topic=topic)
        if self.state in topics:
            self._write_states_again()
        for topic in self._read_again.keys() & topics:
            self._read_again[topic]()

    def _write_states_again(self) -> None:
        for partition in list(self._table):
            if partition.served:
                partition.token = self._follower.follow(partition.number)
                self._flushing.write_all(partition)
            else:
                self._table.drop(partition.number)
                self._table.assign(partition.number)
