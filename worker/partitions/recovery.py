"""Recovery: how the states of a partition come back when it is assigned, or after a crash of it.

First its blocks are loaded, then the clicks that the blocks lack are replayed: applied from the `replay`
offset up to the committed one, for nobody to see, skipping for each user what the row already holds. Only
then it is served. Partitions that are served already go on being served meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import structlog

from worker.core import blocks
from worker.core.flush import Ledger
from worker.core.states import States
from worker.errors import StateRefused
from worker.metrics import Metrics
from worker.partitions.follower import AllRead, Copies, Failed, StateFollower, StateRecord, Waits
from worker.topics.states import (
    BLOCK,
    FORGET,
    REPLAY,
    Forget,
    Replay,
    block_number,
    parse_forget,
    parse_replay,
)

log = structlog.get_logger("worker")

RELEASE_SECONDS: Final = 10.0
"""How long replay waits for a release that another worker had already; then it goes on without."""


@dataclass(slots=True)
class Recovered:
    """What is known of a partition once its blocks are loaded."""

    partition: int
    ledger: Ledger
    replay: Replay | None
    """Where replay begins by the state topic; None where nothing was ever saved."""
    wishes: dict[str, Forget]
    begin: int
    """Where reading the clicks begins."""
    serve_from: int
    """The first offset that is answered; what is below is replayed."""


@dataclass(slots=True)
class _Progress:
    """One partition on its way."""

    began: float
    ledger: Ledger = field(default_factory=Ledger)
    replay: Replay | None = None
    wishes: dict[str, Forget] = field(default_factory=dict)
    done: float = 0.0
    """How much of the blocks is loaded, from 0 to 1."""
    bytes: int = 0
    refused: dict[str, str] = field(default_factory=dict)
    """By key, what keeps its value from being used; a later one under the same key may replace it."""
    waiting: Recovered | None = None
    """Set while it waits for the release that was in force when it was saved."""
    recovered: Recovered | None = None
    """Set while it is replayed."""
    loaded: float = 0.0
    """When all blocks were."""
    position: int = 0
    replayed: int = 0


class Recovery:
    """The partitions that are assigned and not served yet."""

    def __init__(
        self,
        states: States,
        follower: StateFollower,
        *,
        knows: Callable[[int], bool],
        metrics: Metrics,
        steady: Callable[[], float],
    ) -> None:
        self._states = states
        self._follower = follower
        self._knows = knows
        """Whether the release of that number was dealt with."""
        self._metrics = metrics
        self._steady = steady
        self._tokens: dict[int, int] = {}
        """Of every partition that is followed, recovered or served."""
        self._recovering: dict[int, _Progress] = {}
        self._waits = ""

    def __len__(self) -> int:
        return len(self._recovering)

    def __contains__(self, partition: int) -> bool:
        return partition in self._recovering

    def begin(self, partition: int) -> None:
        """Begin to recover a partition, or begin anew; of its states there must be nothing."""
        self._tokens[partition] = self._follower.follow(partition)
        self._recovering[partition] = _Progress(self._steady())

    def drop(self, partition: int) -> None:
        """Let go of a partition, recovered or not."""
        self._follower.leave(partition)
        self._tokens.pop(partition, None)
        self._recovering.pop(partition, None)

    def load(
        self, seconds: float, wait_seconds: float = 0.0
    ) -> tuple[list[Recovered], list[Copies | StateRecord]]:
        """Load what was read back, for so many seconds at most, having waited for the first so long.

        Gives the partitions whose blocks are loaded, to be replayed now, and what concerns the wishes of
        partitions that are served. Raises StateRefused, and what the follower could not go on with.
        """
        wishes: list[Copies | StateRecord] = []
        deadline = self._steady() + wait_seconds + seconds
        event = self._follower.take(wait_seconds)
        while event is not None:
            if isinstance(event, Failed):
                raise event.error
            if isinstance(event, Waits):
                self._waits = event.reason
            elif self._tokens.get(event.partition) == event.token:
                self._waits = ""
                progress = self._recovering.get(event.partition)
                if progress is None or isinstance(event, Copies):
                    wishes += [event] if not isinstance(event, AllRead) else []
                elif isinstance(event, AllRead):
                    self._loaded(progress, event)
                else:
                    self._take(progress, event)
            event = self._follower.take() if self._steady() < deadline else None
        return self._with_their_release(), wishes

    def loading(self) -> bool:
        """Whether blocks of some partition are still to be loaded."""
        return any(progress.recovered is None for progress in self._recovering.values())

    def serve_from(self, partition: int) -> int:
        """The first offset of a partition that is to be answered; below it all is replayed. 0 when served."""
        progress = self._recovering.get(partition)
        return progress.recovered.serve_from if progress and progress.recovered else 0

    def replaying(self) -> list[int]:
        """The partitions that are replayed at the moment."""
        return [partition for partition, progress in self._recovering.items() if progress.recovered]

    def replayed(self, partition: int, clicks: int, position: int) -> Recovered | None:
        """Note that replay came so far; what is known of the partition once it can be served."""
        progress = self._recovering[partition]
        recovered = progress.recovered
        progress.replayed += clicks
        progress.position = position
        if recovered is None or position < recovered.serve_from:
            return None
        del self._recovering[partition]
        now = self._steady()
        seconds = now - progress.began
        self._metrics.recovery_seconds.observe(seconds)
        log.info(
            "partition recovered",
            partition=partition,
            users=self._states.users(partition),
            blocks=len(recovered.ledger),
            megabytes=round(progress.bytes / 1e6, 1),
            replayed=progress.replayed,
            seconds=round(seconds, 2),
            replay_seconds=round(now - progress.loaded, 2),
        )
        return recovered

    def left_seconds(self) -> float:
        """About how long the slowest partition will still take."""
        return max((_left(progress, self._steady()) for progress in self._recovering.values()), default=0.0)

    def describe(self) -> str:
        """Why not all is served, for people; empty when all is."""
        if not self._recovering:
            return ""
        names = ", ".join(str(partition) for partition in sorted(self._recovering))
        users = sum(self._states.users(partition) for partition in self._recovering)
        if self._waits:
            return f"recovering partitions {names}: {self._waits}"
        megabytes = sum(progress.bytes for progress in self._recovering.values()) / 1e6
        replayed = sum(progress.replayed for progress in self._recovering.values())
        return (
            f"recovering partitions {names}: {users} users, {megabytes:.0f} MB of blocks, {replayed} clicks "
            f"replayed, about {self.left_seconds():.0f} s left"
        )

    def _with_their_release(self) -> list[Recovered]:
        """The partitions that need not wait any more, for another worker's release to come here, too."""
        found = []
        for progress in self._recovering.values():
            waiting = progress.waiting
            if waiting is None:
                continue
            late = self._steady() - progress.loaded > RELEASE_SECONDS
            if waiting.replay is None or self._knows(waiting.replay.release) or late:
                progress.recovered, progress.waiting, self._waits = waiting, None, ""
                found.append(waiting)
            else:
                self._waits = f"waiting for release {waiting.replay.release}, in force when it was saved"
        return found

    def _take(self, progress: _Progress, record: StateRecord) -> None:
        progress.refused.pop(record.key, None)
        try:
            self._take_record(progress, record)
        except StateRefused as error:
            if progress.recovered is not None:
                raise
            if record.value is not None:
                progress.refused[record.key] = str(error)

    def _take_record(self, progress: _Progress, record: StateRecord) -> None:
        partition, key, value = record.partition, record.key, record.value
        if key.startswith(BLOCK):
            number = block_number(key)
            if value is None:
                progress.ledger.drop(self._states, partition, number)
            else:
                users = progress.ledger.load(self._states, partition, number, blocks.decode(value))
                self._metrics.recovery_users.inc(users)
        elif key == REPLAY:
            progress.replay = parse_replay(value) if value is not None else None
        elif key.startswith(FORGET):
            self._wish(progress, partition, key.removeprefix(FORGET), value)
        else:
            raise StateRefused("no such key is known")
        progress.done = record.done
        progress.bytes += len(value or b"")
        self._metrics.recovery_bytes.inc(len(value or b""))

    def _wish(self, progress: _Progress, partition: int, user_id: str, value: bytes | None) -> None:
        known = progress.wishes.get(user_id)
        wish = None if value is None else parse_forget(user_id, value)
        if known is not None and not known.heard and _is_of_earlier(wish, known):
            return
        if wish is None:
            progress.wishes.pop(user_id, None)
            self._states.forgotten(partition, user_id)
        else:
            progress.wishes[user_id] = wish
            position = progress.recovered.serve_from if progress.recovered else 0
            self._states.forget(partition, user_id, wish.hear(position).before)

    def _loaded(self, progress: _Progress, read: AllRead) -> None:
        replay, committed, partition = progress.replay, read.committed, read.partition
        self._check(progress, read)
        saved_until = read.begin if replay is None else replay.offset
        begin = max(saved_until, read.begin)
        serve_from = max(read.begin, begin if committed is None else committed)
        missing = min(begin, serve_from) - saved_until
        if missing > 0:
            unanswered = max(0, read.begin - (read.begin if committed is None else committed))
            self._metrics.replay_missing.inc(missing)
            self._metrics.unanswered.inc(unanswered)
            log.warning(
                "retention deleted clicks that were not saved yet: the states of their users lack them",
                partition=partition,
                offsets=missing,
                unanswered=unanswered,
                first=saved_until,
                log_start=read.begin,
            )
        # Nobody obeyed these before the last commit: what came of any click until then goes.
        for user_id, wish in progress.wishes.items():
            self._states.forget(partition, user_id, wish.hear(serve_from).before)
        progress.done, progress.position, progress.loaded = 1.0, begin, self._steady()
        progress.waiting = Recovered(
            partition, progress.ledger, replay, progress.wishes, begin=begin, serve_from=serve_from
        )

    def _check(self, progress: _Progress, read: AllRead) -> None:
        """Stop where the clicks, the group and the states do not fit together, or not all can be read."""
        replay, committed, partition = progress.replay, read.committed, read.partition
        where = f"partition {partition} of topic {self._follower.topic}"
        reset = f"`nextclick-worker reset --partition {partition}"
        for key, why in progress.refused.items():
            if key.startswith(FORGET):
                raise StateRefused(f"{where}: {why}. Nothing was changed")
            raise StateRefused(
                f"{key} in {where} cannot be read: {why}. Nothing was changed. If a newer worker wrote it, "
                f"run that one; if it is damaged, {reset} --at committed` goes on with empty states there"
            )
        if replay is None and len(progress.ledger):
            raise StateRefused(
                f"{where} has blocks and no {REPLAY}: {reset} --at committed` goes on with empty states"
            )
        wrong = max(committed or 0, 0 if replay is None else replay.offset)
        if wrong > read.end:
            raise StateRefused(
                f"offset {wrong} is committed or saved in {where}, but the clicks there end at {read.end}: "
                f"was their topic made anew? {reset} --at earliest` starts empty at the first click"
            )
        if replay is not None and committed is None:
            raise StateRefused(
                f"{where} has states up to offset {replay.offset} of the clicks, but the group has no "
                "committed offset there (Kafka deletes those of a group that was away for long): "
                f"{reset} --at saved` goes on from the states, answering again what came since"
            )
        if replay is None and committed is not None:
            raise StateRefused(
                f"the group has committed offset {committed}, but {where} is empty: {reset} --at committed` "
                "goes on from there with empty states, --at earliest reads all clicks again"
            )
        if replay is not None and committed is not None and replay.offset > committed:
            raise StateRefused(
                f"{where} has states up to offset {replay.offset}, but the group has committed {committed}: "
                f"were its offsets set back? {reset} --at committed` goes on from there with empty states"
            )


def _is_of_earlier(wish: Forget | None, known: Forget) -> bool:
    """Whether an owner wrote this about an earlier wish, not having heard of the one that is `known`."""
    return wish is None or (wish.heard and wish.before < known.before)


def _left(progress: _Progress, now: float) -> float:
    """By what was done so far: first of the blocks, then of the clicks to replay."""
    recovered, seconds = progress.recovered, now - progress.began
    if recovered is None:
        return seconds * (1 - progress.done) / progress.done if progress.done else 0.0
    clicks = recovered.serve_from - recovered.begin
    done = (progress.position - recovered.begin) / clicks if clicks else 1.0
    return seconds * (1 - done) / done if done else 0.0
