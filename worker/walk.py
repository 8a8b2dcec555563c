"""The processing of a batch: decode, apply, rank, publish.

The published records become durable with the next checkpoint.
"""

from __future__ import annotations

from collections.abc import Sequence

from worker.checkpoint import Checkpoint
from worker.clock import Clock
from worker.core.batch import Clicks
from worker.core.event import Decoder
from worker.kafka.interface import MAX_BATCH, Record
from worker.metrics import Answered, Metrics
from worker.partitions.flushing import Flushing
from worker.partitions.table import PartitionTable
from worker.process.outcomes import Letter, Outcomes
from worker.releases.adoption import Adoption
from worker.requests import Replies, Requests
from worker.topics.clicks import Decoded, Requested, decode
from worker.topics.dead_letters import DeadLetterWriter
from worker.topics.recommendations import RecommendationWriter


class Walk:
    """Processes batches of records with the current releases."""

    def __init__(
        self,
        decoder: Decoder,
        adoption: Adoption,
        table: PartitionTable,
        checkpoint: Checkpoint,
        flushing: Flushing,
        *,
        requests: Requests,
        recommendations: RecommendationWriter,
        dead_letters: DeadLetterWriter,
        outcomes: Outcomes,
        metrics: Metrics,
        clock: Clock,
    ) -> None:
        self._decoder = decoder
        self._adoption = adoption
        self._table = table
        self._checkpoint = checkpoint
        self._flushing = flushing
        self._requests = requests
        self._recommendations = recommendations
        self._dead_letters = dead_letters
        self._outcomes = outcomes
        self._metrics = metrics
        self._clock = clock
        self.under_way = False
        """Whether the open transaction contains only part of a batch, and so must not be committed."""

    def decode(self, records: list[Record]) -> Decoded:
        """Decode the first of `records`, without any effects. Raises RegistryAway, RegistryRefused.

        A record may have thousands of clicks, so decoding ends after the record that completes `MAX_BATCH`
        clicks.
        """
        with self._metrics.timed("decode"):
            return decode(records, self._decoder, enough=MAX_BATCH)

    def walk(self, records: list[Record], decoded: Decoded) -> None:
        """Process records of served partitions and publish lists. Raises CheckpointFailed, TopicError."""
        self.under_way = True
        bad = decoded.bad
        self._dead_letters.publish(bad)
        batches = decoded.clicks.divided(MAX_BATCH) if len(decoded.clicks) else ()
        answered = [self._answer(batch) for batch in batches]
        replied = self._reply(decoded.requests) if decoded.requests else None
        # Counted only here, so that records, clicks and lists add up even if a batch is not completed.
        for one in answered:
            self._metrics.observe_batch(one)
        if replied is not None:
            self._metrics.observe_requests(replied.lists, too_old=replied.too_old)
            self._outcomes.replied(len(replied.lists), too_old=replied.too_old)
        self._metrics.observe_records(
            clicked=decoded.clicked,
            requested=decoded.requested,
            skipped=decoded.skipped,
            bad=[one.reason for one in bad],
            trimmed=decoded.trimmed,
        )
        letters = [Letter(one.reason, one.record.value, one.record.key, one.record.headers) for one in bad]
        skipped = decoded.skipped.total()
        self._outcomes.note(len(records), letters, skipped=skipped, times=decoded.times)
        last = {record.partition: record for record in records}
        for number, record in last.items():
            partition = self._table[number]
            partition.position, partition.read_ms = record.offset + 1, record.timestamp
        self._checkpoint.include(last.keys())
        self._flushing.make_room()
        self.under_way = False

    def _answer(self, clicks: Clicks) -> Answered:
        serving = self._adoption.serving
        with self._metrics.timed("apply"):
            applied = serving.apply(clicks, now_ms=self._clock.now_ms())
        with self._metrics.timed("rank"):
            lists = serving.rank(applied)
        with self._metrics.timed("publish"):
            now_ms = self._clock.now_ms()
            self._recommendations.publish(clicks, lists, now_ms=now_ms)
        self._outcomes.answered(clicks, lists, now_ms=now_ms)
        too_old = sum(part.applied.too_old for part in applied)
        return Answered(clicks, lists, too_old, now_ms, serving.champion.release.number)

    def _reply(self, requested: Sequence[Requested]) -> Replies:
        """Answer requests, from the states after all clicks of the batch."""
        with self._metrics.timed("rank"):
            replies = self._requests.answer(requested)
        with self._metrics.timed("publish"):
            now_ms = self._clock.now_ms()
            self._recommendations.reply(replies.requests, replies.lists, replies.more, now_ms=now_ms)
        return replies

    def replay(self, clicks: Clicks) -> None:
        """Apply clicks that were answered before, without publishing."""
        with self._metrics.timed("replay"):
            for batch in clicks.divided(MAX_BATCH) if len(clicks) else ():
                self._metrics.replayed.inc(self._adoption.serving.replay(batch))
                self._flushing.make_room()

    def abandoned(self) -> None:
        """Reset `under_way` after the transaction of an interrupted batch was aborted."""
        self.under_way = False
