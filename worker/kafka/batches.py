"""Decoding of record batches from a broker: whatever the bytes, every offset is accounted for.

kafka-python raises an error at the first record that it cannot decode, and again with every poll, so that
no later record is ever read. Here, a record that cannot be decoded is returned as `unreadable`. If the
end of the record is unknown, the rest of its batch is returned as one `unreadable` record. Three rules
keep damage from spreading:

- A batch with a wrong checksum, or a payload that cannot be decompressed, is unreadable as a whole, because
  records that seem intact may be damaged.
- A record starts with its length. So even if the rest of the record cannot be decoded, the next record can.
- A record's offset must be higher than the previous one, and low enough to leave an offset for each later
  record of the batch.

The formats: Apache Kafka's documentation, "Message Format"; magic 2 is `DefaultRecordBatch`, 0 and 1 are the
message sets of brokers before 0.11.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import Final, NamedTuple

from crc32c import crc32c

from worker.kafka.codecs import CannotInflate, inflate
from worker.kafka.interface import TopicPartition, Unreadable

_FRAME: Final = struct.Struct(">qi")
"""The frame of a batch: base offset, and number of bytes that follow."""

_HEADER: Final = struct.Struct(">xxxxbIhiqqqxxxxxxi")
"""The header of magic 2, after the frame: magic, CRC, attributes, last offset delta, first and last
timestamp, producer id, count. Leader epoch, producer epoch and base sequence are skipped."""

_EPOCH: Final = struct.Struct(">i")
_LEGACY: Final = struct.Struct(">Ibb")
_MARK: Final = struct.Struct(">hh")
"""The key of a transaction marker: its version, and 0 for an abort, 1 for a commit."""

_INT32: Final = struct.Struct(">i")
_INT64: Final = struct.Struct(">q")

_MAGIC_AT: Final = 16
_CHECKED_FROM: Final = 21
_RECORDS_AT: Final = _FRAME.size + _HEADER.size
_CODEC: Final = 0x07
_LOG_APPEND_TIME: Final = 0x08
_TRANSACTIONAL: Final = 0x10
_CONTROL: Final = 0x20
_MODERN: Final = 2

_MIN_INT64: Final = -(2**63)
_MAX_INT64: Final = 2**63 - 1

_Broken: Final = (IndexError, ValueError, struct.error, CannotInflate)
"""All errors that decoding arbitrary bytes may raise."""

_Headers = list[tuple[str, bytes | None]]


class FetchedRecord(NamedTuple):
    """Implements `worker.kafka.interface.Record`."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: _Headers
    unreadable: Unreadable | None = None


_new: Final = tuple.__new__


