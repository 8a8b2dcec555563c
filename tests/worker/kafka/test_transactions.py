"""Laws of transactional producers, on the cluster in memory and on a real broker."""

from __future__ import annotations

from contextlib import closing
from functools import partial
from typing import Any

import pytest
from kafka import errors as kafka_errors

from tests.worker.kafka.clusters import Cluster
from worker.errors import CheckpointFailed, SettingError, TopicError
from worker.kafka import transactions
from worker.kafka.client import Endpoint
from worker.kafka.interface import Reader, TopicPartition, Transactions
from worker.kafka.transactions import failure


def _write(producer: Transactions, at: TopicPartition, value: bytes) -> None:
    producer.send(at.topic, at.partition, key=None, value=value)


def test_a_transaction_is_seen_whole(cluster: Cluster) -> None:
    """Records in several partitions, and the offsets: all of it, once it is committed."""
    topic, group = cluster.topic(partitions=2), cluster.name("group")
    ats = [TopicPartition(topic, number) for number in (0, 1)]
    producer = cluster.producer()
    for at in ats:
        _write(producer, at, b"v%d" % at.partition)
    reader = cluster.reader(group=group)

    assert cluster.values(*ats) == []
    assert reader.committed(ats[0]) is None

    producer.commit(topic, {0: 5}, group, seconds=10)

    assert cluster.until(lambda: reader.committed(ats[0]), what="the offset") == 5
    assert cluster.until(lambda: sorted(map(str, cluster.values(*ats))), what="the records") == [
        "b'v0'",
        "b'v1'",
    ]


