"""Batches: decoded as kafka-python does while they are sound; else every offset is accounted for."""

from __future__ import annotations

import struct
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kafka.record.default_records import DefaultRecordBatchBuilder
from kafka.record.legacy_records import LegacyRecordBatchBuilder
from kafka.record.memory_records import MemoryRecords
from kafka.structs import TopicPartition

from tests.wire import Part, RawBatch, checked_again
from worker.kafka.batches import Batch, FetchedRecord, frames

AT: Final = TopicPartition("clicks", 3)
GOOD: Final = b'{"user_id": "ada", "item_id": "lamp"}'

parts = st.builds(
    Part,
    value=st.none() | st.binary(max_size=300),
    key=st.none() | st.binary(max_size=20),
    headers=st.lists(st.tuples(st.binary(max_size=9), st.none() | st.binary(max_size=9)), max_size=3),
    timestamp_delta=st.integers(-(2**40), 2**40),
)
wrong = st.none() | st.integers(-(2**31), 2**31 - 1) | st.integers(-5, 80)
damaged_parts = st.builds(
    Part,
    value=st.none() | st.binary(max_size=300),
    headers=st.lists(st.tuples(st.binary(max_size=9), st.none() | st.binary(max_size=9)), max_size=3),
    timestamp_delta=st.integers(-(2**63), 2**63 - 1),
    offset_delta=wrong,
    length=wrong,
    key_length=wrong,
    value_length=wrong,
    header_count=wrong,
    trailing=st.binary(max_size=9),
)
batches = st.builds(
    RawBatch,
    parts=st.lists(parts | damaged_parts, max_size=6),
    codec=st.integers(0, 7),
    attributes=st.sampled_from([0, 0x08, 0x10]),
    first_ms=st.integers(-(2**63), 2**63 - 1),
    base=st.integers(0, 2**40),
    count=wrong,
    last_delta=st.none() | st.integers(-5, 80),
    payload=st.none() | st.binary(max_size=100),
)


def read(data: bytes) -> list[FetchedRecord]:
    """All records of the batches in `data`, and what cannot be read."""
    found: list[FetchedRecord] = []
    for base, its in frames(data):
        batch = Batch(base, its)
        if batch.fault:
            found.append(batch.lost(AT, first=base, last=batch.last))
        else:
            found += batch.records(AT, base)
    return found


def facts(record: Any) -> tuple[Any, ...]:
    """What a record says, whichever library has read it."""
    return record.offset, record.timestamp, record.key, record.value, list(record.headers)


def by_kafka_python(data: bytes) -> list[tuple[Any, ...]]:
    """The same, read by the client's own code."""
    return [facts(record) for batch in MemoryRecords(data) for record in batch]


def built(builder: Any, number: int, *, base: int, **more: Any) -> bytes:
    """A batch of the client's own builder, as a broker hands it out."""
    for place in range(number):
        builder.append(place, 1_700_000_000_000 + place, b"k%d" % place, GOOD * place, **more)
    data = bytearray(builder.build())
    struct.pack_into(">q", data, 0, base)
    return bytes(data)


@pytest.mark.parametrize("codec", range(5))
def test_sound_batches_are_read_as_kafka_python_reads_them(codec: int) -> None:
    """With and without compression: offsets, times, keys, values and headers."""
    builder = DefaultRecordBatchBuilder(2, codec, False, -1, -1, -1, 1 << 20)
    data = built(builder, 50, base=7, headers=[("trace", b"x"), ("ünï", None)])
    found = read(data + data)

    assert [facts(record) for record in found] == by_kafka_python(data) * 2
    assert not any(record.unreadable for record in found)


@pytest.mark.parametrize(
    ("magic", "codec"),
    # Brokers before 0.10 had a checksum of their own in lz4.
    [(magic, codec) for magic in (0, 1) for codec in range(4) if (magic, codec) != (0, 3)],
)
def test_message_sets_of_old_brokers_are_read(magic: int, codec: int) -> None:
    """As brokers before 0.11 wrote them; compressed ones stand inside of a message with the last offset."""
    data = built(LegacyRecordBatchBuilder(magic, codec, 1 << 20), 9, base=0 if codec == 0 else 8)
    found = read(data)

    assert [(r.offset, r.key, r.value, r.timestamp) for r in found] == [
        (offset, key, value, -1 if timestamp is None else timestamp)
        for offset, timestamp, key, value, _ in by_kafka_python(data)
    ]


@given(st.lists(parts, min_size=1, max_size=6), st.integers(0, 4))
def test_whatever_parts_a_record_has_it_is_read(its: list[Part], codec: int) -> None:
    """Null or any bytes as value, key or header; a header's name that is not UTF-8 as escapes."""
    found = read(RawBatch(its, codec=codec, base=5).encode())

    assert [(one.offset, one.key, one.value, one.unreadable) for one in found] == [
        (5 + place, part.key, part.value, None) for place, part in enumerate(its)
    ]
    assert [one.headers for one in found] == [
        [(name.decode(errors="backslashreplace"), value) for name, value in part.headers] for part in its
    ]


