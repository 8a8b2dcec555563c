"""The seam inside of kafka-python: what it relies on is there, and reading goes on behind damage."""

from __future__ import annotations

import inspect
from importlib.metadata import version
from types import SimpleNamespace
from typing import Any, Final

import pytest
from kafka import KafkaConsumer
from kafka.consumer.fetcher import Fetcher
from kafka.protocol.consumer import IsolationLevel
from kafka.record.memory_records import MemoryRecords
from kafka.structs import TopicPartition

from tests.wire import Part, RawBatch
from worker.kafka.fetcher import _Fetcher, _PartitionRecords

AT: Final = TopicPartition("clicks", 0)
GOOD: Final = b'{"user_id": "ada", "item_id": "lamp"}'

WRITTEN_FOR: Final = (3, 0)
"""The versions of kafka-python that `worker.kafka.fetcher` was written for; 3.0.12 is the first of them."""

PARAMETERS: Final = {
    Fetcher.__init__: ["self", "client", "subscriptions", "configs"],
    Fetcher._parse_fetched_data: ["self", "completed_fetch"],
    Fetcher.PartitionRecords.__init__: [
        "self",
        "fetch_offset",
        "tp",
        "records",
        "key_deserializer",
        "value_deserializer",
        "check_crcs",
        "isolation_level",
        "aborted_transactions",
        "metric_aggregator",
        "on_drain",
    ],
    Fetcher.PartitionRecords._unpack_records: [
        "self",
        "tp",
        "records",
        "key_deserializer",
        "value_deserializer",
    ],
    Fetcher.PartitionRecords._consume_aborted_transactions_up_to: ["self", "offset"],
    Fetcher.PartitionRecords._is_batch_aborted: ["self", "batch"],
}


def reading(
    *batches: bytes, begin: int = 0, ceiling: int = 2**63, aborted: tuple[tuple[int, int], ...] = ()
) -> tuple[Any, list[Any]]:
    """An answer of a broker as the fetcher has it, and its records; `aborted`: producer and offset."""
    found = _PartitionRecords(
        begin,
        AT,
        MemoryRecords(b"".join(batches)),
        isolation_level=IsolationLevel.READ_COMMITTED,
        aborted_transactions=[SimpleNamespace(producer_id=who, first_offset=at) for who, at in aborted],
    )
    found.ceiling = ceiling
    return found, found.take()


def stretches(records: list[Any]) -> list[tuple[int, int, bool]]:
    """First and last offset, and whether it is readable."""
    return [
        (one.unreadable.first, one.offset, False) if one.unreadable else (one.offset, one.offset, True)
        for one in records
    ]


def test_kafka_python_is_as_the_seam_expects_it() -> None:
    """After an upgrade that changes this, read `worker/kafka/fetcher.py` beside the client's new code."""
    made, parsed = (inspect.getsource(one) for one in (KafkaConsumer.__init__, Fetcher._parse_fetched_data))

    assert tuple(map(int, version("kafka-python").split(".")[:2])) == WRITTEN_FOR
    for function, names in PARAMETERS.items():
        assert list(inspect.signature(function).parameters) == names
    assert (
        "self._fetcher = Fetcher(\n            self._client, self._subscription, metrics=self._metrics"
        in made
    )
    assert "self.PartitionRecords(fetch_offset, tp, records," in parsed
    assert "self._unpack_records(" in inspect.getsource(Fetcher.PartitionRecords.__init__)
    assert _Fetcher.PartitionRecords is _PartitionRecords


def test_reading_goes_on_behind_what_cannot_be_decoded() -> None:
    """The position passes the stretch, within one answer."""
    damaged = RawBatch([Part(GOOD)] * 3, codec=6, base=2).encode()
    answer, found = reading(
        RawBatch([Part(GOOD)] * 2).encode(), damaged, RawBatch([Part(GOOD)], base=5).encode()
    )

    assert stretches(found) == [(0, 0, True), (1, 1, True), (2, 4, False), (5, 5, True)]
    assert answer.next_fetch_offset == 6


def test_a_stretch_begins_where_the_reader_does() -> None:
    """Whoever begins within it has nothing to do with what is before."""
    damaged = RawBatch([Part(GOOD, length=-1)] * 9, codec=1).encode()

    assert stretches(reading(damaged, begin=4)[1]) == [(4, 8, False)]
    assert stretches(reading(RawBatch([Part(GOOD)] * 9, codec=6).encode(), begin=4)[1]) == [(4, 8, False)]


@pytest.mark.parametrize("base", [-5, 0, 2, 3, 5, 7, 900, 2**62])
def test_a_frame_that_lies_leads_nobody_away(base: int) -> None:
    """No checksum covers a batch's first offset: the batches around it and the high-water mark bound it."""
    liar = RawBatch([Part(GOOD)] * 2, base=base).encode()
    one, two = (RawBatch([Part(GOOD)] * 4, base=at).encode() for at in (0, 6))
    answer, found = reading(one, liar, two, ceiling=10)

    assert stretches(found)[4] == (4, 5, False)
    assert [first for first, _, good in stretches(found) if good] == [0, 1, 2, 3, 6, 7, 8, 9]
    assert answer.next_fetch_offset == 10
    assert (
        reading(RawBatch([Part(GOOD)] * 2, base=900).encode(), begin=4, ceiling=10)[0].next_fetch_offset == 5
    )


