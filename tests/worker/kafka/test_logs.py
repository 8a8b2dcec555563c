"""Laws of logs and readers, on the cluster in memory and on a real broker."""

from __future__ import annotations

import pytest

from tests.worker.kafka.clusters import Cluster
from worker.errors import NotStable, TopicError
from worker.kafka.interface import Record, TopicPartition


def _values(records: list[Record]) -> list[bytes | None]:
    return [record.value for record in records]


def test_a_record_comes_as_it_was_written(cluster: Cluster) -> None:
    """Value, key, headers, timestamp, and where it stands."""
    topic = cluster.topic()
    at = TopicPartition(topic, 0)
    cluster.produce(topic, b"v", key=b"k", headers=[("h", b"1"), ("h", b"2")], timestamp=1_600_000_000_000)

    (record,) = cluster.rest(cluster.reader(at), at)

    assert (record.topic, record.partition, record.offset) == (topic, 0, 0)
    assert (record.key, record.value, record.timestamp) == (b"k", b"v", 1_600_000_000_000)
    assert [tuple(header) for header in record.headers] == [("h", b"1"), ("h", b"2")]


def test_a_record_may_lack_key_and_value(cluster: Cluster) -> None:
    """A tombstone is None, not empty; so is a key."""
    at = TopicPartition(cluster.topic(), 0)
    producer = cluster.producer()
    producer.send(at.topic, 0, key=b"k", value=None)
    producer.send(at.topic, 0, key=None, value=b"")
    producer.commit(at.topic, {}, "", seconds=10)

    records = cluster.rest(cluster.reader(at), at)

    assert [(record.key, record.value) for record in records] == [(b"k", None), (None, b"")]
    assert [list(record.headers) for record in records] == [[], []]


def test_a_transaction_that_is_open_stops_readers_of_committed_records(cluster: Cluster) -> None:
    """Also before what others wrote after it. A reader of uncommitted records sees all at once."""
    at = TopicPartition(cluster.topic(), 0)
    producer = cluster.producer()
    cluster.produce(at.topic, b"before")
    producer.send(at.topic, 0, key=None, value=b"open")
    free = cluster.reader(at, committed=False)
    cluster.until(lambda: free.ends([at]) == {at: 2}, what="the record that is not committed")
    cluster.produce(at.topic, b"after")
    careful = cluster.reader(at)

    assert careful.ends([at]) == {at: 1}
    assert free.ends([at]) == {at: 3}
    assert _values(cluster.rest(careful, at)) == [b"before"]
    assert careful.position(at) == 1
    assert _values(cluster.rest(free, at)) == [b"before", b"open", b"after"]

    producer.commit(at.topic, {}, "", seconds=10)
    cluster.until(lambda: careful.ends([at]) == {at: 4}, what="the mark")

    assert _values(cluster.rest(careful, at)) == [b"open", b"after"]


def test_positions_go_past_the_marks_of_transactions(cluster: Cluster) -> None:
    """A mark takes an offset and is no record."""
    at = TopicPartition(cluster.topic(), 0)
    producer = cluster.producer()
    for value in (b"1", b"2"):
        producer.send(at.topic, 0, key=None, value=value)
        producer.commit(at.topic, {}, "", seconds=10)
    reader = cluster.reader(at)
    cluster.until(lambda: reader.ends([at]) == {at: 4}, what="the marks")

    records = cluster.rest(reader, at)

    assert [record.offset for record in records] == [0, 2]
    assert reader.position(at) == 4


def test_what_was_aborted_is_skipped(cluster: Cluster) -> None:
    """Readers of uncommitted records see it all the same."""
    at = TopicPartition(cluster.topic(), 0)
    producer = cluster.producer()
    producer.send(at.topic, 0, key=None, value=b"aborted")
    free = cluster.reader(at, committed=False)
    cluster.until(lambda: free.ends([at]) == {at: 1}, what="the record that is not committed")
    producer.renew()
    producer.send(at.topic, 0, key=None, value=b"committed")
    producer.commit(at.topic, {}, "", seconds=10)
    careful = cluster.reader(at)
    cluster.until(lambda: careful.ends([at]) == {at: 4}, what="the marks")

    assert _values(cluster.rest(careful, at)) == [b"committed"]
    assert careful.position(at) == 4
    assert _values(cluster.rest(free, at)) == [b"aborted", b"committed"]


@pytest.mark.parametrize("offset", [0, 9], ids=["before the start", "beyond the end"])
def test_an_offset_out_of_range_is_read_from_the_first_record(cluster: Cluster, offset: int) -> None:
    """As auto_offset_reset `earliest` says: also where the log is shorter than was thought."""
    at = TopicPartition(cluster.topic(), 0)
    cluster.produce(at.topic, b"0", b"1", b"2", b"3")
    cluster.delete_before(at.topic, 2)
    reader = cluster.reader(at)
    reader.seek(at, offset)
    found: list[Record] = []

    def came() -> int:
        found.extend(record for records in reader.poll(cluster.poll_ms).values() for record in records)
        return len(found)

    cluster.until(came, what="a record")

    assert reader.begins([at]) == {at: 2}
    assert _values(found) == [b"2", b"3"]
    assert reader.position(at) == 4


