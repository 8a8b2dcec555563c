"""Dead letters: the record as it was, with headers that say why and whence."""

from __future__ import annotations

import hashlib

import pytest

from worker.core.reasons import Reason
from worker.kafka.interface import SentHeaders
from worker.kafka.memory import MemoryCluster
from worker.topics.clicks import Invalid
from worker.topics.dead_letters import MAX_VALUE_BYTES, PREFIX_BYTES, DeadLetterWriter, letter


def bad(
    value: bytes | None,
    reason: Reason = Reason.MALFORMED,
    *,
    key: bytes | None = b"ada",
    headers: SentHeaders | None = None,
    parts: str = "",
) -> Invalid:
    """A record that is no click."""
    cluster = MemoryCluster()
    cluster.create("clicks", partitions=6)
    cluster.produce("clicks", value, key=key, partition=5, headers=headers, timestamp=7)
    return Invalid(cluster.read("clicks")[0], reason, parts)


OURS = {
    "nextclick.reason": b"malformed",
    "nextclick.topic": b"clicks",
    "nextclick.partition": b"5",
    "nextclick.offset": b"0",
    "nextclick.timestamp": b"7",
}


def test_a_letter_is_the_record_with_headers_of_ours() -> None:
    """Its own headers first."""
    key, value, headers = letter(bad(b"{", headers=[("trace", b"x")]))

    assert (key, value) == (b"ada", b"{")
    assert headers[0] == ("trace", b"x")
    assert dict(headers[1:]) == OURS


def test_a_letter_names_the_parts_that_are_not_valid() -> None:
    """The others of the record counted: whoever sends it again must leave them out."""
    _, value, headers = letter(bad(b"[1, {}]", Reason.NOT_A_MAP, parts="[0]: not_a_map"))

    assert value == b"[1, {}]"
    assert dict(headers)["nextclick.parts"] == b"[0]: not_a_map"


def test_a_value_that_is_too_large_keeps_a_prefix() -> None:
    """With its size and its sum: the record itself stays where the headers say."""
    whole = b"x" * (MAX_VALUE_BYTES + 1)

    _, value, headers = letter(bad(whole, Reason.TOO_LARGE))

    assert value == whole[:PREFIX_BYTES]
    assert dict(headers)["nextclick.size"] == b"%d" % len(whole)
    assert dict(headers)["nextclick.sha256"] == hashlib.sha256(whole).hexdigest().encode()


def test_a_stretch_is_its_bytes_and_its_place() -> None:
    """From its first to its last offset, and why nobody can decode it."""
    cluster = MemoryCluster()
    cluster.create("clicks", partitions=6)
    cluster.produce_unreadable("clicks", b"\xff\0", offsets=3, partition=5, why="its checksum is wrong")
    (lost,) = cluster.read("clicks")

    key, value, headers = letter(Invalid(lost, Reason.UNREADABLE))

    assert (key, value) == (None, b"\xff\0")
    assert dict(headers) == OURS | {
        "nextclick.reason": b"unreadable",
        "nextclick.timestamp": b"%d" % cluster.now_ms,
        "nextclick.last_offset": b"2",
        "nextclick.error": b"its checksum is wrong",
    }


def test_a_value_that_just_fits_stays_whole() -> None:
    """No prefix, no sum."""
    value = letter(bad(b"x" * MAX_VALUE_BYTES, Reason.TOO_LARGE))[1]

    assert len(value or b"") == MAX_VALUE_BYTES


def test_keys_and_headers_that_are_too_large_are_dropped() -> None:
    """A prefix of the key stays, and a header says so."""
    record = bad(b"{", key=b"k" * 90_000, headers=[("trace", b"x" * 20_000)])

    key, _, headers = letter(record)

    assert key == b"k" * PREFIX_BYTES
    assert dict(headers) == OURS | {"nextclick.headers": b"dropped: key and headers are too large"}


def test_a_record_of_nothing_gets_an_empty_value() -> None:
    """The client sends none without key and value; the reason says what it was."""
    key, value, headers = letter(bad(None, Reason.NULL_VALUE, key=None))

    assert (key, value) == (None, b"")
    assert dict(headers)["nextclick.reason"] == b"null_value"


@pytest.mark.parametrize(("partitions", "goes_to"), [(1, 0), (4, 1), (6, 5)])
def test_letters_go_to_the_partition_of_their_record(partitions: int, goes_to: int) -> None:
    """As far as the topic has it; inside the transaction."""
    cluster = MemoryCluster()
    cluster.create("letters", partitions=partitions)
    transactions = cluster.connect().transactions("worker", timeout_ms=10_000)
    transactions.renew()
    writer = DeadLetterWriter(transactions, topic="letters", partitions=lambda: partitions)

    writer.publish([bad(b"{", headers=[("empty", b"")])])
    before = cluster.read("letters")
    transactions.commit("letters", {}, "group", seconds=1)

    (found,) = cluster.read("letters")
    assert before == []
    assert (found.partition, found.value) == (goes_to, b"{")


@pytest.mark.parametrize("headers", [[("\U0001f600" * 30_000, b"")], [("", b"")] * 20_000])
def test_headers_are_measured_as_they_are_sent(headers: list[tuple[str, bytes]]) -> None:
    """A name in bytes, not characters; many small headers add up: the letter must fit into a request."""
    _, _, kept = letter(bad(b"x" * 890_000, headers=headers))

    assert dict(kept)["nextclick.headers"].startswith(b"dropped")
