"""The worker's life: wait for Kafka and a release, then poll, absorb, rank, publish, checkpoint.

The only place that decides about failures, and there are three fates. *Retriable*: back off, keep
the state, say so in /readyz. *A bad record*: a dead letter. *Everything else*: it leaves `run`, and
the process stops with a clear message.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import structlog

from worker.core.event import Decoder
from worker.core.recommender import Recommender
from worker.core.release import Release
from worker.core.states import States
from worker.errors import CheckpointFailed, NextclickError, ReleaseRefused, Retriable, SharedIdentity
from worker.http.readiness import Readiness
from worker.metrics import Metrics
from worker.stop import Stop, StopNow
from worker.topics.admin import Admin, Need
from worker.topics.clicks import MAX_BATCH, ClickConsumer, Record, decode
from worker.topics.client import Connection
from worker.topics.dead_letters import DeadLetterWriter
from worker.topics.recommendations import RecommendationWriter
from worker.topics.releases import ReleaseReader
from worker.topics.transactions import Transactions

if TYPE_CHECKING:
    from collections.abc import Iterator

log = structlog.get_logger("worker")

IDLE_POLL_MS: Final = 250
"""The longest that a poll waits: how late a stop may be noticed."""

LOOK_SECONDS: Final = 5.0
"""How often the lag is asked for; where a broker that went away unnoticed is noticed."""

COMMIT_SECONDS: Final = 15.0
"""How long a checkpoint may take before its transaction is given up."""

STOP_COMMIT_SECONDS: Final = 2.0
"""The same after a stop had to interrupt the loop."""

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
        needs: list[Need],
        releases: ReleaseReader,
        clicks: ClickConsumer,
        decoder: Decoder,
        new_recommender: Callable[[Release, States], Recommender],
        transactions: Transactions,
        recommendations: RecommendationWriter,
        dead_letters: DeadLetterWriter,
        commit_interval_seconds: float,
        metrics: Metrics,
        readiness: Readiness,
        stop: Stop,
        clock: Clock,
    ) -> None:
        self._connection = connection
        self._needs = needs
        self._releases = releases
        self._clicks = clicks
        self._decoder = decoder
        self._new_recommender = new_recommender
        self._transactions = transactions
        self._recommendations = recommendations
        self._dead_letters = dead_letters
        self._commit_interval_seconds = commit_interval_seconds
        self._metrics = metrics
        self._readiness = readiness
        self._stop = stop
        self._clock = clock
        self._pending: dict[int, int] = {}
        """The next offset of every partition that has records in the open transaction."""
        self._touched: set[int] = set()
        """The partitions that were polled from since the last checkpoint: an abort is a crash of these."""
        self._walking = False
        """Whether a batch is in the transaction in part, so that it must not be committed."""
        self._revoke_error: BaseException | None = None
        self._served: set[int] = set()
        self._batch = _FIRST_BATCH
        """How many records the next poll may bring."""
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
            self._last_checkpoint(COMMIT_SECONDS)
        except StopNow:
            log.warning("interrupted while waiting for Kafka")
            self._last_checkpoint(STOP_COMMIT_SECONDS)
        finally:
            self._end()

    def _begin(self) -> None:
        self._persist(self._look_at_topics)
        release = self._champion()
        self._states = States(state_size=release.state_size)
        self._recommender = self._new_recommender(release, self._states)
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
            if records:
                began = self._clock.steady()
                if not self._pending:
                    self._checkpoint_due = began + self._commit_interval_seconds
                self._walking = True
                self._walk(records)
                self._walking = False
                self._batch = fitting(
                    len(records), self._clock.steady() - began, within=self._commit_interval_seconds
                )
            if self._clock.steady() >= self._checkpoint_due:
                self._checkpoint(COMMIT_SECONDS)
            self._look()
        except Retriable as error:
            self._start_over(error)

    def _walk(self, records: list[Record]) -> None:
        """The walk of a batch. Nothing flows back; what it sends is not durable before the checkpoint."""
        with self._stage("decode"):
            clicks, bad = decode(records, self._decoder)
        self._dead_letters.publish(bad)
        if len(clicks):
            with self._stage("absorb"):
                absorbed = self._recommender.absorb(clicks, now_ms=self._clock.now_ms())
            with self._stage("rank"):
                lists = self._recommender.rank(absorbed)
            with self._stage("publish"):
                now_ms = self._clock.now_ms()
                release = self._recommender.release.number
                self._recommendations.publish(clicks, lists, release=release, now_ms=now_ms)
            self._metrics.observe_batch(clicks, lists, now_ms)
        self._metrics.observe_bad(reason for _, reason in bad)
        for record in records:
            self._pending[record.partition] = record.offset + 1

    def _checkpoint(self, seconds: float) -> None:
        """Make outputs and offsets durable together, within `seconds`; nothing to do is done at once.

        Steps 2 (every send succeeded), 3 (offsets, of every partition that anything in the
        transaction belongs to) and 4 (commit) are in `Transactions.commit`; step 1, the state, is
        not part of it yet.
        """
        if not self._pending:
            return
        if self._clicks.lost:
            raise CheckpointFailed("the group gave this worker's partitions to others")
        started = self._clock.steady()
        with self._stage("commit"):
            self._transactions.commit(
                self._clicks.topic, self._pending, self._clicks.metadata, seconds=seconds
            )
        self._pending, self._touched, self._failures = {}, set(), 0
        self._metrics.observe_checkpoint(self._clock.steady() - started)

    def _on_revoked(self, partitions: Collection[int]) -> None:
        """Commit before partitions move on (rule b). Runs on the client's thread while `poll` waits."""
        try:
            self._checkpoint(COMMIT_SECONDS)
        except BaseException as error:  # noqa: BLE001  # the loop's thread decides about it
            self._revoke_error = error
        for partition in partitions:
            users = self._states.drop(partition)
            log.info("partition revoked", partition=partition, users=users)

    def _notice_assignment(self) -> None:
        """Act on what the group decided during the poll. Raises what must be acted on by starting over."""
        error, self._revoke_error = self._revoke_error, None
        if error is not None:
            raise error
        if self._clicks.lost:
            raise CheckpointFailed("the group gave this worker's partitions to others")
        if self._clicks.joined and self._readiness.ready():
            log.info("serving")
        assigned = self._clicks.assigned()
        if assigned != self._served:
            log.info("partitions assigned", partitions=sorted(assigned))
            self._served = assigned

    def _start_over(self, error: Retriable) -> None:
        """After a failure: what was not committed did not happen (rules c and e)."""
        self._pending = {}
        log.warning("starting over from the last checkpoint", error=str(error))
        self._metrics.checkpoints.labels("failed").inc()
        self._waiting(str(error))
        self._stop_if_identity_is_shared(error)
        lost = self._clicks.take_lost()
        for partition in self._touched | lost:
            self._states.drop(partition)
        self._touched, self._walking = set(), False
        self._failures += 1
        self._back_off(self._failures - 2)
        self._persist(self._transactions.renew)
        self._persist(self._clicks.rewind)

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
        """Now and then: the lag, and the number of users."""
        now = self._clock.steady()
        self._readiness.beat()
        # Not in the midst of a transaction: a late answer must not cost a sound one.
        if now < self._look_due or self._pending:
            return
        self._look_due = now + LOOK_SECONDS
        self._metrics.observe_owned(self._clicks.lag(), assigned=len(self._served), users=len(self._states))

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

    def _waiting(self, reason: str) -> None:
        if self._readiness.not_ready(reason):
            log.warning("not ready", reason=reason)

    def _look_at_topics(self) -> None:
        with closing(Admin(self._connection)) as kafka:
            partitions = kafka.partitions(self._needs)
        self._dead_letters.partitions = partitions[self._dead_letters.topic]

    def _champion(self) -> Release:
        """The release that `@champion` names: waits until there is one that can be verified."""
        found: list[Release] = []

        def look() -> None:
            with self._releases.opened():
                found.append(self._first_champion())

        self._persist(look)
        release = found[0]
        self._metrics.release.set(release.number)
        log.info("adopted a release", release=release.number, **release.summary())
        return release

    def _first_champion(self) -> Release:
        changed = True
        while True:
            if self._releases.read(timeout_ms=IDLE_POLL_MS) or changed:
                release = self._verified()
                if release is not None:
                    return release
            changed = False
            self._readiness.beat()
            if self._stop.requested:
                raise StopNow

    def _verified(self) -> Release | None:
        try:
            release = self._releases.champion()
        except ReleaseRefused as error:
            self._metrics.releases_refused.labels(error.reason).inc()
            log.error("release refused", reason=error.reason, error=str(error))  # noqa: TRY400  # its text says all
            self._waiting(f"the champion was refused: {error}. Publish another")
            return None
        if release is None:
            self._waiting(
                f"no release: topic {self._releases.topic} has no @champion. "
                "`nextclick-trainer fit` makes one, `nextclick-trainer publish` sends it"
            )
        return release

    def _poll_ms(self) -> int:
        if not self._pending:
            return IDLE_POLL_MS
        due_ms = int((self._checkpoint_due - self._clock.steady()) * 1000)
        return min(max(0, due_ms), IDLE_POLL_MS)

    def _last_checkpoint(self, seconds: float) -> None:
        if self._walking:
            log.warning("stopped in the midst of a batch, its clicks will be read again")
            return
        try:
            self._checkpoint(seconds)
        except NextclickError as error:
            log.warning("the last checkpoint failed, its clicks will be read again", error=str(error))

    def _end(self) -> None:
        self._readiness.not_ready("stopping")
        # Leaving the group revokes: what is pending now did not commit, and must not any more.
        self._pending = {}
        self._stop.ending()
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
