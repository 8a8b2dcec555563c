"""A Kafka client that is not ours (librdkafka): no test agrees with the worker only by sharing its client."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, Literal, cast

from confluent_kafka import (
    TIMESTAMP_NOT_AVAILABLE,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    Producer,
    TopicPartition,
)

from tests.records import Record
from tests.waiting import eventually

__all__ = ["Client", "Isolation", "Record", "as_record"]

Isolation = Literal["read_committed", "read_uncommitted"]


class Client:
    """Sends to and reads from topics of one Kafka."""

    def __init__(self, bootstrap: str) -> None:
        # Silent: what it has to say comes as errors, and its threads outlive the brokers that tests stop.
        self._connection = {"bootstrap.servers": bootstrap, "log_level": 0}

    def send(self, topic: str, records: Iterable[Record], *, timeout_seconds: float = 60.0) -> list[Record]:
        """Send records in order, acknowledged by the broker; returns them with partition and offset."""
        producer = Producer({**self._connection, "linger.ms": 5, "enable.idempotence": True})
        sent: list[Record] = []
        failed: list[KafkaError] = []
        for record in records:
            self._produce(producer, topic, record, sent, failed)
        left = producer.flush(timeout_seconds)

        assert not failed, f"Kafka refused records of {topic}: {failed}"
        assert not left, f"{left} records of {topic} were not sent within {timeout_seconds:g} s"
        return sent

    def read(
        self,
        topic: str,
        *,
        isolation: Isolation = "read_committed",
        at_least: int = 0,
        timeout_seconds: float = 30.0,
    ) -> list[Record]:
        """Everything in the topic, from the start of every partition to its end, in order within a partition.

        The end is the last stable offset for committed readers. With `at_least`, goes on past the end until
        that many records were read; AssertionError when they do not come in time.
        """
        consumer = self._consumer(isolation)
        try:
            partitions = list(consumer.list_topics(topic, timeout=timeout_seconds).topics[topic].partitions)
            consumer.assign([TopicPartition(topic, partition, 0) for partition in partitions])
            return self._drain(consumer, set(partitions), at_least, time.monotonic() + timeout_seconds)
        finally:
            consumer.close()

    def ends(self, topic: str, *, isolation: Isolation) -> dict[int, int]:
        """Where each partition ends; for committed readers, before the first open transaction."""

        def ask(consumer: Consumer, partitions: list[TopicPartition]) -> dict[int, int]:
            return {one.partition: consumer.get_watermark_offsets(one, 5)[1] for one in partitions}

        return self._asked(topic, isolation, "tests", ask)

    def committed(self, topic: str, group: str) -> dict[int, int]:
        """What a group has committed in each partition, 0 where nothing; waits for open transactions."""

        def ask(consumer: Consumer, partitions: list[TopicPartition]) -> dict[int, int]:
            return {one.partition: max(0, one.offset) for one in consumer.committed(partitions, 5)}

        return self._asked(topic, "read_committed", group, ask)

    def _asked(
        self,
        topic: str,
        isolation: Isolation,
        group: str,
        ask: Callable[[Consumer, list[TopicPartition]], dict[int, int]],
    ) -> dict[int, int]:
        """What `ask` says of all partitions; asks again where the broker has no answer yet."""
        consumer = self._consumer(isolation, group)

        def answer() -> dict[int, int]:
            with contextlib.suppress(KafkaException):
                partitions = consumer.list_topics(topic, timeout=5).topics[topic].partitions
                return ask(consumer, [TopicPartition(topic, number) for number in partitions])
            return {}

        try:
            return eventually(answer, 30, f"the broker to tell the offsets of {topic}")
        finally:
            consumer.close()

    def _consumer(self, isolation: Isolation, group: str = "tests") -> Consumer:
        return Consumer(
            {
                **self._connection,
                "group.id": group,  # asked for by the client, never joined
                "isolation.level": isolation,
                "auto.offset.reset": "earliest",
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "fetch.wait.max.ms": 10,
            }
        )

    def _produce(
        self, producer: Producer, topic: str, record: Record, sent: list[Record], failed: list[KafkaError]
    ) -> None:
        def acknowledged(error: KafkaError | None, message: Message) -> None:
            if error is not None:
                failed.append(error)
            else:
                sent.append(replace(record, partition=message.partition(), offset=message.offset()))

        optional: dict[str, Any] = {"partition": record.partition, "timestamp": record.timestamp_ms}
        while True:
            try:
                producer.produce(
                    topic,
                    value=record.value,
                    key=record.key,
                    headers=list(record.headers),
                    on_delivery=acknowledged,
                    **{name: value for name, value in optional.items() if value is not None},
                )
            except BufferError:
                producer.poll(0.1)
            else:
                producer.poll(0)
                return

    def _drain(
        self, consumer: Consumer, partitions: set[int], at_least: int, deadline: float
    ) -> list[Record]:
        records: list[Record] = []
        at_end: set[int | None] = set()
        while at_end != partitions or len(records) < at_least:
            for message in consumer.consume(1000, timeout=0.1):
                error = message.error()
                if error is None:
                    at_end.discard(message.partition())
                    records.append(as_record(message))
                elif error.code() == KafkaError._PARTITION_EOF:
                    at_end.add(message.partition())
                else:
                    raise KafkaException(error)

            assert time.monotonic() < deadline, (
                f"read {len(records)} records in time, wanted {at_least} and all"
            )
        return records


def as_record(message: Message) -> Record:
    """What librdkafka read, as plain data."""
    kind, timestamp_ms = message.timestamp()
    headers = cast("tuple[tuple[str, bytes], ...]", tuple(message.headers() or ()))
    return Record(
        value=message.value(),
        key=message.key(),
        partition=message.partition(),
        offset=message.offset(),
        headers=headers,
        timestamp_ms=None if kind == TIMESTAMP_NOT_AVAILABLE else timestamp_ms,
    )