@given(batches)
def test_every_offset_of_a_damaged_batch_is_accounted_for(batch: RawBatch) -> None:
    """Nothing is raised. Each offset is in one record or one stretch, in order; no other is."""
    data = batch.encode()
    found = read(data)
    covered = [
        offset
        for record in found
        for offset in range(
            record.unreadable.first if record.unreadable else record.offset, record.offset + 1
        )
    ]
    sound = Batch(batch.base, data)
    its_own = range(batch.base, sound.last + 1)

    assert covered == sorted(set(covered))
    assert set(covered) <= set(its_own)
    assert all(-(2**63) <= record.timestamp < 2**63 for record in found)
    # With fewer records than offsets compaction may have removed any.
    if sound.fault or sound._count == len(its_own):
        assert covered == list(its_own)


@given(st.data())
def test_changed_bytes_raise_nothing(data: st.DataObject) -> None:
    """Under a checksum that is right, as a producer with a fault writes it; anywhere behind it."""
    codec = data.draw(st.integers(0, 4))
    batch = bytearray(RawBatch([Part(GOOD, headers=[(b"a", b"b")])] * 4, codec=codec).encode())
    for _ in range(data.draw(st.integers(1, 4))):
        batch[data.draw(st.integers(21, len(batch) - 1))] = data.draw(st.integers(0, 255))
    offsets = [record.offset for record in read(checked_again(bytes(batch)))]

    assert offsets == sorted(set(offsets))


@pytest.mark.parametrize("codec", [0, 1])
def test_a_record_that_cannot_be_decoded_leaves_the_others(codec: int) -> None:
    """Its length says where the next one begins; its bytes are kept."""
    bad = Part(GOOD, header_count=9)
    found = read(RawBatch([Part(GOOD), bad, Part(GOOD)], codec=codec, base=10).encode())

    assert [(one.offset, one.value == GOOD) for one in found] == [(10, True), (11, False), (12, True)]
    assert found[1].unreadable is not None
    assert found[1].unreadable.first == 11
    assert GOOD in (found[1].value or b"")


def test_without_a_length_the_rest_of_the_batch_is_one_stretch() -> None:
    """What was before it is read."""
    its = [Part(GOOD), Part(GOOD, length=-1), Part(GOOD), Part(GOOD)]
    first, rest = read(RawBatch(its, codec=1, base=10).encode())

    assert (first.offset, first.value, first.unreadable) == (10, GOOD, None)
    assert (rest.offset, rest.unreadable and rest.unreadable.first) == (13, 11)


@pytest.mark.parametrize(
    ("batch", "why"),
    [
        (RawBatch([Part(GOOD)] * 3, codec=4, payload=b"\0"), "zstd"),
        (RawBatch([Part(GOOD)] * 3, codec=6), "no compression codec 6"),
        (RawBatch([Part(GOOD)] * 3, count=9), "9 records for 3 offsets"),
        (RawBatch([Part(GOOD)] * 3, magic=9), "magic 9"),
    ],
)
def test_a_batch_that_cannot_be_opened_is_one_stretch(batch: RawBatch, why: str) -> None:
    """All of its offsets, its bytes, and why."""
    (lost,) = read(batch.encode())

    assert lost.unreadable is not None
    assert (lost.unreadable.first, lost.offset, lost.value) == (0, 2, batch.encode())
    assert why in lost.unreadable.why


@pytest.mark.parametrize("producer", [-1, 7])
def test_clicks_that_call_themselves_a_mark_are_none(producer: int) -> None:
    """Marks of transactions are shown to nobody: what is none must not vanish so."""
    batch = RawBatch([Part(GOOD, key=b"1234")] * 2, attributes=0x30, producer=(producer, 0, 0))
    alone = RawBatch([Part(GOOD)], attributes=0x30, producer=(producer, 0, 0), base=2)

    assert [one.unreadable and one.unreadable.first for one in read(batch.encode() + alone.encode())] == [
        0,
        2,
    ]


def test_a_wrong_checksum_is_believed() -> None:
    """Nothing of the batch is taken, though it could be decoded."""
    data = bytearray(RawBatch([Part(GOOD)] * 3).encode())
    data[-3] ^= 1
    (lost,) = read(bytes(data))

    assert (lost.offset, lost.unreadable and lost.unreadable.first) == (2, 0)


def test_compaction_leaves_gaps_that_are_none_of_a_reader() -> None:
    """A batch keeps its last offset when records of it are gone."""
    its = [Part(GOOD, offset_delta=1), Part(GOOD, offset_delta=4)]

    assert [one.offset for one in read(RawBatch(its, last_delta=9).encode())] == [1, 4]


@given(st.binary(max_size=200))
def test_any_bytes_are_taken(data: bytes) -> None:
    """A reader that raises would stand still."""
    read(data)
    batch = Batch(0, data)

    assert batch.fault or len(list(batch.records(AT, 0))) <= len(data)
