"""What nobody can decode: it is handed over with its place, and is in nobody's way."""

from __future__ import annotations

from collections.abc import Iterable

from tests.worker.kafka.clusters import Cluster
from worker.kafka import history
from worker.kafka.interface import Record, TopicPartition


def places(records: Iterable[Record]) -> list[tuple[int, int] | bytes | None]:
    """First and last offset of what is unreadable, the value of all else."""
    return [(one.unreadable.first, one.offset) if one.unreadable else one.value for one in records]


def damaged(cluster: Cluster) -> str:
    """A topic with a stretch of three offsets between two records, and one of one at the end."""
    topic = cluster.topic()
    cluster.produce(topic, b"before")
    cluster.produce_unreadable(topic, 3)
    cluster.produce(topic, b"after")
    cluster.produce_unreadable(topic, 1)
    return topic


def test_a_reader_gets_the_stretch_and_what_is_behind(cluster: Cluster) -> None:
    """One record for the stretch, with its last offset: the next one has the offset after it."""
    at = TopicPartition(damaged(cluster), 0)
    reader = cluster.reader(at)
    found = cluster.rest(reader, at)

    assert places(found) == [b"before", (1, 3), b"after", (5, 5)]
    assert [one.offset for one in found] == [0, 3, 4, 5]
    assert reader.position(at) == 6


def test_it_has_its_bytes_and_a_reason_and_nothing_else(cluster: Cluster) -> None:
    """Nobody takes it for a record of theirs."""
    at = TopicPartition(damaged(cluster), 0)
    lost = cluster.rest(cluster.reader(at), at)[1]

    assert lost.unreadable is not None
    assert lost.unreadable.why
    assert lost.value
    assert (lost.key, list(lost.headers)) == (None, [])


def test_whoever_begins_within_the_stretch_has_the_rest_of_it(cluster: Cluster) -> None:
    """As after a reset to an offset there."""
    at = TopicPartition(damaged(cluster), 0)
    reader = cluster.reader(at)
    reader.seek(at, 2)

    assert places(cluster.rest(reader, at)) == [(2, 3), b"after", (5, 5)]


def test_a_member_reads_past_it(cluster: Cluster) -> None:
    """Its position, and so what it commits, is behind the stretch; nothing is left to read."""
    topic = damaged(cluster)
    member = cluster.member(topic)
    cluster.assigned(member, shares=lambda shares: shares == [{0}])
    member.begin(0, 0)

    assert places(cluster.poll_until(member, 4)) == [b"before", (1, 3), b"after", (5, 5)]
    assert member.position(0) == 6
    assert cluster.unread(member) == {0: 0}


def test_committed_readers_see_it_between_transactions(cluster: Cluster) -> None:
    """Transactions around it are what they are without it."""
    topic = cluster.topic()
    at = TopicPartition(topic, 0)
    producer = cluster.producer()
    producer.send(topic, 0, key=b"k", value=b"committed")
    producer.commit(topic, {}, None, seconds=30)
    cluster.produce_unreadable(topic, 2)
    producer.send(topic, 0, key=b"k", value=b"aborted")
    producer.renew()
    cluster.produce(topic, b"after")

    found = cluster.rest(cluster.reader(at), at)
    assert [one.value for one in found if not one.unreadable] == [b"committed", b"after"]
    assert [one.offset - one.unreadable.first for one in found if one.unreadable] == [1]


def test_a_topic_as_a_whole_has_an_end_behind_it(cluster: Cluster) -> None:
    """Whoever reads all of it gets all of it."""
    found = [one for some in history.read(cluster.connection, topic=damaged(cluster)) for one in some]

    assert places(found) == [b"before", (1, 3), b"after", (5, 5)]
