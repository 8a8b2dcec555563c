"""Appending many records of one partition to kafka-python's producer at once.

`KafkaProducer.send` looks up the topic, registers the partition with the transaction, takes a dozen locks and
creates a future for every single record. `append` does this once for all records, and writes the same bytes:
a loop that only polls and sends takes 5 us of CPU per record instead of 23. It uses parts of the client that
are not public, so it serves only the versions in `VERSIONS`, for which
`tests/worker/kafka/test_appending.py` compares it with `send`.

The format of the records: Apache Kafka's documentation, "Record", magic 2.
"""

# ruff: noqa: SLF001  # kafka-python has no public way to send many records

from __future__ import annotations

import time
from collections.abc import Sequence
from operator import attrgetter
from typing import Any, Final

import kafka
import structlog
from kafka import KafkaProducer, TopicPartition
from kafka.errors import IllegalStateError
from kafka.producer.future import FutureRecordMetadata
from kafka.producer.producer_batch import ProducerBatch
from kafka.record.memory_records import MemoryRecordsBuilder
from kafka.record.util import encode_varint

from worker.kafka.interface import NewRecord

log = structlog.get_logger("worker")

VERSIONS: Final = frozenset({"3.0.12"})
"""The versions of kafka-python that `append` was written for."""

_MAGIC: Final = 2

_PARTS: Final = (
    "_metadata.partitions_for_topic",
    "_transaction_manager.maybe_add_partition_to_transaction",
    "_ensure_valid_record_size",
    "_sender.wakeup",
    "_accumulator._tp_lock",
    "_accumulator._batches",
    "_accumulator._incomplete.add",
    "_accumulator._appends_in_progress.increment",
    "_accumulator._closed",
)
"""The parts of a producer that `append` uses."""

_BATCH_PARTS: Final = (
    "produce_future.is_done",
    "produce_future.value",
    "max_record_size",
    "last_append",
    "_record_futures",
    "records._closed",
    "records._next_offset",
    "records._builder._buffer",
    "records._builder._batch_size",
    "records._builder._first_timestamp",
    "records._builder._max_timestamp",
    "records._builder._last_offset",
    "records._builder._num_records",
)
"""The parts of a batch that `append` uses."""

_BOUND: Final = 61 + 21
"""Upper bound of what `KafkaProducer.send` adds to the size of key, value and headers: the header of a batch,
and a record's length, attributes, timestamp and offset."""


def can_append(client: KafkaProducer) -> bool:
    """Return whether `append` serves this client; log the reason if it does not."""
    if why := _why_not(client):
        log.warning("sending records one at a time", kafka_python=kafka.__version__, why=why)
    return not why


def _why_not(client: KafkaProducer) -> str:
    if kafka.__version__ not in VERSIONS:
        return "unknown version"
    try:
        attrgetter(*_PARTS)(client)
        accumulator = client._accumulator.config
        attrgetter(*_BATCH_PARTS)(_new_batch(TopicPartition("", 0), accumulator, now=0))
    except (AttributeError, TypeError, KeyError):
        return "parts are missing"
    serializers = (client.config["key_serializer"], client.config["value_serializer"])
    if accumulator["message_version"] != _MAGIC or serializers != (None, None):
        return "records in another format"
    return ""


def knows(client: KafkaProducer, topic: str, partition: int) -> bool:
    """Return whether the client has metadata of the partition; without them, `append` cannot be used."""
    return partition in (client._metadata.partitions_for_topic(topic) or ())


def append(client: KafkaProducer, topic: str, partition: int, records: Sequence[NewRecord]) -> list[Delivery]:
    """Add `records` to the open transaction, in order; return their deliveries.

    Requires `can_append`, `knows`, and at least one record. Raises the errors of `KafkaProducer.send`; then
    no record was added.
    """
    endings = [_ending(record) for record in records]
    client._ensure_valid_record_size(_BOUND + max(map(len, endings)))
    at = TopicPartition(topic, partition)
    client._transaction_manager.maybe_add_partition_to_transaction(at)
    accumulator = client._accumulator
    # Counted so that the client, if it is closed meanwhile, aborts the batches that are added here.
    accumulator._appends_in_progress.increment()
    try:
        with accumulator._tp_lock(at):
            if accumulator._closed:
                raise IllegalStateError("RecordAccumulator is closed")
            deliveries, ready = _append_endings(accumulator, at, endings, now_ms=int(time.time() * 1000))
    finally:
        accumulator._appends_in_progress.decrement()
    if ready:
        client._sender.wakeup()
    return deliveries


