"""Saving: step 1 of the checkpoint. Which part of whose states goes into the transaction, and when.

A flush of every partition begins each `flush_interval_seconds` and is spread over the checkpoints of half of
that time, so that none takes long. Its last part brings the `replay` record: whoever recovers the partition
later needs no click from before the flush began. Blocks are large: they go early, so that they are on their
way while clicks are served, and no commit waits for them.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import structlog

from worker.core.flush import Flush, Ledger
from worker.core.states import States
from worker.metrics import Metrics
from worker.partitions.follower import Copies, StateFollower
from worker.topics.states import Forget, Replay, StateWriter

log = structlog.get_logger("worker")

SPREAD: Final = 0.5
"""Over how much of the flush interval a flush is spread: the rest of it replay is spared."""

TTL_SLACK_MS: Final = 3_600_000
"""Rows stay this much longer than their time to live: clicks may be late, and decide by themselves."""

_FREED_SHARE: Final = 20
"""Where there are too many users, one of so many is freed: making room is not done for each of them."""


class _Stage(enum.IntEnum):
    """How far a wish to be forgotten is fulfilled."""

    ASKED = 0
    SEARCHED = 1
    """The blocks are being looked through."""
    FOUND = 2
    """The blocks with copies are known."""
    WRITTEN = 3
    """They are being written anew by the flush under way."""
    CLEAN = 4
    """No block holds a copy; the clicks may still be in the way of a replay."""


@dataclass(slots=True)
class _Wish:
    wish: Forget
    written: bool
    """Whether it stands in the state topic, or in the transaction, as this owner obeys it."""
    stage: _Stage = _Stage.ASKED


@dataclass(slots=True)
class _Partition:
    """What is known of the saved states of one partition."""

    ledger: Ledger
    saved_until: int | None
    """The offset in the last `replay` record; None before the first."""
    begin: int
    """The offset from which this worker serves it."""
    due: float
    wishes: dict[str, _Wish]
    condemned: set[int] = field(default_factory=set)
    """Blocks that hold what must be forgotten."""
    flush: Flush | None = None
    began: float = 0.0
    position: int = 0
    """The next offset when the flush began."""
    blocks: int = 0
    written: int = 0


class Saving:
    """The saved states of all partitions that are served."""

    def __init__(
        self,
        states: States,
        writer: StateWriter,
        follower: StateFollower,
        *,
        flush_interval_seconds: float,
        user_ttl_ms: int,
        max_users: int,
        metrics: Metrics,
        steady: Callable[[], float],
        wall_ms: Callable[[], int],
    ) -> None:
        self._states = states
        self._writer = writer
        self._follower = follower
        self._interval = flush_interval_seconds
        self._ttl_ms = user_ttl_ms
        self._max_users = max_users
        self._metrics = metrics
        self._steady = steady
        self._wall_ms = wall_ms
        self._partitions: dict[int, _Partition] = {}

    @property
    def blocks(self) -> int:
        """How many blocks the served partitions have."""
        return sum(len(one.ledger) for one in self._partitions.values())

    @property
    def flushing(self) -> bool:
        """Whether a flush is under way, so that the next checkpoint has something to do."""
        return any(one.flush is not None for one in self._partitions.values())

    def begin(
        self,
        partition: int,
        ledger: Ledger,
        replay: Replay | None,
        wishes: Mapping[str, Forget],
        position: int,
    ) -> None:
        """Take up a partition that is served from `position` on."""
        # Spread by their numbers, so that not all flushes begin at once; the first comes early where a
        # replay left much unsaved.
        later = self._interval * (0.25 + 0.75 * (partition * 0.618 % 1))
        self._partitions[partition] = _Partition(
            ledger,
            None if replay is None else replay.offset,
            position,
            self._steady() + later,
            {user_id: _Wish(wish.hear(position), wish.heard) for user_id, wish in wishes.items()},
        )

    def drop(self, partition: int) -> None:
        """Let go of a partition."""
        self._partitions.pop(partition, None)

    # What adds to the transaction gives each partition before it adds anything of it: where a send fails, the
    # partition's memory knows of blocks that will never be, and must be dropped (rule e).

    def parts(self, positions: Mapping[int, int], release: int) -> Iterator[int]:
        """Add the blocks that are due to the transaction, and give their partitions.

        `positions`: the next offset of every partition.
        """
        now = self._steady()
        for partition, one in self._partitions.items():
            if one.flush is None and now >= one.due and self._unsaved(one, positions[partition]):
                self._start(partition, one, positions[partition], now)
            if one.flush is not None:
                yield partition
                pace = (now - one.began) / (self._interval * SPREAD)
                due = max(1, math.ceil(one.blocks * min(1.0, pace + 0.1)) - one.written)
                self._write(partition, one, due, release)

    def missing(self, moved: Collection[int], release: int) -> Iterator[int]:
        """Add what the transaction still lacks, and give the partitions of which it did.

        `moved`: those of which something is in it.
        """
        for partition, one in self._partitions.items():
            heard = [user_id for user_id, wish in one.wishes.items() if not wish.written]
            # From the first transaction on whoever recovers the partition knows where to begin.
            first = one.saved_until is None and (partition in moved or bool(heard))
            if heard or first:
                yield partition
            self._write_heard(partition, one, heard)
            if first:
                self._count(self._writer.replay(partition, Replay(one.begin, release)))
                one.saved_until = one.begin

    def everything(
        self, partitions: Collection[int], positions: Mapping[int, int], release: int, *, seconds: float
    ) -> Iterator[int]:
        """Add all that is not saved of some partitions, as far as can be done in so many seconds; give them.

        Before they go to another worker, which replays what there was no time for.
        """
        deadline = self._steady() + seconds
        for partition in partitions:
            one = self._partitions[partition]
            if one.flush or self._unsaved(one, positions[partition]):
                yield partition
            while self._steady() < deadline and (one.flush or self._unsaved(one, positions[partition])):
                if one.flush is None:
                    self._start(partition, one, positions[partition], self._steady())
                self._write(partition, one, 1, release)

    def committed(self) -> None:
        """Note that all that was added is durable."""
        for partition, one in self._partitions.items():
            asked = {
                user_id: wish.wish.before
                for user_id, wish in one.wishes.items()
                if wish.stage == _Stage.ASKED
            }
            # Not before: with a transaction open a block may be on its way that the search would not see.
            if asked and not any(wish.stage == _Stage.SEARCHED for wish in one.wishes.values()):
                self._follower.search(partition, asked)
                self._move(one, asked, _Stage.SEARCHED)

    def wish(self, partition: int, user_id: str, wish: Forget, position: int) -> None:
        """Obey a wish that someone wrote just now, to a partition that is served and has come so far."""
        if wish.heard:
            return  # It is this owner who wrote it.
        heard = wish.hear(position)
        self._partitions[partition].wishes[user_id] = _Wish(heard, written=False)
        if self._states.forget(partition, user_id, heard.before):
            self._metrics.users_forgotten.labels("asked").inc()

    def found(self, copies: Copies) -> None:
        """Note which blocks hold copies of those who want to be forgotten."""
        one = self._partitions[copies.partition]
        one.condemned |= copies.blocks & one.ledger.sizes.keys()
        sought = {
            user_id
            for user_id, before in copies.sought.items()
            if (wish := one.wishes.get(user_id)) is not None
            and (wish.stage, wish.wish.before) == (_Stage.SEARCHED, before)
        }
        self._move(one, sought, _Stage.FOUND)
        one.due = self._steady()

    def make_room(self) -> None:
        """Free the users who have been idle for longest where there are too many."""
        too_many = len(self._states) - self._max_users
        if self._max_users and too_many > 0:
            rows = self._states.longest_idle(too_many + self._max_users // _FREED_SHARE)
            self._states.free(rows)
            self._metrics.users_forgotten.labels("max_users").inc(len(rows))

    def unsaved_users(self) -> int:
        """How many users changed since they were saved."""
        return sum(len(self._states.changed(partition)) for partition in self._partitions)

    def _unsaved(self, one: _Partition, position: int) -> bool:
        found = any(wish.stage == _Stage.FOUND for wish in one.wishes.values())
        return found or position > (one.begin if one.saved_until is None else one.saved_until)

    def _start(self, partition: int, one: _Partition, position: int, now: float) -> None:
        self._sweep(partition)
        one.flush = Flush(self._states, one.ledger, partition=partition, condemned=one.condemned)
        one.condemned = set()
        one.began, one.position = now, position
        one.blocks, one.written = one.flush.blocks_left, 0
        self._move(one, _at(one, _Stage.FOUND), _Stage.WRITTEN)

    def _sweep(self, partition: int) -> None:
        """Free the memory of users who would start afresh anyway, by the time of the partition's clicks."""
        rows = self._states.owned(partition)
        if not self._ttl_ms or not len(rows):
            return
        times = self._states.read_column("timestamp_ms", rows)
        # Who is freed here is lost with the next flush: one click that a wrong clock dated must not do that.
        newest_ms = min(int(np.max(times)), self._wall_ms())
        idle = rows[times < newest_ms - self._ttl_ms - TTL_SLACK_MS]
        self._states.free(idle)
        self._metrics.users_forgotten.labels("ttl").inc(len(idle))

    def _write(self, partition: int, one: _Partition, at_most: int, release: int) -> None:
        flush = one.flush
        assert flush is not None  # noqa: S101  # the caller looked
        for number, value in flush.next_blocks(at_most):
            self._count(self._writer.block(partition, number, value))
            self._metrics.saved_users.inc(one.ledger.sizes[number])
        one.written += at_most
        if not flush.done:
            return
        for number in flush.tombstones:
            self._count(self._writer.block(partition, number, None))
        self._count(self._writer.replay(partition, Replay(one.position, release)))
        one.saved_until, one.flush, one.due = one.position, None, one.began + self._interval
        self._move(one, _at(one, _Stage.WRITTEN), _Stage.CLEAN)
        for user_id in _at(one, _Stage.CLEAN):
            if one.wishes[user_id].wish.before <= one.position:
                self._count(self._writer.forgotten(partition, user_id))
                self._states.forgotten(partition, user_id)
                del one.wishes[user_id]

    def _write_heard(self, partition: int, one: _Partition, user_ids: Collection[str]) -> None:
        """Make durable what was obeyed, with the offset where that was."""
        for user_id in user_ids:
            self._count(self._writer.heard(partition, user_id, one.wishes[user_id].wish))
            one.wishes[user_id].written = True

    def _count(self, size: int) -> None:
        self._metrics.state_bytes.inc(size)

    def _move(self, one: _Partition, user_ids: Collection[str], stage: _Stage) -> None:
        for user_id in user_ids:
            one.wishes[user_id].stage = stage


def _at(one: _Partition, stage: _Stage) -> list[str]:
    return [user_id for user_id, wish in one.wishes.items() if wish.stage == stage]