def test_records_that_take_much_memory_wait_for_those_before(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of them are in the transaction, in order, and none is seen before its commit."""
    monkeypatch.setattr(transactions, "_BUFFER_BYTES", 100)
    at, producer = TopicPartition(cluster.topic(), 0), cluster.producer()
    values = [b"%d" % number * 40 for number in range(8)]
    for value in values:
        _write(producer, at, value)

    assert cluster.values(at) == []
    producer.commit(at.topic, {}, None, seconds=10)

    assert cluster.until(lambda: cluster.values(at), what="the records") == values


def test_a_timeout_that_the_broker_does_not_allow_is_a_wrong_setting(cluster: Cluster) -> None:
    """To try again would never help."""
    producer = cluster.connection.transactions(cluster.name("producer"), timeout_ms=3_600_000)

    with pytest.raises(SettingError, match=r"lower kafka\.transaction_timeout_ms"):
        producer.renew()

    producer.drop()


def test_a_producer_is_not_used_before_it_was_started(cluster: Cluster) -> None:
    """Nor after it was dropped."""
    at = TopicPartition(cluster.topic(), 0)
    producer = cluster.connection.transactions(cluster.name("producer"), timeout_ms=30_000)

    with pytest.raises(CheckpointFailed):
        _write(producer, at, b"v")

    producer.renew()
    producer.drop()

    with pytest.raises(CheckpointFailed):
        producer.commit(at.topic, {}, "", seconds=10)


def test_who_starts_under_an_id_fences_who_did_before(cluster: Cluster) -> None:
    """The open transaction of the earlier one is aborted, and the broker refuses what it sends."""
    at = TopicPartition(cluster.topic(), 0)
    zombie = cluster.producer()
    _write(zombie, at, b"open")
    owner = cluster.producer()

    with pytest.raises(CheckpointFailed) as refused:
        _commit_one(zombie, at, b"zombie")

    assert refused.value.fenced

    _commit_one(owner, at, b"owner")

    assert cluster.until(lambda: cluster.values(at), what="the owner's record") == [b"owner"]


def _commit_one(producer: Transactions, at: TopicPartition, value: bytes) -> None:
    _write(producer, at, value)
    producer.commit(at.topic, {}, "", seconds=10)


def test_producers_under_other_ids_do_not_disturb_each_other(cluster: Cluster) -> None:
    """Their records stand in the order in which they came, each committed or not by its own."""
    at = TopicPartition(cluster.topic(), 0)
    first, second = cluster.producer("a"), cluster.producer("b")
    free = cluster.reader(at, committed=False)
    for producer, value, end in ((first, b"0", 1), (second, b"1", 2)):
        _write(producer, at, value)
        cluster.until(partial(_ends, free, at, end), what="the record")
    second.commit(at.topic, {}, "", seconds=10)
    first.renew()
    _commit_one(first, at, b"2")

    assert cluster.until(lambda: len(cluster.values(at)) == 2 and cluster.values(at), what="both") == [
        b"1",
        b"2",
    ]


def _ends(reader: Reader, at: TopicPartition, end: int) -> bool:
    return reader.ends([at]) == {at: end}


def test_a_producer_that_failed_is_not_used_before_it_is_renewed(cluster: Cluster) -> None:
    """Rule c: neither to send nor to commit. Its transaction did not happen."""
    at = TopicPartition(cluster.topic(), 0)
    producer = cluster.producer()
    _write(producer, at, b"lost")
    stale = _metadata(cluster, at.topic)._replace(generation_id=100)

    with pytest.raises(CheckpointFailed):
        producer.commit(at.topic, {0: 1}, stale, seconds=10)
    with pytest.raises(CheckpointFailed):
        _write(producer, at, b"lost too")
    with pytest.raises(CheckpointFailed):
        producer.commit(at.topic, {}, "", seconds=10)

    producer.renew()
    _commit_one(producer, at, b"kept")

    assert cluster.until(lambda: cluster.values(at), what="the record") == [b"kept"]


def test_what_a_dropped_producer_left_open_stays_so_until_its_id_starts_again(cluster: Cluster) -> None:
    """As after a crash: readers wait for it."""
    at = TopicPartition(cluster.topic(), 0)
    free, careful = cluster.reader(at, committed=False), cluster.reader(at)
    producer = cluster.producer()
    _write(producer, at, b"open")
    cluster.until(lambda: free.ends([at]) == {at: 1}, what="the record that is not committed")
    producer.drop()

    assert careful.ends([at]) == {at: 0}

    producer.renew()

    assert cluster.until(lambda: careful.ends([at]) == {at: 2}, what="the mark")
    assert cluster.rest(careful, at) == []


def test_a_transaction_that_takes_too_long_is_aborted_and_its_producer_fenced(cluster: Cluster) -> None:
    """By the broker, which looks now and then."""
    at = TopicPartition(cluster.topic(), 0)
    producer = cluster.producer(seconds=2)
    _write(producer, at, b"slow")
    free, careful = cluster.reader(at, committed=False), cluster.reader(at)
    cluster.until(lambda: free.ends([at]) == {at: 1}, what="the record that is not committed")
    cluster.let_pass(2)
    cluster.until(lambda: careful.ends([at]) == {at: 2}, what="the mark")

    with pytest.raises(CheckpointFailed) as refused:
        _commit_one(producer, at, b"later")

    assert refused.value.fenced
    assert cluster.values(at) == []


def test_a_partition_that_is_missing_is_said_at_once(cluster: Cluster) -> None:
    """One that was added since the producer started is none."""
    topic = cluster.topic()
    producer = cluster.producer()
    _commit_one(producer, TopicPartition(topic, 0), b"0")

    with pytest.raises(TopicError):
        _write(producer, TopicPartition(topic, 1), b"1")

    producer.renew()
    _commit_one(producer, TopicPartition(topic, 0), b"1")
    with closing(cluster.connection.admin()) as admin:
        admin.add_partitions(topic, total=2)
        cluster.until(lambda: admin.describe([topic])[topic].partitions == 2, what="the partition")
    _commit_one(producer, TopicPartition(topic, 1), b"2")

    assert cluster.until(lambda: cluster.values(TopicPartition(topic, 1)), what="the record") == [b"2"]


def test_a_record_that_is_too_large_is_said_at_once(cluster: Cluster) -> None:
    """Trying again does not help."""
    at = TopicPartition(cluster.topic(), 0)
    producer = cluster.producer()

    with pytest.raises(TopicError):
        _write(producer, at, b"x" * 1_100_000)


def test_offsets_under_a_generation_that_is_over_are_refused(cluster: Cluster) -> None:
    """And the records with them: the group may have given the partition to another member."""
    at = TopicPartition(cluster.topic(), 0)
    metadata = _metadata(cluster, at.topic)
    producer = cluster.producer()
    for stale in (
        metadata._replace(generation_id=metadata.generation_id - 1),
        metadata._replace(member_id="nobody"),
    ):
        _write(producer, at, b"refused")

        with pytest.raises(CheckpointFailed) as refused:
            producer.commit(at.topic, {0: 1}, stale, seconds=10)

        assert not refused.value.fenced
        producer.renew()

    _write(producer, at, b"taken")
    producer.commit(at.topic, {0: 2}, metadata, seconds=10)
    reader = cluster.reader(group=metadata.group_id)

    assert cluster.until(lambda: reader.committed(at), what="the offset") == 2
    assert cluster.until(lambda: cluster.values(at), what="the record") == [b"taken"]


def test_a_negative_generation_and_a_bare_group_id_are_not_checked(cluster: Cluster) -> None:
    """Rule a: why a member keeps the metadata that it had. Also where the group has members."""
    at = TopicPartition(cluster.topic(), 0)
    metadata = _metadata(cluster, at.topic)
    producer, reader = cluster.producer(), cluster.reader(group=metadata.group_id)
    unchecked = metadata._replace(generation_id=-1, member_id="")
    producer.commit(at.topic, {0: 1}, unchecked, seconds=10)

    assert cluster.until(lambda: reader.committed(at), what="the first offset") == 1

    producer.commit(at.topic, {0: 2}, metadata.group_id, seconds=10)

    assert cluster.until(lambda: reader.committed(at) == 2, what="the second offset")


def test_a_transaction_without_offsets_is_not_fenced_by_the_group(cluster: Cluster) -> None:
    """Rule d: why offsets are in every checkpoint."""
    at = TopicPartition(cluster.topic(), 0)
    stale = _metadata(cluster, at.topic)._replace(generation_id=100)
    producer = cluster.producer()
    _write(producer, at, b"v")
    producer.commit(at.topic, {}, stale, seconds=10)

    assert cluster.until(lambda: cluster.values(at), what="the record") == [b"v"]


def _metadata(cluster: Cluster, topic: str) -> Any:
    member = cluster.member(topic)
    cluster.assigned(member, shares=lambda shares: shares == [{0}])
    return member.metadata


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (kafka_errors.ProducerFencedError("newer epoch"), "fenced"),
        (kafka_errors.CommitFailedError("metadata mismatch: UnknownMemberIdError"), "revoked"),
        (kafka_errors.KafkaError("for unknown reasons: [Error 7] RequestTimedOutError"), "timeout"),
        (kafka_errors.KafkaError("for unknown reasons"), "refused"),
    ],
)
def test_the_reason_of_a_failure_is_found_in_its_text_too(error: Exception, reason: str) -> None:
    """The client says some errors of brokers only in words."""
    found = failure(Endpoint("localhost:1"), error, "commit")

    assert isinstance(found, CheckpointFailed)
    assert found.reason == reason
