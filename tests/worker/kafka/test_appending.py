"""Laws of sending many records at once: the outcome is that of sending one at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from typing import Any, cast

import kafka as kafka_python
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kafka.producer.future import FutureRecordMetadata
from kafka.producer.record_accumulator import RecordAccumulator

from tests.worker.kafka.clusters import Cluster, real_cluster
from worker.errors import CheckpointFailed, NextclickError, TopicError
from worker.kafka import appending
from worker.kafka.appending import VERSIONS, Delivery
from worker.kafka.interface import NewRecord, TopicPartition, Transactions
from worker.kafka.transactions import KafkaTransactions

AT = TopicPartition("topic", 0)

Send = Callable[[Transactions, TopicPartition, Sequence[NewRecord]], None]


def one_by_one(producer: Transactions, at: TopicPartition, records: Sequence[NewRecord]) -> None:
    """Send records by the plain method."""
    for key, value, headers in records:
        producer.send(at.topic, at.partition, key=key, value=value, headers=headers)


def at_once(producer: Transactions, at: TopicPartition, records: Sequence[NewRecord]) -> None:
    """Send records by the method for many."""
    producer.send_many(at.topic, at.partition, records)


@pytest.fixture(params=[one_by_one, at_once])
def send(request: pytest.FixtureRequest) -> Send:
    """Every law holds for both methods."""
    return cast("Send", request.param)


content = st.none() | st.binary(max_size=200) | st.integers(8_000, 9_000).map(bytes)
new_records = st.tuples(content, content, st.lists(st.tuples(st.text(max_size=5), st.binary(max_size=5))))
calls = st.lists(st.tuples(st.booleans(), st.integers(-5, 70_000), st.lists(new_records, max_size=8)))


@given(calls, st.integers(100, 20_000))
def test_the_batches_are_those_of_the_client(
    sent: list[tuple[bool, int, list[NewRecord]]], batch_size: int
) -> None:
    """Byte for byte, divided at the same records, also where both methods write to the same batch."""
    plain, ours = (RecordAccumulator(batch_size=batch_size) for _ in range(2))
    futures: list[Any] = []
    for many, later_ms, records in sent:
        now_ms = 1_790_000_000_000 + later_ms
        endings = [appending._ending(record) for record in records]
        if many and records:
            futures += appending._append_endings(ours, AT, endings, now_ms=now_ms)[0]
        for key, value, headers in records:
            plain.append(AT, now_ms, key, value, headers)
            if not many:
                futures.append(ours.append(AT, now_ms, key, value, headers)[0])

    assert [facts(batch) for batch in ours._batches[AT]] == [facts(batch) for batch in plain._batches[AT]]
    assert not any(future.succeeded() for future in futures)

    for batch in ours._batches[AT]:
        batch.complete(0, -1)

    assert all(future.succeeded() for future in futures)


def facts(batch: Any) -> tuple[object, ...]:
    """Close a batch; return its bytes and what the client counts of it."""
    counted = (batch.record_count, batch.max_record_size, batch.records.is_full(), len(batch._record_futures))
    batch.records.close()
    return (bytes(batch.records.buffer()), *counted)


@given(st.lists(st.lists(new_records, min_size=1, max_size=5), min_size=1, max_size=5), st.data())
def test_the_outcome_of_a_split_batch_is_that_of_its_records(
    sent: list[list[NewRecord]], data: st.DataObject
) -> None:
    """Split once or twice: a delivery succeeded if all batches with one of its records did."""
    accumulator = RecordAccumulator(batch_size=1_000_000)
    deliveries = [
        appending._append_endings(accumulator, AT, [appending._ending(one) for one in records], now_ms=9)[0]
        for records in sent
    ]
    batches = accumulator._batches[AT]
    owners = [number for number, records in enumerate(sent) for _ in records]
    for _ in range(2):
        if batches[0].record_count > 1:
            first = batches.popleft()
            first.records.close()
            accumulator.split_and_reenqueue(first)
    refused, failed, place = KeyError("refused"), set[int](), 0
    for batch in batches:
        mine = owners[place : place + batch.record_count]
        place += batch.record_count
        if data.draw(st.booleans()):
            batch.complete(0, -1)
        else:
            failed |= {*mine}
            batch.complete_exceptionally(refused, lambda _: refused)

    assert place == len(owners)
    for number, (delivery,) in enumerate(deliveries):
        assert delivery.succeeded() == (number not in failed)
        assert delivery.exception is (refused if number in failed else None)


def test_a_partition_has_the_records_in_order(cluster: Cluster) -> None:
    """With keys, values and headers; more than a batch, and in between some sent one at a time."""
    at = TopicPartition(cluster.topic(), 0)
    records: list[NewRecord] = [
        (b"k%d" % number, b"%d" % number * 200 if number % 7 else None, [("id", b"%d" % number), ("ø", b"")])
        for number in range(3_000)
    ]
    producer = cluster.producer()
    for begin, end, way in ((0, 1, at_once), (1, 1_500, at_once), (1_500, 1_600, one_by_one)):
        way(producer, at, records[begin:end])
    at_once(producer, at, [])
    at_once(producer, at, records[1_600:])

    assert cluster.values(at) == []

    producer.commit(at.topic, {}, "", seconds=10)
    reader = cluster.reader(at)
    cluster.until(lambda: reader.ends([at])[at] >= len(records), what="the records")
    found = cluster.rest(reader, at)

    assert [(one.key, one.value, [*one.headers]) for one in found] == records


def test_partitions_have_their_own_records(cluster: Cluster) -> None:
    """Each is added to the transaction, which is aborted as a whole."""
    topic = cluster.topic(partitions=2)
    ats = [TopicPartition(topic, number) for number in (0, 1)]
    producer = cluster.producer()
    for at in ats:
        at_once(producer, at, [(None, b"aborted", [])] * 3)
    producer.renew()
    for at in ats:
        at_once(producer, at, [(None, b"v%d" % at.partition, [])] * 2)
    producer.commit(topic, {}, "", seconds=10)

    for at in ats:
        found = cluster.until(lambda at=at: cluster.values(at), what="the records")  # type: ignore[misc]
        assert found == [b"v%d" % at.partition] * 2


def test_a_record_that_is_too_large_is_said_at_once(cluster: Cluster, send: Send) -> None:
    """Whatever its place; before `renew` nothing is sent any more."""
    at = TopicPartition(cluster.topic(), 0)
    producer = cluster.producer()

    with pytest.raises(TopicError):
        send(producer, at, [(None, b"small", []), (None, bytes(1_100_000), []), (None, b"small", [])])
    with pytest.raises(CheckpointFailed):
        send(producer, at, [(None, b"later", [])])

    producer.renew()
    send(producer, at, [(None, b"kept", [])])
    producer.commit(at.topic, {}, "", seconds=10)

    assert cluster.until(lambda: cluster.values(at), what="the record") == [b"kept"]


def own_topic(cluster: Cluster, **settings: str) -> TopicPartition:
    """Create a topic with settings."""
    topic = cluster.name("own")
    with closing(cluster.connection.admin()) as admin:
        named = {name.replace("_", "."): value for name, value in settings.items()}
        admin.create(topic, partitions=1, replication=1, settings=named)
        cluster.until(lambda: admin.describe([topic])[topic].partitions == 1, what="the topic")
    return TopicPartition(topic, 0)


@pytest.mark.parametrize(
    ("settings", "bad"),
    [
        ({"max_message_bytes": "1000"}, (b"key", bytes(5_000), [])),
        ({"cleanup_policy": "compact"}, (None, b"no key", [])),
    ],
)
def test_a_record_that_the_broker_refuses_fails_the_commit(
    cluster: Cluster, send: Send, settings: dict[str, str], bad: NewRecord
) -> None:
    """The other records are not committed either."""
    at = own_topic(cluster, **settings)
    producer = cluster.producer()

    with pytest.raises(NextclickError):
        commit(send, producer, at, [(b"key", b"good", []), bad])

    producer.renew()

    assert cluster.values(at) == []


def commit(send: Send, producer: Transactions, at: TopicPartition, records: Sequence[NewRecord]) -> None:
    """Send records and commit them."""
    send(producer, at, records)
    producer.commit(at.topic, {}, "", seconds=10)


def test_a_batch_that_is_too_large_for_the_broker_is_split(cluster: Cluster, send: Send) -> None:
    """Nobody has to make the client's batches fit the topic."""
    at = own_topic(cluster, max_message_bytes="60000")
    records: list[NewRecord] = [(None, b"%03d" % number * 300, []) for number in range(200)]
    producer = cluster.producer()
    free = cluster.reader(at, committed=False)
    send(producer, at, records)
    cluster.until(lambda: free.ends([at])[at] >= len(records), what="the records")
    producer.commit(at.topic, {}, "", seconds=10)

    found = cluster.until(lambda: cluster.values(at), what="the records")
    assert found == [value for _, value, _ in records]


