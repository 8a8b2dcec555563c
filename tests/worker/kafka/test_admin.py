from __future__ import annotations

from contextlib import closing
from typing import Any

import pytest

from tests.worker.kafka.clusters import Cluster
from worker.errors import CheckpointFailed
from worker.kafka.admin import _member
from worker.kafka.interface import Admin, TopicPartition, Transactions


@pytest.mark.parametrize(
    ("assignment", "partitions"),
    [
        (None, set()),
        (b"", set()),
        (b"what the client cannot decode", set()),
        ({"assigned_partitions": []}, set()),
        ({"assigned_partitions": [{"topic": "clicks", "partitions": [1, 3]}]}, {1, 3}),
        ({"assigned_partitions": [{"topic": "another", "partitions": [2]}]}, set()),
    ],
)
def test_what_a_member_has_of_the_clicks(assignment: Any, partitions: set[int]) -> None:
    """Nothing during a rebalance, or where the broker does not say."""
    described = {"client_id": "a", "client_host": "/127.0.0.1", "member_id": "a-1"}

    assert _member(described | {"member_assignment": assignment}, "clicks").partitions == partitions


@pytest.mark.parametrize(
    ("metadata", "address"),
    [
        (None, ""),
        (b"what the client cannot decode", ""),
        ({"user_data": None}, ""),
        ({"user_data": b""}, ""),
        ({"user_data": b"http://a:1"}, "http://a:1"),
        ({"user_data": "http://a:1  "}, "http://a:1"),
        ({"user_data": {"previous_assignment": []}}, ""),
    ],
)
def test_a_member_may_say_its_address(metadata: Any, address: str) -> None:
    """Spaces after it ask for a rebalance; members of other programs have other data."""
    described = {"client_id": "a", "client_host": "/127.0.0.1", "member_id": "a-1"}

    assert _member(described | {"member_metadata": metadata}, "clicks").address == address


def test_a_topic_is_as_it_was_created(cluster: Cluster) -> None:
    """One that somebody else has created is left alone."""
    topic, missing = cluster.name("topic"), cluster.name("missing")
    wanted = {"cleanup.policy": "compact", "max.compaction.lag.ms": "3600000"}
    with closing(cluster.connection.admin()) as admin:
        assert admin.create(topic, partitions=3, replication=1, settings=wanted)
        cluster.until(lambda: admin.describe([topic])[topic].partitions, what="the topic")
        assert not admin.create(topic, partitions=1, replication=1, settings={})

        described, settings = admin.describe([topic, missing]), admin.settings(topic)
        names = admin.topics()

    assert topic in names
    assert missing not in names
    assert (described[topic].partitions, described[missing].partitions) == (3, 0)
    assert described[topic].visible
    assert settings.items() >= wanted.items()
    assert settings["min.cleanable.dirty.ratio"] == "0.5"


def test_a_topic_that_is_created_again_has_another_id(cluster: Cluster) -> None:
    """And the offsets that groups have committed there are gone with the first."""
    topic = cluster.topic(partitions=2)
    producer = cluster.producer()
    producer.send(topic, 0, key=None, value=b"x")
    producer.commit(topic, {0: 1}, cluster.name("group"), seconds=10)
    reader = cluster.reader(group=cluster.name("group"))
    with closing(cluster.connection.admin()) as admin:
        first = admin.describe([topic])[topic]
        same = admin.describe([topic])[topic]
        cluster.delete(topic)
        cluster.until(lambda: not admin.describe([topic])[topic].partitions, what="the deletion")
        gone = admin.describe([topic])[topic]
        cluster.topic(partitions=2)
        cluster.until(lambda: _everywhere(admin, topic), what="the topic")
        second = admin.describe([topic])[topic]

    assert first.id
    assert (same.id, gone.id) == (first.id, "")
    assert second.id not in ("", first.id)
    assert second.led
    cluster.until(lambda: reader.committed(TopicPartition(topic, 0)) is None, what="the offset to go")


def _everywhere(admin: Admin, topic: str) -> bool:
    """Return whether every broker knows the topic and its leaders."""
    everywhere = [described[topic] for described in admin.everywhere([topic])]
    return all(one.partitions == 2 and one.led for one in everywhere)


def test_what_is_allowed_is_said(cluster: Cluster) -> None:
    """Everything, where nobody decides; of a group that does not exist nothing is known."""
    topic = cluster.topic()
    with closing(cluster.connection.admin()) as admin:
        rights = admin.describe([topic])[topic].rights

        assert rights
        assert rights >= {"READ", "WRITE", "DESCRIBE"}
        assert admin.group_rights(cluster.name("group")) is None

        cluster.assigned(cluster.member(topic), shares=lambda shares: shares == [{0}])
        rights = admin.group_rights(cluster.name("group"))

    assert rights
    assert "READ" in rights


def test_a_compacted_topic_takes_no_record_without_a_key(cluster: Cluster) -> None:
    """The transaction fails with it."""
    topic = cluster.name("compacted")
    with closing(cluster.connection.admin()) as admin:
        admin.create(topic, partitions=1, replication=1, settings={"cleanup.policy": "compact"})
        cluster.until(lambda: admin.describe([topic])[topic].partitions, what="the topic")
    producer = cluster.producer()

    with pytest.raises(CheckpointFailed):
        _commit_keyless(producer, topic)


def _commit_keyless(producer: Transactions, topic: str) -> None:
    producer.send(topic, 0, key=None, value=b"v")
    producer.commit(topic, {}, "", seconds=10)
