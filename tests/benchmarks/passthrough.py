"""The cost of Kafka and its client alone: poll and send, without any work between.

The same consumer, transactions, commit interval and value format as the worker's, one output for each
input; the value is always the same. It sends by kafka-python's `send`, as programs
usually do; with the argument `at_once`, all records of a partition at once, as the worker does. Run as a
process of its own: `python -m tests.benchmarks.passthrough` with the worker's settings in its environment.
"""

from __future__ import annotations

import os
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np

from worker import config
from worker.config import Settings
from worker.core.batch import Clicks
from worker.core.recommender import MODEL, Recommendations
from worker.kafka.interface import NewRecord, Record
from worker.kafka.transactions import KafkaTransactions
from worker.process.memory import collect_seldom
from worker.process.stop import Stop
from worker.topics.recommendations import ENCODERS, RecommendationWriter


class Passthrough:
    """The loop of a worker that does nothing."""

    def __init__(self, settings: Settings, *, at_once: bool) -> None:
        connection = settings.kafka.connection()
        self._transactions = connection.transactions(
            settings.transactional_id, timeout_ms=settings.kafka.transaction_timeout_ms
        )
        self._clicks = connection.member(
            client_id=settings.transactional_id,
            topic=settings.topics.clicks,
            group=settings.group,
            session_timeout_ms=settings.kafka.session_timeout_ms,
            heartbeat_interval_ms=settings.kafka.heartbeat_interval_ms,
            fetch_max_wait_ms=settings.kafka.fetch_max_wait_ms,
            static_member=None,
        )
        self._topic = settings.topics.recommendations
        self._value = recommendation(settings)
        self._at_once = at_once
        self._interval = settings.commit_interval
        self._begun: set[int] = set()
        self._pending: dict[int, int] = {}
        self._due = 0.0

    def run(self, stop: Stop) -> None:
        """Pass records through until a stop is requested."""
        self._transactions.renew()
        self._clicks.join(lambda _: self._commit())
        while not stop.requested:
            records = self._clicks.poll(self._poll_ms())
            self._begin(self._clicks.assigned() - self._begun)
            if records and not self._pending:
                self._due = time.monotonic() + self._interval
            self._pass(records)
            if time.monotonic() >= self._due:
                self._commit()
        self._clicks.close(seconds=2)
        self._transactions.drop()

    def _begin(self, partitions: set[int]) -> None:
        """Read what is new from its first record on: the group is new, too."""
        for partition in partitions:
            self._clicks.begin(partition, 0)
        self._begun |= partitions

    def _pass(self, records: list[Record]) -> None:
        topic, sent = self._clicks.topic, defaultdict[int, list[NewRecord]](list)
        for record in records:
            headers = [("id", f"{topic}/{record.partition}/{record.offset}".encode())]
            if self._at_once:
                sent[record.partition].append((record.key, self._value, headers))
            else:
                self._transactions.send(
                    self._topic, record.partition, key=record.key, value=self._value, headers=headers
                )
        for partition, ours in sent.items():
            self._transactions.send_many(self._topic, partition, ours)
        for record in records:
            self._pending[record.partition] = record.offset + 1

    def _commit(self) -> None:
        if self._pending:
            self._transactions.commit(self._clicks.topic, self._pending, self._clicks.metadata, seconds=15)
            self._pending = {}

    def _poll_ms(self) -> int:
        return max(0, int((self._due - time.monotonic()) * 1000)) if self._pending else 250


class _Catcher(KafkaTransactions):
    """Keeps what would be sent."""

    def __init__(self) -> None:
        self.value: Any = None

    def send_many(self, topic: str, partition: int, records: Sequence[NewRecord]) -> None:
        ((_, self.value, _),) = records


def recommendation(settings: Settings) -> bytes:
    """Return nearly the value that a worker of these `settings` sends for one click."""
    top = settings.recommend.top
    clicks = Clicks(
        partitions=np.array([1], np.int32),
        offsets=np.array([12_345]),
        user_ids=["user-12345"],
        item_ids=["item-123"],
        timestamps_ms=np.array([1_750_000_000_000]),
        record_timestamps_ms=np.array([1_750_000_000_000]),
    )
    scores = np.random.default_rng(0).uniform(3, 6, top).astype(np.float32)
    one = Recommendations(0, [f"item-{1_234 + number}" for number in range(top)], scores, MODEL, 1)
    catcher = _Catcher()
    writer = RecommendationWriter(
        catcher,
        topic="",
        clicks_topic=settings.topics.clicks,
        encode=ENCODERS[settings.recommend.format],
    )
    writer.publish(clicks, [one], now_ms=1_750_000_000_000)
    value: bytes = catcher.value
    return value


def main() -> None:
    """Run until SIGTERM."""
    stop = Stop()
    collect_seldom()
    with stop.installed():
        Passthrough(config.load(None, os.environ), at_once="at_once" in sys.argv).run(stop)


if __name__ == "__main__":
    main()