def test_a_topic_that_was_deleted_is_noticed(cluster: Cluster, send: Send) -> None:
    """By the send or by the commit, which has a time limit."""
    at = TopicPartition(cluster.topic(), 0)
    producer = cluster.producer(seconds=5)
    commit(send, producer, at, [(None, b"0", [])])
    cluster.delete(at.topic)
    with closing(cluster.connection.admin()) as admin:
        cluster.until(lambda: not admin.describe([at.topic])[at.topic].partitions, what="the deletion")

    with pytest.raises(NextclickError):
        commit(send, producer, at, [(None, b"1", [])] * 3)


def test_a_producer_that_was_fenced_is_refused(cluster: Cluster, send: Send) -> None:
    """Nothing of what it sends is seen."""
    at = TopicPartition(cluster.topic(), 0)
    zombie = cluster.producer()
    send(zombie, at, [(None, b"open", [])] * 3)
    owner = cluster.producer()

    with pytest.raises(CheckpointFailed) as refused:
        commit(send, zombie, at, [(None, b"zombie", [])] * 3)

    assert refused.value.fenced

    # Until it is closed, kafka-python's client of the fenced producer may take the id back.
    zombie.drop()
    owner.renew()
    commit(send, owner, at, [(None, b"owner", [])])

    assert cluster.until(lambda: cluster.values(at), what="the owner's record") == [b"owner"]


