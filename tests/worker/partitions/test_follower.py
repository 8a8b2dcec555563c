"""The follower of the states: events of each partition in order, and its thread."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Final

import pytest

from worker.errors import StateRefused
from worker.kafka.memory import MemoryCluster
from worker.partitions.follower import AllRead, Copies, Event, Failed, StateFollower, StateRecord, Waits
from worker.topics.states import Forget

PATIENCE_SECONDS: Final = 30.0


@pytest.fixture
def cluster() -> MemoryCluster:
    """Clicks and states in two partitions; one block in the first."""
    found = MemoryCluster()
    for topic in ("clicks", "state"):
        found.create(topic, partitions=2)
    found.produce("state", b"block", key=b"block/1")
    return found


def new(cluster: MemoryCluster, *, background: bool) -> StateFollower:
    """A follower of that topic."""
    return StateFollower(
        cluster.connect(), topic="state", clicks="clicks", group="group", background=background
    )


@pytest.fixture
def follower(cluster: MemoryCluster) -> Iterator[StateFollower]:
    """One that reads when it is asked."""
    found = new(cluster, background=False)
    yield found
    found.close()


def events(follower: StateFollower, polls: int = 4) -> list[Event]:
    """All that comes of some polls."""
    return [event for event in (follower.take() for _ in range(polls)) if event is not None]


def commit(cluster: MemoryCluster, offset: int) -> None:
    """Have the group commit an offset of the first partition."""
    transactions = cluster.connect().transactions("a", timeout_ms=10_000)
    transactions.renew()
    transactions.commit("clicks", {0: offset}, "group", seconds=1)


def test_a_partition_is_read_whole_and_then_followed(cluster: MemoryCluster, follower: StateFollower) -> None:
    """Its records, what Kafka knows of its clicks, and later the deletion requests alone."""
    for _ in range(3):
        cluster.produce("clicks", b"x")
    cluster.delete_before("clicks", 0, 1)
    commit(cluster, 2)
    token = follower.follow(0)
    first = events(follower)
    cluster.produce("state", b"block", key=b"block/2")
    cluster.produce("state", Forget(1, 1).value(), key=b"forget/ada")
    then = events(follower)

    assert first == [
        StateRecord(0, token, "block/1", b"block", 1.0),
        AllRead(0, token, committed=2, begin=1, end=3),
    ]
    assert [(one.key, one.token) for one in then if isinstance(one, StateRecord)] == [("forget/ada", token)]


def test_a_partition_that_is_left_is_read_no_more(cluster: MemoryCluster, follower: StateFollower) -> None:
    """Whoever gets it again reads it again, under another token."""
    before = follower.follow(0)
    events(follower)
    follower.leave(0)
    cluster.produce("state", Forget(1, 1).value(), key=b"forget/ada")
    left = events(follower)
    after = follower.follow(0)
    again = events(follower)

    assert left == []
    assert after != before
    assert [one.key for one in again if isinstance(one, StateRecord)] == ["block/1", "forget/ada"]
    assert {getattr(one, "token", None) for one in again} == {after}


def test_an_offset_that_may_still_change_is_waited_for(
    cluster: MemoryCluster, follower: StateFollower
) -> None:
    """The transaction of a predecessor is open; then it is read again, and the offset is the new one."""
    transactions = cluster.connect().transactions("a", timeout_ms=10_000)
    transactions.renew()
    cluster.hold_marks()
    transactions.send("state", 0, key=b"block/2", value=b"block")
    transactions.commit("clicks", {0: 0}, "group", seconds=1)
    follower.follow(0)
    before = events(follower)
    cluster.write_marks()
    after = events(follower)

    assert not [one for one in before if isinstance(one, AllRead)]
    assert [type(one) for one in after if not isinstance(one, Waits)] == [StateRecord, AllRead]
    assert after[-1] == AllRead(0, 1, committed=0, begin=0, end=0)


def test_a_search_names_the_blocks_that_may_hold_somebody(
    cluster: MemoryCluster, follower: StateFollower
) -> None:
    """Those too that cannot be read; a number that has no block any more is not among them."""
    cluster.produce("state", b"unreadable", key=b"block/2")
    cluster.produce("state", None, key=b"block/1")
    token = follower.follow(0)
    events(follower)
    follower.search(0, {"ada": 5})

    assert events(follower) == [Copies(0, token, {"ada": 5}, frozenset({2}))]


def test_an_outage_is_waited_out(cluster: MemoryCluster, follower: StateFollower) -> None:
    """Reading goes on where it was."""
    follower.follow(0)
    events(follower)
    cluster.down()
    follower.follow(1)
    away = events(follower, polls=1)
    cluster.up()
    back = events(follower)

    assert [type(one) for one in away] == [Waits]
    assert [one.partition for one in back if isinstance(one, AllRead)] == [1]
    assert not [one for one in back if isinstance(one, StateRecord)]


def test_the_thread_hands_over_what_it_reads_and_ends(cluster: MemoryCluster) -> None:
    """It sleeps while there is nothing to read, wakes for a partition, and is gone after `close`."""
    before = set(threading.enumerate())
    follower = new(cluster, background=True)
    token = follower.follow(0)
    (thread,) = set(threading.enumerate()) - before
    found = [follower.take(PATIENCE_SECONDS), follower.take(PATIENCE_SECONDS)]
    follower.leave(0)
    again = follower.follow(1)
    other = follower.take(PATIENCE_SECONDS)
    follower.close()
    thread.join(PATIENCE_SECONDS)

    assert [type(one) for one in found] == [StateRecord, AllRead]
    assert {getattr(one, "token", None) for one in found} == {token}
    assert other == AllRead(1, again, None, 0, 0)
    assert not thread.is_alive()


def test_what_ends_the_thread_is_handed_on(cluster: MemoryCluster) -> None:
    """Here a fault of the program: a partition that the topic does not have."""
    before = set(threading.enumerate())
    follower = new(cluster, background=True)
    follower.follow(7)
    failed = follower.take(PATIENCE_SECONDS)
    for thread in set(threading.enumerate()) - before:
        thread.join(PATIENCE_SECONDS)

    assert isinstance(failed, Failed)
    assert isinstance(failed.error, ValueError)
    assert not follower.waiting
    assert set(threading.enumerate()) <= before


def test_a_key_that_no_worker_writes_ends_the_search(cluster: MemoryCluster, follower: StateFollower) -> None:
    """A block of a number that nobody gave: the loop raises it."""
    follower.follow(0)
    events(follower)
    cluster.produce("state", b"x", key=b"block/99999999999")
    follower.search(0, {"ada": 5})
    failed = events(follower)[-1]

    assert isinstance(failed, Failed)
    assert isinstance(failed.error, StateRefused)