class Batch:
    """A record batch: its header, and its records on demand. Never raises, whatever the bytes."""

    __slots__ = (
        "_append_time",
        "_count",
        "_data",
        "_first_ms",
        "_last_ms",
        "base",
        "codec",
        "fault",
        "is_abort",
        "is_control",
        "is_transactional",
        "last",
        "leader_epoch",
        "magic",
        "producer_id",
    )

    def __init__(self, base: int, data: bytes) -> None:
        """Read the header in `data`, the complete frame of the batch with the base offset `base`."""
        self._data = data
        self._count = 0
        self._first_ms = self._last_ms = -1
        self.codec, self._append_time = 0, False
        self.base = base
        self.last = base
        """The last offset of the batch; the base offset if the header cannot be trusted."""
        self.leader_epoch = self.producer_id = -1
        self.is_transactional = self.is_control = self.is_abort = False
        """Attributes of the batch. A control batch is the marker of a transaction's end."""
        self.magic = data[_MAGIC_AT] if len(data) > _MAGIC_AT else -1
        self.fault = ""
        """The reason why the whole batch is unreadable; empty if the batch is readable."""
        try:
            if self.magic in (0, 1):
                _check(data)
            else:
                self._read_header()
            if self.magic > _MODERN:
                self.fault = f"its format (magic {self.magic}) is unknown"
            elif self.is_control and not self.fault:
                self._read_mark()
        except _Broken as error:
            self.fault = str(error)

    def _read_header(self) -> None:
        data = self._data
        _, crc, attributes, delta, first_ms, last_ms, producer_id, count = _HEADER.unpack_from(data, 12)
        (self.leader_epoch,) = _EPOCH.unpack_from(data, 12)
        self.last = self.base + max(0, delta)
        self._first_ms, self._last_ms, self._count = first_ms, last_ms, count
        self.codec, self._append_time = attributes & _CODEC, bool(attributes & _LOG_APPEND_TIME)
        self.producer_id = producer_id
        self.is_transactional = bool(attributes & _TRANSACTIONAL)
        self.is_control = bool(attributes & _CONTROL)
        if crc32c(memoryview(data)[_CHECKED_FROM:]) != crc:
            self.fault, self._last_ms = "its checksum (CRC) is wrong", -1
            if count != delta + 1:
                # Trust the last offset only if the count confirms it.
                self.last = self.base
        elif not 0 <= count <= delta + 1:
            self.fault = f"it has {count} records for {delta + 1} offsets"

    @property
    def size(self) -> int:
        """Size of the batch, in bytes."""
        return len(self._data)

    @property
    def is_gapless(self) -> bool:
        """Whether the header claims a record for every offset. Compaction leaves gaps."""
        return self.magic < _MODERN or self._count == self.last - self.base + 1

    def _read_mark(self) -> None:
        """Read the outcome of a transaction from its marker. Raises if the batch is not a marker."""
        payload = self._payload()
        _, at = _varint(payload, 0)
        _, at = _varint(payload, at + 1)
        _, at = _varint(payload, at)
        length, at = _varint(payload, at)
        if self._count != 1 or self.producer_id < 0 or length != _MARK.size:
            raise ValueError("it is not a transaction marker")
        self.is_abort = _MARK.unpack_from(payload, at)[1] == 0

    def lost(self, of: TopicPartition, *, first: int, last: int, why: str = "") -> FetchedRecord:
        """Return the whole batch as one unreadable record for the offsets `first` to `last`."""
        return FetchedRecord(
            of.topic,
            of.partition,
            last,
            self._last_ms,
            None,
            self._data,
            [],
            Unreadable(first, f"its batch cannot be decoded: {why or self.fault}"),
        )

    def records(self, of: TopicPartition, begin: int) -> Iterator[FetchedRecord]:
        """Yield all records, including unreadable ones. Requires that `fault` is empty.

        Unreadable records cover the offsets of everything that cannot be decoded, up to `last`. `begin`: the
        offset that follows the previous batch's last record.
        """
        modern = self.magic == _MODERN
        try:
            yield from self._modern(of) if modern else self._message_set(of)
        except _Broken as error:
            first = max(begin, self.base) if modern else min(begin, self.base)
            yield self.lost(of, first=first, last=self.last, why=str(error))

    def _payload(self) -> bytes:
        payload = self._data[_RECORDS_AT:]
        return inflate(self.codec, payload) if self.codec else payload

    def _modern(self, of: TopicPartition) -> Iterator[FetchedRecord]:
        """Yield the records of a batch of magic 2. An error is raised only before the first record.

        Hot path: the loop runs once for every record that is read.
        """
        topic, partition = of
        data, base, last = self._payload(), self.base, self.last
        first_ms, size, at, expected = self._first_ms, len(data), 0, self.base
        for left in range(self._count - 1, -1, -1):
            try:
                length, start = _varint(data, at)
                end = start + length
                if not start < end <= size:
                    raise ValueError(f"its length is {length} bytes, but only {size - start} are left")
            except _Broken as error:
                yield self._unreadable(of, expected, last, data[at:], error)
                return
            try:
                delta_ms, place, key, value, headers = _record(data, start, end)
                offset = base + place
                timestamp = self._last_ms if self._append_time else first_ms + delta_ms
                if not expected <= offset <= last - left:
                    raise ValueError(f"it claims the offset {offset}, which cannot be its own")
                if not _MIN_INT64 <= timestamp <= _MAX_INT64:
                    raise ValueError(f"its timestamp {timestamp} has more than 64 bits")
                # `FetchedRecord(...)` would take 0.3 us more.
                yield _new(FetchedRecord, (topic, partition, offset, timestamp, key, value, headers, None))
            except _Broken as error:
                offset = expected
                yield self._unreadable(of, offset, offset, data[start:end], error)
            at, expected = end, offset + 1
        if at != size and expected <= last:
            behind = ValueError(f"{size - at} bytes follow its records")
            yield self._unreadable(of, expected, last, data[at:], behind)

    def _unreadable(
        self, of: TopicPartition, first: int, last: int, data: bytes, error: Exception
    ) -> FetchedRecord:
        what = "it" if first == last else "the rest of its batch"
        why = Unreadable(first, f"{what} cannot be decoded: {error}")
        return FetchedRecord(of.topic, of.partition, last, self._last_ms, None, data, [], why)

    def _message_set(self, of: TopicPartition) -> Iterator[FetchedRecord]:
        """Yield the records of a message set of magic 0 or 1. Errors come only before the first record."""
        topic, partition = of
        timestamp, append_time, codec, key, value = _message(self._data)
        if not codec:
            yield FetchedRecord(topic, partition, self.base, timestamp, key, value, [])
            return
        messages = list(frames(inflate(codec, value or b"")))
        if not messages:
            raise ValueError("it holds no messages")
        # In magic 1, offsets are relative, and the outer frame has the last offset.
        base = self.base - messages[-1][0] if self.magic == 1 else 0
        expected = min(base + messages[0][0], self.last - len(messages) + 1)
        for left, (offset, data) in zip(range(len(messages) - 1, -1, -1), messages, strict=True):
            at = base + offset
            try:
                if not expected <= at <= self.last - left:
                    raise ValueError(f"it claims the offset {at}, which cannot be its own")
                its_own, _, nested, key, value = _message(data)
                if nested:
                    raise ValueError("it is compressed twice")
                its_time = timestamp if append_time else its_own
                yield FetchedRecord(topic, partition, at, its_time, key, value, [])
            except _Broken as error:
                at = min(expected, self.last)
                yield self._unreadable(of, at, at, data, error)
            expected = at + 1