@pytest.fixture
def real(kafka: str, unique: str) -> Iterator[Cluster]:
    """A real broker: what kafka-python itself does."""
    with ExitStack() as life:
        yield real_cluster(kafka, life, unique)


def _newer_version(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(kafka_python, "__version__", "3.0.13")


def _other_parts(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(appending, "_BATCH_PARTS", (*appending._BATCH_PARTS, "records._renamed"))


@pytest.mark.broker
@pytest.mark.parametrize("change", [_newer_version, _other_parts])
def test_an_unknown_version_of_the_client_gets_one_record_at_a_time(
    real: Cluster, change: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A version that nobody compared with `send`, or one without the parts that are used."""
    at = TopicPartition(real.topic(), 0)
    producer = real.producer()
    assert isinstance(producer, KafkaTransactions)
    # The first records of a topic are sent one at a time, because the client does not know the topic.
    commit(at_once, producer, at, [(None, b"0", [])])
    at_once(producer, at, [(None, b"1", []), (None, b"2", [])])
    assert [type(one) for one in producer._sent] == [Delivery]
    producer.commit(at.topic, {}, "", seconds=10)

    change(monkeypatch)
    producer.renew()
    commit(at_once, producer, at, [(None, b"3", [])])
    at_once(producer, at, [(None, b"4", []), (None, b"5", [])])

    assert [type(one) for one in producer._sent] == [FutureRecordMetadata] * 2

    producer.commit(at.topic, {}, "", seconds=10)
    found = real.until(lambda: len(real.values(at)) == 6 and real.values(at), what="the records")

    assert found == [b"%d" % number for number in range(6)]


def test_the_installed_version_is_known() -> None:
    """Whoever raises the version compares it, and adds it to the list."""
    assert kafka_python.__version__ in VERSIONS