@pytest.mark.parametrize("delta", [0, 1, 2, 60_000, 2**31 - 1])
def test_a_wrong_checksum_makes_the_last_offset_doubtful(delta: int) -> None:
    """The batch behind it says where the stretch ends; without one it is left at the first offset."""
    damaged = bytearray(RawBatch([Part(GOOD)] * 3, base=2, last_delta=delta).encode())
    damaged[-2] ^= 1
    one, two = (RawBatch([Part(GOOD)] * 2, base=at).encode() for at in (0, 5))

    assert stretches(reading(one, bytes(damaged), two)[1])[2:] == [(2, 4, False), (5, 5, True), (6, 6, True)]
    assert reading(one, bytes(damaged), ceiling=7)[0].next_fetch_offset == (5 if delta == 2 else 3)


def test_what_was_written_while_the_broker_read_is_sound() -> None:
    """A broker notes its high-water mark before it reads: an answer may go beyond the mark that it names."""
    one, two = (RawBatch([Part(GOOD)] * 4, base=at).encode() for at in (0, 4))
    after_a_gap = RawBatch([Part(GOOD)] * 2, base=6).encode()

    for mark in (0, 2, 4, 5):
        assert stretches(reading(one, two, ceiling=mark)[1]) == [(at, at, True) for at in range(8)]
    assert stretches(reading(one, after_a_gap, ceiling=6)[1])[4:] == [(6, 6, True), (7, 7, True)]


@pytest.mark.parametrize("delta", [3, 1 << 20])
def test_a_sound_batch_that_claims_offsets_of_others_is_not_believed(delta: int) -> None:
    """A producer wrote it so, checksum and all: the position must not jump over what follows."""
    one, two = (RawBatch([Part(GOOD)] * 2, base=at).encode() for at in (0, 4))
    wide = RawBatch([Part(GOOD)] * 2, base=2, last_delta=delta).encode()

    found = stretches(reading(one, wide, two, ceiling=6)[1])
    assert found[2:] == [(2, 3, False), (4, 4, True), (5, 5, True)]
    assert reading(one, wide, ceiling=4)[0].next_fetch_offset == 3


def test_a_compacted_batch_is_believed_up_to_its_end() -> None:
    """It has fewer records than offsets, and ends before the next one."""
    thin = RawBatch([Part(GOOD)] * 2, base=0, last_delta=4).encode()
    two = RawBatch([Part(GOOD)] * 2, base=5).encode()

    assert stretches(reading(thin, two, ceiling=7)[1]) == [(at, at, True) for at in (0, 1, 5, 6)]


def test_a_damaged_batch_at_the_end_is_passed_offset_by_offset() -> None:
    """Its header does not say where it ends, and the broker answers with it for each of its offsets."""
    damaged = bytearray(RawBatch([Part(GOOD)] * 3, base=2).encode())
    damaged[57] = 0x40  # the count of its records
    passed = []
    begin = 2
    while begin < 5:
        answer, found = reading(bytes(damaged), begin=begin, ceiling=6)
        passed += stretches(found)
        begin = answer.next_fetch_offset

    assert passed == [(2, 2, False), (3, 3, False), (4, 4, False)]
    assert reading(bytes(damaged), RawBatch([Part(GOOD)], base=5).encode(), begin=4)[1][-1].offset == 5


@pytest.mark.parametrize("magic", [0, 1, 3, 127, 255])
def test_another_format_is_not_believed(magic: int) -> None:
    """No checksum covers the byte that names it: where the batch ends, the one behind it says."""
    damaged = bytearray(RawBatch([Part(GOOD)] * 3, base=2).encode())
    damaged[16] = magic
    one, two = (RawBatch([Part(GOOD)] * 2, base=at).encode() for at in (0, 5))

    assert stretches(reading(one, bytes(damaged), two)[1])[2:] == [(2, 4, False), (5, 5, True), (6, 6, True)]


def test_what_a_broker_sends_from_before_is_passed_over() -> None:
    """Some begin their answers before the offset that was asked for."""
    one, two = (RawBatch([Part(GOOD)] * 4, base=at).encode() for at in (0, 4))

    assert stretches(reading(one, two, begin=6)[1]) == [(6, 6, True), (7, 7, True)]


def marker(base: int, *, key: bytes, producer: int = 7) -> bytes:
    """The mark that ends a transaction."""
    return RawBatch(
        [Part(b"\0" * 6, key=key)], attributes=0x30, base=base, producer=(producer, 0, -1)
    ).encode()


@pytest.mark.parametrize(
    ("key", "mark"), [(b"\0\0\0\0", []), (b"", [(2, 2, False)])], ids=["abort", "damaged"]
)
def test_aborted_transactions_are_passed_over_up_to_their_mark(
    key: bytes, mark: list[tuple[int, int, bool]]
) -> None:
    """Also where the mark itself cannot be decoded: what that producer commits after it must not be lost."""
    sent = RawBatch([Part(GOOD)] * 2, attributes=0x10, producer=(7, 0, 0))
    later = RawBatch([Part(GOOD)] * 2, attributes=0x10, producer=(7, 0, 2), base=3)
    _, found = reading(
        sent.encode(), marker(2, key=key), later.encode(), marker(5, key=b"\0\0\0\1"), aborted=((7, 0),)
    )

    assert stretches(found) == [*mark, (3, 3, True), (4, 4, True)]
