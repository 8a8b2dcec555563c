"""The follower of items: all of them once, then every change; what is in its way, and its thread."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

import pytest

from worker.clock import Clock
from worker.core.item_record import ItemDecoder
from worker.core.known_items import Change, Item, KnownItems
from worker.core.reasons import Reason
from worker.errors import NotAllowed
from worker.items.follower import CaughtUp, Changed, Event, Failed, Follower, Reading, Waits
from worker.kafka import history
from worker.kafka.memory import MemoryCluster, MemoryConnection, Right
from worker.topics.compacted import CompactedReader

TOPIC: Final = "items"
SOLD_OUT: Final = b'{"available": false}'
ItemFollower = Follower[KnownItems, Change]

PATIENCE_SECONDS: Final = 30.0


@pytest.fixture
def cluster() -> MemoryCluster:
    """With a topic of items that has none."""
    found = MemoryCluster()
    found.create(TOPIC)
    return found


@pytest.fixture
def connection(cluster: MemoryCluster) -> MemoryConnection:
    """The follower's."""
    return cluster.connect()


@pytest.fixture
def follower(cluster: MemoryCluster, connection: MemoryConnection) -> Iterator[ItemFollower]:
    """One that reads when it is asked."""
    clock = Clock(wall=cluster.wall, steady=cluster.steady)
    found = Follower(
        CompactedReader(connection, ItemDecoder(), topic=TOPIC), KnownItems, clock=clock, background=False
    )
    found.start()
    yield found
    found.close()


def events(follower: ItemFollower) -> list[Event[KnownItems, Change]]:
    """All that there is to take."""
    return list(iter(follower.take, None))


def put(cluster: MemoryCluster, *items: str, value: bytes | None = SOLD_OUT) -> None:
    """Write a record for each item."""
    for item in items:
        cluster.produce(TOPIC, value, key=item.encode())


def test_all_items_are_handed_over_at_once(
    cluster: MemoryCluster, follower: ItemFollower, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With how many are left until then; and how many records were refused."""
    monkeypatch.setattr(history, "FETCH", {"max_poll_records": 2})
    put(cluster, "lamp", "rug", "sofa")
    put(cluster, "bed", value=b"garbage")
    put(cluster, "lamp", value=b"{}")

    *before, caught_up = events(follower)

    assert before == [Reading(3), Reading(1)]
    assert isinstance(caught_up, CaughtUp)
    assert caught_up.known.unavailable() == ["rug", "sofa"]
    assert caught_up.refused == Counter({Reason.UNKNOWN_FORMAT: 1})
    assert events(follower) == []


def test_an_empty_topic_is_caught_up_with(follower: ItemFollower) -> None:
    """At once."""
    (caught_up,) = events(follower)

    assert isinstance(caught_up, CaughtUp)
    assert len(caught_up.known) == 0


def test_every_change_is_passed_on(cluster: MemoryCluster, follower: ItemFollower) -> None:
    """And every bad record, after the changes that were read with it."""
    events(follower)
    put(cluster, "lamp")
    put(cluster, "rug", value=b"garbage")
    put(cluster, "lamp", value=None)

    changed, refused = events(follower)

    assert changed == Changed([("lamp", Item(False)), ("lamp", None)], [])
    assert isinstance(refused, Changed)
    assert [one.record.key for one in refused.bad] == [b"rug"]


def test_an_outage_is_reported_once_and_nothing_is_read_twice(
    cluster: MemoryCluster, follower: ItemFollower
) -> None:
    """Not even where it ends."""
    put(cluster, "lamp")
    events(follower)
    cluster.down()
    (waits,) = events(follower)
    again = events(follower)
    cluster.up()
    put(cluster, "rug")

    assert isinstance(waits, Waits)
    assert "read the items topic items" in waits.reason
    assert again == []
    assert events(follower) == [Changed([("rug", Item(False))], []), Waits("")]


def test_a_topic_that_is_created_again_is_read_as_a_whole(
    cluster: MemoryCluster, follower: ItemFollower
) -> None:
    """Of every item the last record counts, as if the older ones had been compacted."""
    put(cluster, "lamp")
    events(follower)
    cluster.delete(TOPIC)
    gone = events(follower)
    cluster.create(TOPIC)
    put(cluster, "rug", value=b"{}")
    put(cluster, "rug")
    put(cluster, "sofa", value=None)
    follower.read_again()

    assert all(isinstance(one, Waits) for one in gone)
    changed = [one for one in events(follower) if isinstance(one, Changed)]
    assert changed == [Changed([("rug", Item(False)), ("sofa", None)], [])]


def test_a_right_that_is_missing_from_the_start_ends_it(
    cluster: MemoryCluster, connection: MemoryConnection, follower: ItemFollower
) -> None:
    """The loop raises the error."""
    cluster.restrict(connection, [])

    (failed,) = events(follower)

    assert isinstance(failed, Failed)
    assert isinstance(failed.error, NotAllowed)


def test_a_right_that_is_lost_later_is_reported(
    cluster: MemoryCluster, connection: MemoryConnection, follower: ItemFollower
) -> None:
    """With the right back, it reads all of the topic again."""
    put(cluster, "lamp")
    events(follower)
    cluster.restrict(connection, [])
    denied = events(follower)
    put(cluster, "rug")
    cluster.restrict(connection, [Right("topic", TOPIC, "READ")])

    assert all(isinstance(one, Waits) and one.reason for one in denied)
    assert denied
    assert events(follower) == [Changed([("lamp", Item(False)), ("rug", Item(False))], []), Waits("")]


def test_a_bug_is_handed_over(cluster: MemoryCluster) -> None:
    """In the thread it would be lost."""

    def parse(_value: bytes, _headers: object, /, *, exact: bool = False) -> Any:
        raise ZeroDivisionError

    put(cluster, "lamp")
    reader = CompactedReader(cluster.connect(), ItemDecoder(parse=parse), topic=TOPIC)
    (failed,) = events(Follower(reader, KnownItems, clock=Clock(), background=False))

    assert isinstance(failed, Failed)
    assert isinstance(failed.error, ZeroDivisionError)


def test_the_thread_does_the_same(cluster: MemoryCluster) -> None:
    """Until it is closed."""
    put(cluster, "lamp")
    follower = Follower(
        CompactedReader(cluster.connect(), ItemDecoder(), topic=TOPIC), KnownItems, clock=Clock()
    )
    follower.start()
    first = follower.take(PATIENCE_SECONDS)
    put(cluster, "rug")
    second = follower.take(PATIENCE_SECONDS)
    follower.close()

    assert isinstance(first, CaughtUp)
    assert second == Changed([("rug", Item(False))], [])
