"""Looking through the records of the state topic, whatever they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

import numpy as np
import pytest

from worker.core import blocks
from worker.core.states import States
from worker.errors import KafkaAway
from worker.kafka.memory import MemoryCluster
from worker.topics import state_scan
from worker.topics.state_scan import Contents, Entry, Marks, trace
from worker.topics.states import Forget, Replay


def block(clicks: Mapping[str, int]) -> bytes:
    """A block of some users and how often they clicked."""
    states = States(state_size=4)
    rows = states.rows(0, list(clicks))
    counts = np.array(list(clicks.values()), np.int32)
    states.item_codes.codes(["lamp"])
    states.write(rows, replace(states.read(rows), clicks=counts, offset=counts.astype(np.int64)))
    return blocks.encode(states, rows)


OLD: Final = block({"ada": 1, "bob": 1})
NEW: Final = block({"ada": 2})


def test_copies_count_while_their_record_is_the_latest() -> None:
    """Under the same key in another partition nothing is superseded."""
    entries = [
        Entry(0, 0, b"block/1", OLD),
        Entry(1, 0, b"block/1", OLD),
        Entry(0, 1, b"block/2", NEW),
        Entry(0, 2, b"block/1", None),
    ]

    found = trace(entries, "ada")

    assert [(copy.partition, copy.block, copy.at) for copy in found.copies] == [(1, 1, 0), (0, 2, 1)]
    assert [(copy.partition, copy.block, copy.at) for copy in found.superseded] == [(0, 1, 0)]
    assert [copy.saved.user_ids for copy in found.copies] == [["ada"], ["ada"]]
    assert found
    assert not trace(entries, "ad")


def test_a_deletion_request_counts_until_it_is_fulfilled() -> None:
    """Of this user alone."""
    request = Entry(0, 0, b"forget/ada", Forget(5, 1).value())

    assert trace([request], "ada").requests == {0: Forget(5, 1)}
    assert not trace([request], "bob")
    assert not trace([request, replace_value(request, None)], "ada")


def test_what_cannot_be_read_is_named() -> None:
    """Only where it may concern the user: a damaged block of our format without the id does not."""
    damaged = OLD[:-3]

    assert len(trace([Entry(0, 0, b"block/1", damaged)], "ada").unreadable) == 1
    assert trace([Entry(0, 0, b"block/1", damaged)], "eve").unreadable == []
    assert len(trace([Entry(0, 0, b"block/1", b"another format")], "eve").unreadable) == 1


def test_what_nobody_can_decode_is_named(cluster: MemoryCluster) -> None:
    """It may concern every user; after a tombstone under its offsets, as `reset` writes it, none."""
    cluster.produce_unreadable("state", offsets=3, why="its checksum is wrong")
    said = "offsets/0-2 of partition 0: its checksum is wrong"

    assert state_scan.look_for(cluster.connect(), "eve", topic="state").unreadable == [said]
    assert state_scan.contents(cluster.connect(), topic="state")[0].unreadable == {
        b"offsets/0-2": "its checksum is wrong"
    }
    cluster.produce("state", None, key=b"offsets/0-2")
    assert state_scan.look_for(cluster.connect(), "eve", topic="state").unreadable == []
    assert state_scan.contents(cluster.connect(), topic="state")[0].unreadable == {}


def test_contents_are_what_counts() -> None:
    """Sizes of the latest values, and of all for the log; a key that comes again replaces what was."""
    contents = Contents()
    entries = [
        Entry(0, 0, b"block/1", b"damaged"),
        Entry(0, 1, b"replay", Replay(4, 1).value()),
        Entry(0, 2, b"block/1", OLD),
        Entry(0, 3, b"block/2", NEW),
        Entry(0, 4, b"block/1", None),
        Entry(0, 5, b"what", b"x"),
        Entry(0, 6, b"forget/eve", Forget(5, 1).value()),
    ]
    for entry in entries:
        contents.take(entry)

    assert contents.blocks == 1
    assert contents.users == {b"block/2": ["ada"]}
    assert contents.sizes[b"block/2"] == len(NEW) + 7
    assert contents.log_bytes == sum(len(one.key) + len(one.value or b"") for one in entries)
    assert contents.replay == Replay(4, 1)
    assert contents.requests == {"eve": Forget(5, 1)}
    assert contents.unreadable == {b"what": "the key is unknown"}


def replace_value(entry: Entry, value: bytes | None) -> Entry:
    """The next record under the same key."""
    return entry._replace(offset=entry.offset + 1, value=value)


@pytest.fixture
def cluster() -> MemoryCluster:
    """Clicks and states in two partitions; ada and bob are saved, ada once more."""
    found = MemoryCluster()
    for topic in ("clicks", "state"):
        found.create(topic, partitions=2)
    for key, value in ((b"block/1", OLD), (b"block/2", NEW), (b"replay", Replay(4, 1).value())):
        found.produce("state", value, key=key, partition=1)
    return found


def test_the_topic_is_looked_through_for_a_user(cluster: MemoryCluster) -> None:
    """In all partitions, the deletion requests too."""
    cluster.produce("state", Forget(5, 1).value(), key=b"forget/ada", partition=0)

    found = state_scan.look_for(cluster.connect(), "ada", topic="state")

    assert [(copy.partition, copy.block, copy.at) for copy in found.copies] == [(1, 1, 0), (1, 2, 1)]
    assert found.requests == {0: Forget(5, 1)}
    assert not state_scan.look_for(cluster.connect(), "eve", topic="state")


def test_the_contents_of_partitions_that_have_any(cluster: MemoryCluster) -> None:
    """What compaction removes is not counted after it."""
    cluster.produce("state", None, key=b"block/1", partition=1)
    before = state_scan.contents(cluster.connect(), topic="state")[1]
    cluster.compact("state", tombstones=True)
    after = state_scan.contents(cluster.connect(), topic="state")

    assert list(after) == [1]
    assert before.users == after[1].users == {b"block/2": ["ada"]}
    assert before.log_bytes > after[1].log_bytes == sum(after[1].sizes.values())
    assert after[1].replay == Replay(4, 1)


def test_marks_are_what_kafka_knows(cluster: MemoryCluster) -> None:
    """The first offset that is left, the end with what is not committed, and how far the group is."""
    for _ in range(4):
        cluster.produce("clicks", b"x")
    cluster.delete_before("clicks", 0, 1)
    transactions = cluster.connect().transactions("a", timeout_ms=10_000)
    transactions.renew()
    transactions.commit("clicks", {0: 2}, "group", seconds=1)
    transactions.send("clicks", 0, key=None, value=b"open")

    found = state_scan.marks(cluster.connect(), topic="clicks", group="group", partitions=[0, 1])

    assert found == {0: Marks(1, 5, 2), 1: Marks(0, 0, None)}


def test_a_transaction_that_may_commit_offsets_is_not_settled(cluster: MemoryCluster) -> None:
    """Until it ends, by itself at the latest when its time is over."""

    def unsettled() -> list[int]:
        return state_scan.unsettled(cluster.connect(), topic="clicks", group="group", partitions=[0, 1])

    before = unsettled()
    transactions = cluster.connect().transactions("a", timeout_ms=10_000)
    transactions.renew()
    transactions.send("state", 0, key=b"block/1", value=NEW)
    cluster.hold_marks()
    transactions.commit("clicks", {1: 2}, "group", seconds=1)
    between = unsettled()
    cluster.write_marks()

    assert (before, between, unsettled()) == ([], [1], [])


def test_no_broker_is_said(cluster: MemoryCluster) -> None:
    """Whatever is asked."""
    cluster.down()

    with pytest.raises(KafkaAway, match="ask for the offsets of topic clicks"):
        state_scan.marks(cluster.connect(), topic="clicks", group="group", partitions=[0])
    with pytest.raises(KafkaAway, match="ask for the offsets of group group"):
        state_scan.unsettled(cluster.connect(), topic="clicks", group="group", partitions=[0])
    with pytest.raises(KafkaAway, match="read the topic state"):
        state_scan.contents(cluster.connect(), topic="state")
