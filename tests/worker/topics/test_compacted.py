"""The reader of the items topic: all partitions from their beginning, bad records, a registry away."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import pytest

from worker.core.item_record import ItemDecoder
from worker.core.known_items import Change, Item
from worker.core.reasons import Reason
from worker.errors import KafkaAway, NotAllowed, RegistryAway, TopicError
from worker.kafka.memory import MemoryCluster
from worker.topics.compacted import Batch, CompactedReader

TOPIC: Final = "items"
SOLD_OUT: Final = b'{"available": false}'


@pytest.fixture
def cluster() -> MemoryCluster:
    """With a topic of items that has none, in two partitions."""
    found = MemoryCluster()
    found.create(TOPIC, partitions=2)
    return found


@pytest.fixture
def reader(cluster: MemoryCluster) -> Iterator[CompactedReader[Change]]:
    """One that is open."""
    with CompactedReader(cluster.connect(), ItemDecoder(), topic=TOPIC).opened() as found:
        yield found


def test_all_partitions_are_read_from_their_beginning(cluster: MemoryCluster) -> None:
    """Every record once, the bad ones with their reasons; those that came before the reader count as left."""
    cluster.produce(TOPIC, SOLD_OUT, key=b"lamp")
    cluster.produce(TOPIC, b"garbage", key=b"rug", partition=1)
    cluster.produce(TOPIC, None, key=b"sofa", partition=1)
    with CompactedReader(cluster.connect(), ItemDecoder(), topic=TOPIC).opened() as reader:
        left = reader.left()
        changes, bad = reader.read()
        after = reader.left()
        cluster.produce(TOPIC, b"{}", key=b"lamp")

        assert (left, after) == (3, 0)
        assert sorted(changes, key=str) == [("lamp", Item(False)), ("sofa", None)]
        assert [(one.record.key, one.reason) for one in bad] == [(b"rug", Reason.UNKNOWN_FORMAT)]
        assert reader.read() == Batch([("lamp", Item())], [])
        assert reader.left() == 0
        assert reader.read() == Batch([], [])


def test_what_nobody_can_decode_is_refused(cluster: MemoryCluster, reader: CompactedReader[Change]) -> None:
    """As a range; what comes after it is read."""
    cluster.produce_unreadable(TOPIC, offsets=3)
    cluster.produce(TOPIC, SOLD_OUT, key=b"lamp")

    changes, bad = reader.read()

    assert changes == [("lamp", Item(False))]
    assert [one.reason for one in bad] == [Reason.UNREADABLE]


def test_new_partitions_are_read_too(cluster: MemoryCluster, reader: CompactedReader[Change]) -> None:
    """From their beginning."""
    cluster.add_partitions(TOPIC, 3)
    cluster.produce(TOPIC, SOLD_OUT, key=b"lamp", partition=2)

    assert reader.read().changes == [("lamp", Item(False))]


def test_a_topic_that_is_missing_is_an_error(cluster: MemoryCluster) -> None:
    """As is one that nobody may see, or a broker that is away."""
    missing, there = (
        CompactedReader(cluster.connect(), ItemDecoder(), topic=one) for one in ("nothing", TOPIC)
    )
    hidden = cluster.connect()
    cluster.restrict(hidden, [])

    with pytest.raises(TopicError, match="topic nothing does not exist"), missing.opened():
        pass
    with pytest.raises(NotAllowed), CompactedReader(hidden, ItemDecoder(), topic=TOPIC).opened():
        pass
    cluster.down()
    with pytest.raises(KafkaAway, match="read the items topic items"), there.opened():
        pass


def test_no_record_is_lost_while_a_schema_is_away(cluster: MemoryCluster) -> None:
    """What can be decoded is passed on; the rest waits, in its order."""
    away = {b"2", b"4"}

    def parse(value: bytes, _headers: object, /, *, exact: bool = False) -> Any:
        if value in away:
            raise RegistryAway("no answer")
        return {"price": int(value)}

    for value in (b"1", b"2", b"3", b"4"):
        cluster.produce(TOPIC, value, key=b"lamp")
    with CompactedReader(cluster.connect(), ItemDecoder(parse=parse), topic=TOPIC).opened() as reader:
        first = reader.read()
        with pytest.raises(RegistryAway):
            reader.read()
        left = reader.left()
        away.clear()
        rest = reader.read()

    assert [item and item.price for _, item in first.changes] == [1]
    assert left == 3
    assert [item and item.price for _, item in rest.changes] == [2, 3, 4]