def test_a_reader_begins_where_its_group_has_committed_or_else_at_the_first_record(cluster: Cluster) -> None:
    """Unless it seeks."""
    topic = cluster.topic(partitions=2)
    ats = [TopicPartition(topic, number) for number in (0, 1)]
    for number in (0, 1):
        cluster.produce(topic, b"0", b"1", partition=number)
    producer, group = cluster.producer(), cluster.name("group")
    producer.commit(topic, {1: 1}, group, seconds=10)
    reader = cluster.reader(*ats, group=group)

    assert [reader.position(at) for at in ats] == [0, 1]
    assert sorted((r.partition, r.offset) for r in cluster.rest(reader, *ats)) == [(0, 0), (0, 1), (1, 1)]


def test_partitions_that_stay_assigned_keep_their_positions(cluster: Cluster) -> None:
    """Those that come later begin at their own."""
    topic = cluster.topic(partitions=2)
    first, second = (TopicPartition(topic, number) for number in (0, 1))
    cluster.produce(topic, b"0", b"1")
    cluster.produce(topic, b"2", partition=1)
    reader = cluster.reader(first)
    cluster.rest(reader, first)
    reader.assign([first, second])

    assert reader.position(first) == 2
    assert _values(cluster.rest(reader, first, second)) == [b"2"]


def test_a_paused_partition_is_not_read(cluster: Cluster) -> None:
    """Others are."""
    topic = cluster.topic(partitions=2)
    paused, read = (TopicPartition(topic, number) for number in (0, 1))
    cluster.produce(topic, b"0")
    cluster.produce(topic, b"1", partition=1)
    reader = cluster.reader(paused, read)
    reader.pause([paused])

    assert _values(cluster.rest(reader, read)) == [b"1"]
    assert reader.position(paused) == 0


def test_a_poll_brings_no_more_records_than_it_may(cluster: Cluster) -> None:
    """The rest comes with the next, in order."""
    at = TopicPartition(cluster.topic(), 0)
    cluster.produce(at.topic, *(b"%d" % number for number in range(7)))
    reader = cluster.reader(at, fetch={"max_poll_records": 3})
    sizes, found = [], []

    def all_came() -> bool:
        records = [record for records in reader.poll(cluster.poll_ms).values() for record in records]
        sizes.append(len(records))
        found.extend(records)
        return len(found) == 7

    cluster.until(all_came, what="all records")

    assert max(sizes) == 3
    assert [record.offset for record in found] == list(range(7))


def test_committed_offsets_are_those_of_the_group(cluster: Cluster) -> None:
    """None where there is none. They need not be an offset that is there."""
    topic, group = cluster.topic(partitions=2), cluster.name("group")
    cluster.producer().commit(topic, {1: 7}, group, seconds=10)
    reader = cluster.reader(group=group)

    assert cluster.until(lambda: reader.committed(TopicPartition(topic, 1)), what="the offset") == 7
    assert reader.committed(TopicPartition(topic, 0)) is None


def test_an_offset_that_an_open_transaction_may_change_is_not_stable(cluster: Cluster) -> None:
    """A reader of uncommitted records is answered with the one before; that of other partitions is stable."""
    topic, group = cluster.topic(partitions=2), cluster.name("group")
    producer = cluster.producer()
    producer.commit(topic, {0: 1, 1: 1}, group, seconds=10)
    careful, free = cluster.reader(group=group), cluster.reader(group=group, committed=False)
    cluster.until(lambda: free.committed(TopicPartition(topic, 1)) == 1, what="the first offset")
    cluster.stop_in_commit(producer, topic, {0: 2}, group)

    with pytest.raises(NotStable):
        careful.committed(TopicPartition(topic, 0), timeout_ms=300)
    assert free.committed(TopicPartition(topic, 0)) == 1
    assert careful.committed(TopicPartition(topic, 1)) == 1

    producer.renew()

    assert cluster.until(lambda: careful.committed(TopicPartition(topic, 0)), what="the offset") == 1


def test_a_topic_that_is_missing_has_no_partitions(cluster: Cluster) -> None:
    """That is an answer, no error."""
    topic = cluster.topic(partitions=3)
    reader = cluster.reader()

    assert reader.partitions(topic) == {0, 1, 2}
    assert reader.partitions(cluster.name("missing")) == set()


def test_who_writes_learns_where_the_records_stand(cluster: Cluster) -> None:
    """One record in each partition that is named."""
    topic = cluster.topic(partitions=3)
    cluster.produce(topic, b"before", partition=2)

    assert cluster.connection.write(topic, b"k", {0: b"a", 2: b"b"}) == {0: 0, 2: 1}
    assert cluster.values(TopicPartition(topic, 2)) == [b"before", b"b"]


def test_nothing_is_written_to_a_partition_that_is_missing(cluster: Cluster) -> None:
    """An error of ours says so."""
    topic = cluster.topic()

    with pytest.raises(TopicError):
        cluster.connection.write(topic, b"k", {1: b"v"})
