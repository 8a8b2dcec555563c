"""Flushing: changed rows become new blocks, in step 1 of the checkpoint.

Every `flush_interval_seconds` a flush of every partition begins. It is spread over the checkpoints of the
first half of the interval, so that no checkpoint takes long. Its last part includes the `replay` record, so
that a later recovery needs no click from before the start of the flush.

Blocks are sent when a transaction begins. Rejected: sending blocks when a transaction ends. The commit would
then wait for the acknowledgement of half a megabyte, which added 29 ms to the p99 of a click; blocks that are
sent early add nothing measurable.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

import numpy as np
import structlog

from worker.core.flush import Flush
from worker.core.states import States
from worker.metrics import MAX_BYTES, MAX_USERS, TTL, Metrics
from worker.partitions.deletion import Deletion
from worker.partitions.partition import FlushProgress, Partition, Stage
from worker.topics.states import Replay, StateWriter, TopicIds

log = structlog.get_logger("worker")

SPREAD: Final = 0.5
"""The share of the flush interval over which a flush is spread; a larger share makes replays longer."""

TTL_SLACK_MS: Final = 3_600_000
"""The time for which rows are kept beyond their time to live, in ms, because clicks may arrive late."""

_EVICTED_SHARE: Final = 20
"""An eviction frees an additional `1 / _EVICTED_SHARE` of the allowed users, so that not every new user
causes an eviction.
"""


class Flushing:
    """Writes the changed rows of partitions in service; each `Partition` stores its own progress."""

    def __init__(
        self,
        states: States,
        writer: StateWriter,
        deletion: Deletion,
        *,
        flush_interval_seconds: float,
        user_ttl_ms: int,
        max_users: int,
        max_bytes: int,
        ids: Callable[[], TopicIds],
        metrics: Metrics,
        steady: Callable[[], float],
        wall_ms: Callable[[], int],
    ) -> None:
        self._states = states
        self._writer = writer
        self._deletion = deletion
        self._interval = flush_interval_seconds
        self._ttl_ms = user_ttl_ms
        self._max_users = max_users
        self._max_bytes = max_bytes
        self._ids = ids
        self._metrics = metrics
        self._steady = steady
        self._wall_ms = wall_ms

    def schedule(self, partition: Partition) -> None:
        """Set the time of the first flush of a newly served partition."""
        # Spread by partition number, so that the flushes do not all begin at once. The first flush comes
        # early, because a replay may have left many changed rows.
        later = self._interval * (0.25 + 0.75 * (partition.number * 0.618 % 1))
        partition.flush_due = self._steady() + later

    def due(self, partition: Partition) -> bool:
        """Return whether a part of a flush is due."""
        return partition.flushing is not None or (
            self._steady() >= partition.flush_due and self.unsaved(partition)
        )

    def unsaved(self, partition: Partition) -> bool:
        """Return whether a flush would write anything."""
        asked = partition.unwritten or bool(partition.at(Stage.FOUND))
        return asked or partition.position > partition.saved_until

    def write_due(self, partition: Partition, release: int) -> None:
        """Add to the transaction the blocks that are due; start a flush if no flush is under way."""
        under_way = partition.flushing or self._begin(partition)
        pace = (self._steady() - under_way.began) / (self._interval * SPREAD)
        due = math.ceil(under_way.blocks * min(1.0, pace + 0.1)) - under_way.written
        self._write(partition, under_way, max(1, due), release)

    def write_one(self, partition: Partition, release: int) -> None:
        """Add about one block to the transaction; start a flush if no flush is under way."""
        self._write(partition, partition.flushing or self._begin(partition), 1, release)

    def write_replay(self, partition: Partition, offset: int, release: int) -> None:
        """Add the `replay` record, which says that recovery needs no click before `offset`."""
        partition.saved = Replay(offset, release, *self._ids())
        self._writer.replay(partition.number, partition.saved)

    def write_all(self, partition: Partition) -> None:
        """Schedule a flush of all rows and requests, due now, for a partition whose state topic is empty.

        Until that flush ends there is no `replay` record, so a recovery refuses the incomplete states.
        """
        partition.unwritten, partition.flushing = True, None
        partition.flush_due = self._steady()
        for one in partition.requests.values():
            one.written = False
        # The new topic is empty, so there are no copies to search for.
        partition.move([*partition.at(Stage.ASKED), *partition.at(Stage.SEARCHED)], Stage.FOUND)

    def make_room(self) -> None:
        """Evict the users whose last click is oldest, if there are more users than the limits allow."""
        users, used = len(self._states), self._states.size_bytes
        limits = {}
        if self._max_users:
            limits[MAX_USERS] = self._max_users
        if self._max_bytes and users:
            limits[MAX_BYTES] = users * self._max_bytes // used
        limit = min(limits, key=limits.__getitem__, default="")
        if not limit or users <= limits[limit]:
            return
        rows = self._states.longest_idle(users - limits[limit] + limits[limit] // _EVICTED_SHARE)
        self._states.free(rows)
        self._metrics.evicted.labels(limit).inc(len(rows))
        log.warning(
            "users evicted: there are more than a limit allows", limit=f"state.{limit}", users=len(rows)
        )

    def _begin(self, partition: Partition) -> FlushProgress:
        self._sweep(partition)
        if partition.unwritten:
            partition.condemned |= partition.ledger.sizes.keys()
            partition.unwritten = False
        flush = Flush(
            self._states, partition.ledger, partition=partition.number, condemned=partition.condemned
        )
        partition.condemned = set()
        partition.flushing = FlushProgress(flush, self._steady(), partition.position, flush.blocks_left)
        self._deletion.flush_began(partition)
        return partition.flushing

    def _sweep(self, partition: Partition) -> None:
        """Evict the users whose time to live had expired at the time of the partition's latest click."""
        rows = self._states.owned(partition.number)
        if not self._ttl_ms or not len(rows):
            return
        times = self._states.read_column("timestamp_ms", rows)
        # The next flush deletes evicted users for good. A click dated in the future must not cause that.
        newest_ms = min(int(np.max(times)), self._wall_ms())
        idle = rows[self._states.active_ms(rows) < newest_ms - self._ttl_ms - TTL_SLACK_MS]
        self._states.free(idle)
        self._metrics.evicted.labels(TTL).inc(len(idle))
        if len(idle):
            log.info(
                "users evicted: no click for state.user_ttl", partition=partition.number, users=len(idle)
            )

    def _write(self, partition: Partition, under_way: FlushProgress, at_most: int, release: int) -> None:
        flush = under_way.flush
        for number, value in flush.next_blocks(at_most):
            self._writer.block(partition.number, number, value)
            partition.uncommitted.add(number)
            self._metrics.saved_users.inc(partition.ledger.sizes[number])
        under_way.written += at_most
        if flush.done:
            self._end(partition, under_way, release)

    def _end(self, partition: Partition, under_way: FlushProgress, release: int) -> None:
        for number in under_way.flush.tombstones:
            self._writer.block(partition.number, number, None)
        self.write_replay(partition, under_way.position, release)
        partition.flushing, partition.flush_due = None, under_way.began + self._interval
        self._deletion.flush_ended(partition)
