"""The worker's life: wait for Kafka and a release, recover, then poll, apply, rank, publish, checkpoint.

The only place that decides about failures, and there are three fates. *Retriable*: back off, keep
the state, say so in /readyz. *A bad record*: a dead letter. *Everything else*: it leaves `run`, and
the process stops with a clear message.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import structlog

from worker.core.description import described
from worker.core.event import Decoder
from worker.core.states import States
from worker.errors import CheckpointFailed, NextclickError, Retriable, SharedIdentity
from worker.http.questions import Answer, Questions
from worker.http.readiness import Readiness
from worker.kafka.interface import MAX_BATCH, Connection, GroupMember, Record, Transactions
from worker.live_quality import Reporting
from worker.metrics import Metrics
from worker.partitions.flushing import Saving
from worker.partitions.follower import Copies, StateFollower, StateRecord
from worker.partitions.recovery import Recovery
from worker.process.stop import Stop, StopNow
from worker.releases.adoption import Adoption
from worker.topics import needs
from worker.topics.clicks import decode
from worker.topics.dead_letters import DeadLetterWriter
from worker.topics.needs import Need
from worker.topics.recommendations import RecommendationWriter
from worker.topics.states import FORGET, parse_forget

if TYPE_CHECKING:
    from collections.abc import Iterator

log = structlog.get_logger("worker")

IDLE_POLL_MS: Final = 250
"""The longest that a poll waits: how late a stop may be noticed."""

LOADING_POLL_MS: Final = 10
"""The same where blocks may come any moment."""

LOOK_SECONDS: Final = 5.0
"""How often the lag is asked for; where a broker that went away unnoticed is noticed."""

COMMIT_SECONDS: Final = 15.0
"""How long a checkpoint may take before its transaction is given up."""

STOP_COMMIT_SECONDS: Final = 2.0
"""The same after a stop had to interrupt the loop."""

SAVE_SECONDS: Final = 1.0
"""How long the states of partitions that go to another worker may take to be sent; it replays the rest."""

LOAD_SECONDS: Final = 0.02
"""How long blocks are loaded in one round where other partitions wait to be served."""

LOAD_ALONE_SECONDS: Final = 0.2
"""The same where none does."""

REBUILD_SECONDS: Final = 0.02
"""How long states of another release are rebuilt in one round where no click came."""

REBUILD_BESIDE_SECONDS: Final = 0.001
"""The same where clicks did."""

BUSY_PARTS: Final = 4
"""With more records than one in so many of those that it could walk in time a worker is hard at work."""

FENCED_TWICE_SECONDS: Final = 60.0
"""Two workers that share a transactional id fence each other at least this often."""

_FIRST_BATCH: Final = 250
_MIN_BATCH: Final = 64
"""A matrix product of fewer rows costs more per row."""

_BACKOFF_SECONDS: Final = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)


@dataclass(frozen=True, slots=True)
class Clock:
    """The time: `wall` in seconds since the epoch, `steady` for measuring how long something takes."""

    wall: Callable[[], float]
    steady: Callable[[], float]

    def now_ms(self) -> int:
        """Milliseconds since the epoch."""
        return int(self.wall() * 1000)


class Loop:
    """One worker, made of parts that `worker.__main__` wires together."""

    def __init__(
        self,
        *,
        connection: Connection,
        topics_needed: list[Need],
        refresh: Adoption,
        clicks: GroupMember,
        decoder: Decoder,
        transactions: Transactions,
        recommendations: RecommendationWriter,
        dead_letters: DeadLetterWriter,
        follower: StateFollower,
        states: States,
        saving: Saving,
        reporting: Reporting,
        commit_interval_seconds: float,
        metrics: Metrics,
        readiness: Readiness,
        questions: Questions,
        stop: Stop,
        clock: Clock,
    ) -> None:
        self._connection = connection
        self._topics_needed = topics_needed
        self._refresh = refresh
        self._clicks = clicks
        self._decoder = decoder
        self._transactions = transactions
        self._recommendations = recommendations
        self._dead_letters = dead_letters
        self._follower = follower
        self._states = states
        self._saving = saving
        self._reporting = reporting
        self._commit_interval_seconds = commit_interval_seconds
        self._metrics = metrics
        self._readiness = readiness
        self._questions = questions
        self._stop = stop
        self._clock = clock
        self._positions: dict[int, int] = {}
        """The next offset of every partition that is served."""
        self._pending: set[int] = set()
        """The partitions of which something is in the open transaction."""
        self._touched: set[int] = set()
        """Those, and the ones polled from since the last checkpoint: an abort is a crash of these."""
        self._walking = False
        """Whether a batch is in the transaction in part, so that it must not be committed."""
        self._ending = False
        self._revoke_error: BaseException | None = None
        self._batch = _FIRST_BATCH
        """How many records the next poll may bring."""
        self._save_due = True
        """Whether the open transaction may still take a part of a flush."""
        self._checkpoint_due = self._look_due = 0.0
        self._fenced_at = -FENCED_TWICE_SECONDS
        self._failures = 0
        """How often the worker started over since the last checkpoint."""

    def run(self) -> None:
        """Serve until a stop is requested. Raises what only a person can mend."""
        try:
            self._begin()
            while not self._stop.requested:
                self._round()
            self._last_checkpoint(COMMIT_SECONDS, save_seconds=SAVE_SECONDS)
        except StopNow:
            log.warning("interrupted while waiting for Kafka")
            self._last_checkpoint(STOP_COMMIT_SECONDS, save_seconds=0)
        finally:
            self._end()

    def _begin(self) -> None:
        self._persist(self._look_at_topics)
        self._await_release()
        self._recovery = Recovery(
            self._states,
            self._follower,
            knows=self._refresh.knows,
            metrics=self._metrics,
            steady=self._clock.steady,
        )
        self._persist(self._transactions.renew)
        self._persist(lambda: self._clicks.join(self._on_revoked))
        self._readiness.not_ready("joining the consumer group")

    def _round(self) -> None:
        """Poll once and walk what came."""
        try:
            with self._stage("poll"):
                records = self._clicks.poll(self._poll_ms(), self._batch)
            self._touched |= {record.partition for record in records}
            self._notice_assignment()
            self._refresh.adopt()
            self._serve(records)
            self._rebuild(len(records))
            self._recover()
            self._save()
            if self._clock.steady() >= self._checkpoint_due:
                self._checkpoint(COMMIT_SECONDS)
            self._look()
            self._questions.answer(self._known_of)
        except Retriable as error:
            self._start_over(error)

    def _serve(self, records: list[Record]) -> None:
        """Walk the records of partitions that are served; apply those that are only replayed."""
        if not records:
            return
        began = self._clock.steady()
        # The listener runs on the client's thread: a poll may bring records of what was given up meanwhile.
        foreign = self._touched - self._positions.keys()
        live = self._replay(records) if self._recovery or foreign else records
        if live:
            self._walking = True
            self._walk(live)
            self._walking = False
        self._batch = fitting(
            len(records), self._clock.steady() - began, within=self._commit_interval_seconds
        )

    def _replay(self, records: list[Record]) -> list[Record]:
        """Apply, for nobody to see, what was answered before a crash; the records that were not."""
        from_offset = {partition: self._recovery.serve_from(partition) for partition in self._touched}
        silent = [record for record in records if record.offset < from_offset[record.partition]]
        if silent:
            with self._stage("replay"):
                clicks, _ = decode(silent, self._decoder)
                self._metrics.replayed.inc(self._refresh.serving.replay(clicks) if len(clicks) else 0)
        self._notice_replayed(Counter(record.partition for record in silent))
        return [r for r in records if r.offset >= from_offset[r.partition] and r.partition in self._positions]

    def _notice_replayed(self, counts: Mapping[int, int]) -> None:
        for partition in self._recovery.replaying():
            position = self._clicks.position(partition)
            recovered = self._recovery.replayed(partition, counts.get(partition, 0), position)
            if recovered is not None:
                self._refresh.rebuild_from_start()
                self._positions[partition] = recovered.serve_from
                self._saving.begin(
                    partition, recovered.ledger, recovered.replay, recovered.wishes, recovered.serve_from
                )

    def _recover(self) -> None:
        """Load blocks for a while, and begin to replay where all of a partition's are loaded."""
        alone = not self._positions
        wait = IDLE_POLL_MS / 1000 if alone and self._recovery.loading() else 0.0
        with self._stage("recover"):
            loaded, wishes = self._recovery.load(LOAD_ALONE_SECONDS if alone else LOAD_SECONDS, wait)
        for one in loaded:
            self._clicks.begin(one.partition, one.begin)
        self._notice_replayed({})
        for wish in wishes:
            self._obey(wish)
        if self._recovery:
            self._waiting(self._recovery.describe(), news=False)
        elif self._clicks.joined and self._readiness.ready():
            log.info("serving", partitions=sorted(self._positions))

    def _obey(self, wish: Copies | StateRecord) -> None:
        """Act on what concerns people who want to be forgotten, in a partition that is served."""
        if wish.partition not in self._positions:
            return
        if isinstance(wish, Copies):
            self._saving.found(wish)
        elif wish.key.startswith(FORGET) and wish.value is not None:
            user_id = wish.key.removeprefix(FORGET)
            position = self._positions[wish.partition]
            self._saving.wish(wish.partition, user_id, parse_forget(user_id, wish.value), position)

    def _walk(self, records: list[Record]) -> None:
        """The walk of a batch. Nothing flows back; what it sends is not durable before the checkpoint."""
        with self._stage("decode"):
            clicks, bad = decode(records, self._decoder)
        self._dead_letters.publish(bad)
        if len(clicks):
            with self._stage("apply"):
                applied = self._refresh.serving.apply(clicks, now_ms=self._clock.now_ms())
            with self._stage("rank"):
                lists = self._refresh.serving.rank(applied)
            with self._stage("publish"):
                now_ms = self._clock.now_ms()
                self._recommendations.publish(clicks, lists, now_ms=now_ms)
            champion = self._refresh.serving.champion.release.number
            self._metrics.observe_batch(clicks, lists, now_ms, champion=champion)
        self._metrics.observe_bad(reason for _, reason in bad)
        for record in records:
            self._positions[record.partition] = record.offset + 1
        self._pending |= {record.partition for record in records}
        self._saving.make_room()

    def _checkpoint(self, seconds: float) -> None:
        """Make states, outputs and offsets durable together, within `seconds`.

        Step 1 adds what was counted; the states that were due are on their way since `_save`. Steps 2 (every
        send succeeded), 3 (offsets, of every partition that anything in the transaction belongs to) and 4
        (commit) are in `Transactions.commit`.
        """
        if self._clicks.lost:
            raise CheckpointFailed("the group gave this worker's partitions to others")
        started = self._clock.steady()
        self._checkpoint_due = started + self._commit_interval_seconds
        self._save_due = True
        with self._stage("save"):
            release = self._refresh.serving.champion.release.number
            # First the counts: saving adds what the first transaction of their partition has to bring.
            self._note_saved(self._reporting.part(self._positions, self._pending, self._refresh.serving))
            self._note_saved(self._saving.missing(self._pending, release))  # 1
        if not self._pending:
            self._saving.committed()
            return
        with self._stage("commit"):
            offsets = {partition: self._positions[partition] for partition in self._pending}
            self._transactions.commit(self._clicks.topic, offsets, self._clicks.metadata, seconds=seconds)
        self._pending, self._touched, self._failures = set(), set(), 0
        self._saving.committed()
        self._reporting.committed()
        self._metrics.observe_checkpoint(self._clock.steady() - started)

    def _save(self) -> None:
        """Add the states that are due, once in a transaction, soon after it began."""
        if self._save_due:
            self._save_due = False
            with self._stage("save"):
                release = self._refresh.serving.champion.release.number
                self._note_saved(self._saving.parts(self._positions, release))

    def _save_everything(self, partitions: Collection[int], seconds: float) -> None:
        self._reporting.hurry()
        release = self._refresh.serving.champion.release.number
        with self._stage("save"):
            self._note_saved(self._saving.everything(partitions, self._positions, release, seconds=seconds))

    def _note_saved(self, partitions: Iterable[int]) -> None:
        for partition in partitions:
            self._pending.add(partition)
            self._touched.add(partition)

    def _on_revoked(self, partitions: Collection[int]) -> None:
        """Commit before partitions move on (rule b). Runs on the client's thread while `poll` waits."""
        if self._ending:
            return
        try:
            self._save_everything(self._positions.keys() & partitions, SAVE_SECONDS)
            self._checkpoint(COMMIT_SECONDS)
        except BaseException as error:  # noqa: BLE001  # the loop's thread decides about it
            self._revoke_error = error
        for partition in partitions:
            log.info("partition revoked", partition=partition, users=self._drop(partition))

    def _notice_assignment(self) -> None:
        """Act on what the group decided during the poll. Raises what must be acted on by starting over."""
        error, self._revoke_error = self._revoke_error, None
        if error is not None:
            raise error
        if self._clicks.lost:
            raise CheckpointFailed("the group gave this worker's partitions to others")
        assigned = self._clicks.assigned()
        if gone := self._positions.keys() - assigned:
            self._touched |= gone
            raise CheckpointFailed(f"partitions {sorted(gone)} are no longer assigned to this worker")
        new = {one for one in assigned if one not in self._positions and one not in self._recovery}
        if new:
            log.info("partitions assigned", partitions=sorted(new))
            if max(new) >= self._state_partitions:
                self._persist(self._look_at_topics)
            for partition in new:
                self._recovery.begin(partition)

    def _drop(self, partition: int) -> int:
        """Forget all of a partition; how many users that were."""
        self._saving.drop(partition)
        self._reporting.drop(partition)
        self._recovery.drop(partition)
        self._positions.pop(partition, None)
        return self._states.drop(partition)

    def _start_over(self, error: Retriable) -> None:
        """After a failure: what was not committed did not happen (rules c and e)."""
        self._pending = set()
        self._reporting.failed()
        log.warning("starting over from the last checkpoint", error=str(error))
        self._metrics.checkpoints.labels("failed").inc()
        self._waiting(str(error))
        self._stop_if_identity_is_shared(error)
        crashed = self._touched | self._clicks.take_lost()
        self._clicks.hold(crashed)
        for partition in crashed:
            self._drop(partition)
        self._touched, self._walking = set(), False
        self._failures += 1
        self._back_off(self._failures - 2)
        self._persist(self._transactions.renew)

    def _stop_if_identity_is_shared(self, error: Retriable) -> None:
        if not (isinstance(error, CheckpointFailed) and error.fenced):
            return
        now = self._clock.steady()
        if now - self._fenced_at < FENCED_TWICE_SECONDS:
            raise SharedIdentity(
                f"fenced twice within {FENCED_TWICE_SECONDS:g} s: another worker runs with the same "
                "group and worker_id: give every worker a worker_id of its own. (If there is no other: its "
                "transactions outlasted kafka.transaction_timeout_ms, as when the process is frozen)"
            )
        self._fenced_at = now

    def _look(self) -> None:
        """Now and then: the lag, and what is owned."""
        now = self._clock.steady()
        self._readiness.beat()
        self._note_owned()
        self._states.collect_items()
        # Not in the midst of a transaction: a late answer must not cost a sound one.
        if now < self._look_due or self._pending:
            return
        self._look_due = now + LOOK_SECONDS
        for partition, position in self._positions.items():
            # Past the marks of others' transactions too, which are no records.
            self._positions[partition] = max(position, self._clicks.position(partition))
        self._metrics.unsaved_users.set(self._saving.unsaved_users())
        self._metrics.observe_lag(self._clicks.lag())

    def _known_of(self, user_id: str) -> Answer:
        """What this worker knows of a user; where it knows nothing, which partitions it does know."""
        served = sorted(self._positions)
        known = described(self._states, self._refresh.serving.recommender(user_id), user_id, served)
        if known is not None:
            return True, known
        error = "this worker has no state of this user: it never was here, or is in another partition"
        return False, {"error": error, "serves": served, "not_ready": self._recovery.describe()}

    def _note_owned(self) -> None:
        metrics = self._metrics
        metrics.assigned.set(len(self._positions))
        metrics.users.set(len(self._states))
        metrics.state_blocks.set(self._saving.blocks)
        metrics.recovering.set(len(self._recovery))
        metrics.recovery_left.set(self._recovery.left_seconds())
        metrics.users_moved.inc(self._states.take_moved())
        self._refresh.note()

    def _persist(self, action: Callable[[], None]) -> None:
        """Do `action`, again and again while it fails in a way that may pass. StopNow when asked to stop."""
        attempt = 0
        while True:
            try:
                return action()
            except Retriable as error:
                self._waiting(str(error))
            self._back_off(attempt)
            attempt += 1

    def _back_off(self, attempt: int) -> None:
        """Wait, the longer the higher `attempt` is; a negative one not at all. StopNow when asked to stop."""
        seconds = _BACKOFF_SECONDS[min(attempt, len(_BACKOFF_SECONDS) - 1)] if attempt >= 0 else 0.0
        if self._stop.wait(seconds):
            raise StopNow

    def _waiting(self, reason: str, *, news: bool = True) -> None:
        if self._readiness.not_ready(reason) and news:
            log.warning("not ready", reason=reason)

    def _look_at_topics(self) -> None:
        with closing(self._connection.admin()) as admin:
            partitions = needs.require(admin, self._topics_needed)
        self._dead_letters.partitions = partitions[self._dead_letters.topic]
        self._state_partitions = partitions[self._follower.topic]

    def _await_release(self) -> None:
        self._refresh.start()
        while not self._refresh.wait(IDLE_POLL_MS / 1000):
            self._readiness.beat()
            if self._stop.requested:
                raise StopNow

    def _rebuild(self, came: int) -> None:
        """Rebuild states in the background, unless so many records came that the worker is hard at work."""
        if self._refresh.rebuilding and came * BUSY_PARTS < self._batch:
            with self._stage("rebuild"):
                self._refresh.rebuild(REBUILD_BESIDE_SECONDS if came else REBUILD_SECONDS)

    def _poll_ms(self) -> int:
        if self._recovery.loading():
            return LOADING_POLL_MS if self._positions and not self._follower.waiting else 0
        if self._refresh.rebuilding:
            return 0
        if not self._pending and not self._saving.flushing:
            return IDLE_POLL_MS
        due_ms = int((self._checkpoint_due - self._clock.steady()) * 1000)
        return min(max(0, due_ms), IDLE_POLL_MS)

    def _last_checkpoint(self, seconds: float, *, save_seconds: float) -> None:
        if self._walking:
            log.warning("stopped in the midst of a batch, its clicks will be read again")
            return
        if not self._positions:
            return
        try:
            if save_seconds:
                self._save_everything(list(self._positions), save_seconds)
            self._checkpoint(seconds)
        except NextclickError as error:
            log.warning("the last checkpoint failed, its clicks will be read again", error=str(error))

    def _end(self) -> None:
        self._readiness.not_ready("stopping")
        # Leaving the group revokes: what is pending now did not commit, and must not any more.
        self._ending = True
        self._stop.ending()
        self._refresh.close()
        self._follower.close()
        self._clicks.close(seconds=STOP_COMMIT_SECONDS)
        self._transactions.drop()
        log.info("stopped")

    @contextmanager
    def _stage(self, stage: str) -> Iterator[None]:
        started = self._clock.steady()
        yield
        self._metrics.stages.labels(stage).inc(self._clock.steady() - started)


def fitting(records: int, seconds: float, *, within: float) -> int:
    """How many records can be walked `within` some seconds where `records` took `seconds`.

    The more records a batch has, the less each costs, and the longer all of them wait: with a few thousand
    items a batch may have thousands, with a million some dozens.

    >>> fitting(100, 0.01, within=0.2), fitting(100, 0.001, within=0.2), fitting(100, 5, within=0.2)
    (2000, 4000, 64)
    """
    return max(_MIN_BATCH, min(MAX_BATCH, int(records * within / max(seconds, 1e-6))))
