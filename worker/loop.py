"""The main loop: wait for Kafka, a release, items, rules; recover; then poll, apply, rank, publish, commit.

The loop alone decides how to handle failures. After a *retriable* error, it backs off, reports the error in
/readyz, and recovers the partitions of the open transaction. A *bad record* becomes a dead letter. Any
*other* error leaves `run`, and the process stops with a clear message.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from typing import Final

import structlog

from worker.answering import Answering
from worker.checkpoint import Checkpoint
from worker.errors import (
    CheckpointFailed,
    NextclickError,
    RegistryAway,
    Retriable,
    StateRefused,
    TopicError,
)
from worker.http.readiness import Readiness
from worker.items.rules import RuleUpdates
from worker.items.updates import ItemUpdates
from worker.kafka.interface import MAX_BATCH, GroupMember, Record, Transactions
from worker.metrics import Metrics
from worker.observer import Observer
from worker.pace import IDLE_POLL_MS, Pace
from worker.partitions.created_again import CreatedAgain
from worker.partitions.recovery import Recovery
from worker.partitions.table import PartitionTable
from worker.process.retry import Retry
from worker.process.stop import Stop, StopNow
from worker.releases.adoption import Adoption
from worker.topics.clicks import Decoded
from worker.topics.watch import TopicWatch
from worker.walk import Walk

log = structlog.get_logger("worker")

COMMIT_SECONDS: Final = 15.0
"""Time limit of a checkpoint; a transaction that takes longer is abandoned."""

STOP_COMMIT_SECONDS: Final = 2.0
"""Time limit of a checkpoint after an interruption, or before a wait for a topic or the schema registry."""

FLUSH_SECONDS: Final = 1.0
"""Time limit for flushing the states of partitions that move to another worker, which replays the clicks of
the states that were not flushed."""


class Loop:
    """The main loop of a worker, assembled by `worker.wiring`."""

    def __init__(
        self,
        *,
        member: GroupMember,
        transactions: Transactions,
        adoption: Adoption,
        followed: Sequence[ItemUpdates | RuleUpdates],
        table: PartitionTable,
        recovery: Recovery,
        walk: Walk,
        answering: Answering,
        checkpoint: Checkpoint,
        observer: Observer,
        pace: Pace,
        retry: Retry,
        topics: TopicWatch,
        created_again: CreatedAgain,
        look_up_schema: Callable[[], None],
        claim_identity: Callable[[], None],
        metrics: Metrics,
        readiness: Readiness,
        stop: Stop,
    ) -> None:
        self._member = member
        self._transactions = transactions
        self._adoption = adoption
        self._followed = followed
        """The topics of items and rules, as far as there are any."""
        self._table = table
        self._recovery = recovery
        self._walk = walk
        self._answering = answering
        self._checkpoint = checkpoint
        self._observer = observer
        self._pace = pace
        self._retry = retry
        self._topics = topics
        self._created_again = created_again
        self._look_up_schema = look_up_schema
        """Looks up the schema of the lists in the registry, if the format of the lists has a schema."""
        self._claim_identity = claim_identity
        """Waits until no other member of the group has this worker's name."""
        self._metrics = metrics
        self._readiness = readiness
        self._stop = stop
        self._ending = False
        self._revoke_error: BaseException | None = None

    def run(self) -> None:
        """Serve until a stop is requested. Raises errors that need an operator."""
        try:
            self.begin()
            while not self._stop.requested:
                self.round()
            self.last_checkpoint(COMMIT_SECONDS, flush_seconds=FLUSH_SECONDS)
        except StopNow:
            log.warning("interrupted while waiting")
            self.last_checkpoint(STOP_COMMIT_SECONDS, flush_seconds=0)
        finally:
            self.end()

    def round(self) -> None:
        """Poll once and process the batch. Raises errors that need an operator."""
        try:
            self._heed_topics()
            records = self._poll()
            self._notice_assignment()
            self._adoption.adopt()
            self._apply_changes()
            self._serve(records)
            self._answering.answer()
            self._rebuild(len(records))
            self._recover()
            self._checkpoint.flush_due()
            if self._checkpoint.due:
                self._checkpoint.commit(COMMIT_SECONDS)
            self._table.tidy()
            self._observer.look()
        except (Retriable, TopicError) as error:
            self._start_over(self._topics.cause(error))
        except StateRefused:
            # Perhaps a topic was created again, and the watch has not seen it yet. Its advice is better.
            with suppress(Retriable, TopicError):
                self._topics.require()
            self._heed_created_again()
            raise

    def begin(self) -> None:
        """Wait for Kafka, a release, the items and the rules, then join the group.

        Raises StopNow and non-retriable errors.
        """
        self._retry.until_done(self._topics.require)
        self._topics.start()
        self._retry.until_done(self._look_up_schema)
        # This precedes the wait for a release, so that a worker with a shared identity fails at once; and
        # it precedes `renew`, so that this worker does not fence the other worker.
        self._retry.until_done(self._claim_identity)
        self._await(self._adoption)
        for one in self._followed:
            self._await(one)
        self._retry.until_done(self._transactions.renew)
        self._retry.until_done(lambda: self._member.join(self._on_revoked))
        self._readiness.not_ready("joining the consumer group")

    def _heed_topics(self) -> None:
        """Wait while a topic is gone; handle topics created again. Raises StateRefused, CheckpointFailed."""
        self._topics.look()
        if self._topics.trouble:
            # After this commit, memory is valid, so the worker can resume without reading the missing topic.
            self._checkpoint.commit(STOP_COMMIT_SECONDS)
            self._retry.until_done(self._topics.require)
        self._heed_created_again()

    def _heed_created_again(self) -> None:
        if again := self._topics.take_created_again():
            self._created_again.heed(again)

    def _await(self, first: Adoption | ItemUpdates | RuleUpdates) -> None:
        """Start to follow a topic, and wait until what a worker needs of it has been read."""
        first.start()
        while not first.wait(IDLE_POLL_MS / 1000):
            self._readiness.beat()
            if self._stop.requested:
                raise StopNow

    def _poll(self) -> list[Record]:
        with self._metrics.timed("poll"):
            records = self._member.poll(self._pace.wait_ms(), self._pace.records)
        self._checkpoint.touch({record.partition for record in records})
        return records

    def _notice_assignment(self) -> None:
        """Handle changes of the assignment during the last poll. Raises an error if work must be repeated."""
        error, self._revoke_error = self._revoke_error, None
        if error is not None:
            raise error
        if self._member.lost:
            raise CheckpointFailed(
                "the group gave this worker's partitions to other workers", reason="revoked"
            )
        assigned = self._member.assigned()
        if gone := self._table.served().keys() - assigned:
            self._checkpoint.touch(gone)
            raise CheckpointFailed(
                f"partitions {sorted(gone)} are no longer assigned to this worker", reason="revoked"
            )
        new = {number for number in assigned if number not in self._table}
        if new:
            log.info("partitions assigned", partitions=sorted(new))
            if max(new) >= self._topics.partitions(self._created_again.state):
                self._retry.until_done(self._topics.require)
            for number in new:
                self._table.assign(number)

    def _serve(self, records: list[Record]) -> None:
        """Process the records of served partitions; replay records that were answered before."""
        if not records:
            return
        self._table.require_order(records)
        silent, live = self._recovery.split(records)
        with self._pace.measured(len(records), replayed=bool(silent)):
            for _, decoded in self._groups(silent, polled=records):
                self._walk.replay(decoded.clicks)
            if self._recovery.replayed(silent):
                self._adoption.rebuild_from_start()
            # The revocation listener runs inside `poll`, on the client's thread. So a poll may still return
            # records of partitions that it has just revoked.
            served = self._table.served()
            live = [record for record in live if record.partition in served]
            if silent:
                self._apply_changes()
            at_once = self._pace.served if silent else len(live)
            for group, decoded in self._groups(live, polled=records, at_once=at_once):
                self._walk.walk(group, decoded)

    def _groups(
        self, records: list[Record], *, polled: list[Record], at_once: int = MAX_BATCH
    ) -> Iterator[tuple[list[Record], Decoded]]:
        """Yield `records` of the last poll, `polled`, decoded and in groups of a few thousand clicks.

        A poll may have a million clicks, too many for one transaction: commits between groups when it is due.
        `at_once`: the number of records in a group, at most.
        """
        while records:
            decoded = self._decoded(records[:at_once], polled=polled)
            self._pace.count(len(decoded.clicks) + len(decoded.requests))
            yield records[: decoded.records], decoded
            records = records[decoded.records :]
            if records:
                self._apply_changes()
                if self._checkpoint.due:
                    self._readiness.beat()
                    self._commit_midway(COMMIT_SECONDS, polled)

    def _apply_changes(self) -> None:
        """Apply the changes of items and rules that were read since the last batch."""
        for one in self._followed:
            one.apply()

    def _decoded(self, records: list[Record], *, polled: list[Record]) -> Decoded:
        """Decode the first of `records`; wait while the schema registry is unreachable.

        No record has been processed in part, so memory is valid and nothing has to be recovered.
        """
        try:
            return self._walk.decode(records)
        except RegistryAway:
            self._commit_midway(STOP_COMMIT_SECONDS, polled)
            return self._retry.until_done(lambda: self._walk.decode(records))

    def _commit_midway(self, seconds: float, polled: list[Record]) -> None:
        """Commit before all records of a poll are processed. Raises the errors of `Checkpoint.commit`."""
        self._checkpoint.commit(seconds)
        # The other records of the poll will be part of the next transaction.
        self._checkpoint.touch({record.partition for record in polled})

    def _rebuild(self, came: int) -> None:
        """Rebuild some states computed by older releases, unless the last poll returned many records."""
        if self._adoption.rebuilding and (seconds := self._pace.spare_seconds(came)):
            with self._metrics.timed("rebuild"):
                self._adoption.rebuild(seconds)

    def _recover(self) -> None:
        """Load state blocks for a limited time; start the replay of partitions that have all their blocks."""
        with self._metrics.timed("recover"):
            served_more = self._recovery.load(*self._pace.load_seconds())
        if served_more:
            self._adoption.rebuild_from_start()
        if self._table.recovering():
            self._readiness.not_ready(self._table.describe())
        elif self._member.joined and self._readiness.ready():
            log.info("serving", partitions=sorted(self._table.served()))

    def _on_revoked(self, partitions: Collection[int]) -> None:
        """Commit before partitions are revoked (rule b). Runs on the client's thread while `poll` waits."""
        if self._ending:
            return
        # The group waits for this commit, so nothing else is done here, such as answering questions.
        meanwhile, self._transactions.meanwhile = self._transactions.meanwhile, None
        try:
            served = self._table.served()
            going = [served[number] for number in partitions if number in served]
            self._checkpoint.commit_all(going, COMMIT_SECONDS, flush_seconds=FLUSH_SECONDS)
        except BaseException as error:  # noqa: BLE001  # raised again on the loop's thread
            self._revoke_error = error
        self._transactions.meanwhile = meanwhile
        for number in partitions:
            log.info("partition revoked", partition=number, users=self._table.drop(number))

    def _start_over(self, error: Retriable) -> None:
        """Restart from the last checkpoint after a failure, dropping uncommitted work (rules c and e)."""
        log.warning("restarting from the last checkpoint", error=str(error))
        self._checkpoint.failed()
        self._revoke_error = None
        self._metrics.observe_failed_checkpoint()
        self._retry.failed(error)
        crashed = self._checkpoint.take_touched() | self._member.take_lost()
        self._member.hold(crashed)
        for number in crashed:
            self._table.drop(number)
        self._walk.abandoned()
        self._retry.back_off()
        self._retry.until_done(self._topics.require)
        self._retry.until_done(self._transactions.renew)

    def last_checkpoint(self, seconds: float, *, flush_seconds: float) -> None:
        """Commit the open transaction before the worker stops; if that fails, its clicks are read again."""
        if self._walk.under_way:
            log.warning("stopped in the middle of a batch; its clicks will be read again")
            return
        served = self._table.served()
        if not served:
            return
        try:
            self._checkpoint.commit_all(list(served.values()), seconds, flush_seconds=flush_seconds)
        except NextclickError as error:
            log.warning("the last checkpoint failed; its clicks will be read again", error=str(error))

    def end(self) -> None:
        """Leave the group and close everything; uncommitted clicks will be read again."""
        self._readiness.not_ready("stopping")
        # Leaving the group calls the revocation listener, which must not commit pending work any more.
        self._ending = True
        self._stop.ending()
        self._topics.close()
        self._adoption.close()
        for one in self._followed:
            one.close()
        self._recovery.close()
        self._member.close(seconds=STOP_COMMIT_SECONDS)
        self._transactions.drop()
        log.info("stopped")