class Delivery:
    """The outcome of the records `begin` to `end` of a batch, instead of a future for each of them."""

    __slots__ = ("_begin", "_end", "_futures")

    def __init__(self, futures: _Futures, begin: int, end: int) -> None:
        self._futures = futures
        self._begin = begin
        self._end = end

    def succeeded(self) -> bool:
        """Return whether the broker has acknowledged all records."""
        result = self._futures.result
        if result.is_done:
            return result.value[2] is None
        return all(future.succeeded() for future in self._split())

    @property
    def exception(self) -> BaseException | None:
        """The error of a record that was refused; None if all were acknowledged, or not yet answered."""
        result = self._futures.result
        if not result.is_done:
            return next((future.exception for future in self._split() if future.exception), None)
        error_of = result.value[2]
        return error_of and error_of(self._begin)

    def _split(self) -> list[Any]:
        """Return the futures of the records, which are in other batches if their own was split."""
        return self._futures[self._begin : self._end]


class _Pending:
    """The placeholder for a future in a batch; the future is needed only if the batch is split."""

    exception: Final = None

    @staticmethod
    def succeeded() -> bool:
        """Return whether the broker has acknowledged the record: it has not answered yet."""
        return False


_PENDING: Final = _Pending()


class _Futures(list[Any]):
    """The futures of a batch's records, created when the client asks for them.

    The client asks only if the broker finds the batch too large: it splits the batch, and moves each future
    to the new batch of its record. The future of the old batch is never completed.
    """

    def __init__(self, batch: ProducerBatch) -> None:
        super().__init__(batch._record_futures)
        self.result = batch.produce_future
        """The future of the batch: base offset, timestamp, and the function of the errors of its records."""

    def __getitem__(self, index: Any) -> Any:
        found = super().__getitem__(index)
        if found is _PENDING:
            found = self[index] = FutureRecordMetadata(self.result, index, None, None, -1, -1, -1)
        return found


def _append_endings(
    accumulator: Any, at: TopicPartition, endings: Sequence[bytes], *, now_ms: int
) -> tuple[list[Delivery], bool]:
    """Add records to the partition's batches; return the deliveries, and whether the sender has work."""
    now = time.monotonic()
    batches = accumulator._batches[at]
    deliveries, created, begin = [], False, 0
    while begin < len(endings):
        if batches and (end := _fill(batches[-1], endings, begin, now=now, now_ms=now_ms)) > begin:
            futures = batches[-1]._record_futures
            deliveries.append(Delivery(futures, len(futures) - (end - begin), len(futures)))
            begin = end
        else:
            batch = _new_batch(at, accumulator.config, now=now)
            batches.append(batch)
            accumulator._incomplete.add(batch)
            created = True
    return deliveries, created or len(batches) > 1 or batches[-1].records.is_full()


def _new_batch(at: TopicPartition, config: Any, *, now: float) -> ProducerBatch:
    builder = MemoryRecordsBuilder(
        config["message_version"], config["compression_attrs"], config["batch_size"]
    )
    return ProducerBatch(at, builder, now=now)


def _fill(batch: ProducerBatch, endings: Sequence[bytes], begin: int, *, now: float, now_ms: int) -> int:
    """Add records from `begin` on as long as the batch has room; return the position of the next record.

    A batch without records takes at least one. Hot path: the loop runs once for every list.
    """
    records = batch.records
    if records._closed:
        return begin
    builder, offset = records._builder, records._next_offset
    if builder._first_timestamp is None:
        builder._first_timestamp = builder._max_timestamp = now_ms
    start = b"\0" + _varint(now_ms - builder._first_timestamp)
    room = builder._batch_size - len(builder._buffer)
    pieces: list[bytes] = []
    largest = 0
    for ending in endings[begin:]:
        head = start + _varint(offset)
        length = _varint(len(head) + len(ending))
        size = len(length) + len(head) + len(ending)
        if size > room and offset:
            break
        pieces += (length, head, ending)
        room -= size
        offset += 1
        largest = max(largest, size)
    added = offset - records._next_offset
    if not added:
        return begin
    builder._buffer += b"".join(pieces)
    builder._max_timestamp = max(builder._max_timestamp, now_ms)
    builder._num_records += added
    builder._last_offset = offset - 1
    records._next_offset = offset
    batch.max_record_size = max(batch.max_record_size, largest)
    batch.last_append = now
    if not isinstance(batch._record_futures, _Futures):
        batch._record_futures = _Futures(batch)
    batch._record_futures += [_PENDING] * added
    return begin + added


def _ending(record: NewRecord) -> bytes:
    """Encode key, value and headers: a record without its length, attributes, timestamp and offset."""
    key, value, headers = record
    parts = [*_sized(key), *_sized(value), _varint(len(headers))]
    for name, content in headers:
        parts += (*_sized(name.encode()), *_sized(content))
    return b"".join(parts)


def _sized(data: bytes | None) -> tuple[bytes, bytes]:
    return (_varint(-1), b"") if data is None else (_varint(len(data)), data)


def _encoded(number: int) -> bytes:
    encoded = bytearray()
    encode_varint(number, encoded.append)
    return bytes(encoded)


_SMALL: Final = [_encoded(number) for number in range(1 << 13)]


def _varint(number: int) -> bytes:
    """Return the zigzag-encoded varint of `number`."""
    return _SMALL[number] if 0 <= number < len(_SMALL) else _encoded(number)
