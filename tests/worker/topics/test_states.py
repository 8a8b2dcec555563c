"""The state topic: its keys, and the values that are no blocks."""

from __future__ import annotations

import msgpack
import pytest

from worker.errors import StateRefused
from worker.kafka.memory import MemoryCluster
from worker.topics.states import Forget, Replay, StateWriter, block_number, parse_forget, parse_replay


@pytest.mark.parametrize("key", ["block/99999999999", "block/2000000000", "block/", "block/-1", "block/x"])
def test_no_memory_is_reserved_for_a_block_number_that_nobody_gave(key: str) -> None:
    """It would be as much as the number says."""
    with pytest.raises(StateRefused, match="not that of a block"):
        block_number(key)


def test_a_deletion_request_is_raised_once_to_where_it_is_heard() -> None:
    """Whoever recovers later does not raise it again: what came since is a new user's."""
    heard = Forget(5, 1).hear(9)

    assert heard == Forget(9, 1, heard=True)
    assert heard.hear(20) == heard
    assert Forget(12, 1).hear(9) == Forget(12, 1, heard=True)
    assert parse_forget("ada", heard.value()) == heard


def test_a_deletion_request_without_the_mark_was_not_heard() -> None:
    """As older commands wrote it."""
    value = msgpack.packb({"format": 1, "before": 5, "asked_at": 1})

    assert parse_forget("ada", value) == Forget(5, 1)


def test_a_deletion_request_that_cannot_be_read_says_how_to_write_it_again() -> None:
    """It is a person's right: it must not be skipped, and the state need not go for it."""
    with pytest.raises(StateRefused, match="run `nextclick-worker forget ada` to write it again"):
        parse_forget("ada", b"junk")


def test_what_is_written_is_read_again() -> None:
    """Each record under its key, in the transaction; every byte of it is counted."""
    cluster = MemoryCluster()
    cluster.create("state", partitions=2)
    transactions = cluster.connect().transactions("a", timeout_ms=10_000)
    transactions.renew()
    sent: list[int] = []
    writer = StateWriter(transactions, topic="state", sent=sent.append)

    writer.block(1, 7, b"block")
    writer.block(1, 8, None)
    writer.replay(1, Replay(5, 2))
    writer.heard(1, "ada", Forget(5, 1, heard=True))
    writer.forgotten(1, "bob")
    transactions.commit("state", {}, "group", seconds=1)

    found = cluster.read("state")
    assert [(one.key, one.value) for one in found] == [
        (b"block/7", b"block"),
        (b"block/8", None),
        (b"replay", Replay(5, 2).value()),
        (b"forget/ada", Forget(5, 1, heard=True).value()),
        (b"forget/bob", None),
    ]
    assert {one.partition for one in found} == {1}
    assert sent == [len(one.key or b"") + len(one.value or b"") for one in found]
    assert parse_replay(Replay(5, 2).value()) == Replay(5, 2)
    assert block_number("block/7") == 7


def test_a_replay_names_the_topics_that_it_belongs_to() -> None:
    """Where both know their ids; one that an earlier version wrote fits any."""
    one = Replay(5, 2, "clicks-1", "releases-1")
    old = parse_replay(msgpack.packb({"format": 1, "offset": 5, "release": 2}))

    assert parse_replay(one.value()) == one
    assert [one.is_of(name) for name in ("clicks-1", "clicks-2", "")] == [True, False, True]
    assert [one.release_is_of(name) for name in ("releases-1", "releases-2", "")] == [True, False, True]
    assert old == Replay(5, 2)
    assert old.is_of("clicks-1")

    with pytest.raises(StateRefused, match="it has a topic id that is not text"):
        parse_replay(msgpack.packb({"format": 1, "offset": 5, "release": 2, "clicks_id": 7}))
