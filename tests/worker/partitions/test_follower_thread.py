"""The thread of the follower of the states: it hands on what it finds, and what ends it."""

from __future__ import annotations

import threading
from typing import Final

import pytest

from worker.kafka.memory import MemoryCluster
from worker.partitions.follower import AllRead, Failed, StateFollower, StateRecord

PATIENCE_SECONDS: Final = 30.0


@pytest.fixture
def cluster() -> MemoryCluster:
    """Clicks and states in two partitions; one block in the first."""
    found = MemoryCluster()
    for topic in ("clicks", "state"):
        found.create(topic, partitions=2)
    found.produce("state", b"block", key=b"block/1")
    return found


def new(cluster: MemoryCluster) -> StateFollower:
    """A follower of that topic, with a thread of its own."""
    return StateFollower(cluster.connect(), topic="state", clicks="clicks", group="group")


def test_the_thread_hands_over_what_it_reads_and_ends(cluster: MemoryCluster) -> None:
    """It sleeps while there is nothing to read, wakes for a partition, and is gone after `close`."""
    before = set(threading.enumerate())
    follower = new(cluster)
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
    follower = new(cluster)
    follower.follow(7)
    failed = follower.take(PATIENCE_SECONDS)
    for thread in set(threading.enumerate()) - before:
        thread.join(PATIENCE_SECONDS)

    assert isinstance(failed, Failed)
    assert isinstance(failed.error, ValueError)
    assert not follower.waiting
    assert set(threading.enumerate()) <= before