def frames(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield base offset and bytes of each complete batch in `data`."""
    at, size = 0, len(data)
    while at + _FRAME.size <= size:
        base, length = _FRAME.unpack_from(data, at)
        end = at + _FRAME.size + length
        if length <= 0 or end > size:
            return
        yield base, data[at:end]
        at = end


def _record(
    data: bytes, at: int, end: int
) -> tuple[int, int, bytes | None, bytes | None, list[tuple[str, bytes | None]]]:
    """Decode a record of magic 2: timestamp and offset as deltas, key, value and headers."""
    delta_ms, at = _varint(data, at + 1)
    place, at = _varint(data, at)
    key = value = None
    length, at = _varint(data, at)
    if length >= 0:
        key = data[at : at + length]
        at += length
    length, at = _varint(data, at)
    if length >= 0:
        value = data[at : at + length]
        at += length
    headers: _Headers = []
    if at < end and not data[at]:
        at += 1
    else:
        count, at = _varint(data, at)
        at = _read_headers(data, at, end, count, headers)
    # If the length of any part is wrong, the parts do not end where the record ends.
    if at != end:
        raise ValueError(f"the sizes of its parts and its own size differ by {at - end:+d} bytes")
    return delta_ms, place, key, value, headers


def _read_headers(data: bytes, at: int, end: int, count: int, headers: _Headers) -> int:
    if not 0 < count <= end - at:
        raise ValueError(f"it has {count} headers in {max(0, end - at)} bytes")
    for _ in range(count):
        length, at = _varint(data, at)
        if length < 0:
            raise ValueError(f"the name of a header has {length} bytes")
        # A header name that is not UTF-8 is escaped: it must not make a click unreadable.
        name = data[at : at + length].decode("utf-8", "backslashreplace")
        length, at = _varint(data, at + length)
        if length >= 0:
            headers.append((name, data[at : at + length]))
            at += length
        else:
            headers.append((name, None))
    return at


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """Decode a zigzag-encoded varint at `at`; return the number, and the position after its last byte."""
    byte = data[at]
    if byte < 0x80:
        return (byte >> 1) ^ -(byte & 1), at + 1
    number, shift = byte & 0x7F, 7
    while True:
        at += 1
        byte = data[at]
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return (number >> 1) ^ -(number & 1), at + 1
        shift += 7
        if shift > 63:
            raise ValueError("a number has more than 64 bits")


def _message(data: bytes) -> tuple[int, bool, int, bytes | None, bytes | None]:
    """Decode a message of magic 0 or 1: timestamp, whether the broker set it, codec, key and value."""
    magic, attributes = _check(data)
    at, timestamp = _MAGIC_AT + 2, -1
    if magic == 1:
        (timestamp,) = _INT64.unpack_from(data, at)
        at += 8
    key, at = _sized(data, at)
    value, at = _sized(data, at)
    if at != len(data):
        raise ValueError(f"the sizes of its parts and its own size differ by {at - len(data):+d} bytes")
    return timestamp, bool(attributes & _LOG_APPEND_TIME), attributes & _CODEC, key, value


def _check(data: bytes) -> tuple[int, int]:
    """Return magic and attributes of a message of magic 0 or 1. Raises if its checksum is wrong."""
    crc, magic, attributes = _LEGACY.unpack_from(data, _FRAME.size)
    if zlib.crc32(memoryview(data)[_MAGIC_AT:]) != crc:
        raise ValueError("its checksum (CRC) is wrong")
    return magic, attributes


def _sized(data: bytes, at: int) -> tuple[bytes | None, int]:
    (length,) = _INT32.unpack_from(data, at)
    at += 4
    return (data[at : at + length], at + length) if length >= 0 else (None, at)
