"""The law of an outage, on the cluster in memory and on a real broker."""

from __future__ import annotations

import pytest

from tests.worker.kafka.clusters import Cluster
from worker.errors import CheckpointFailed, KafkaAway
from worker.kafka.interface import TopicPartition


def test_while_the_brokers_are_away_polls_bring_nothing_and_questions_are_refused(stoppable: Cluster) -> None:
    """A record can still be sent: it waits in the client. A commit fails, and nobody was fenced."""
    cluster, topic = stoppable, stoppable.topic()
    at = TopicPartition(topic, 0)
    member, producer, reader = cluster.member(topic), cluster.producer(), cluster.reader(at)
    cluster.assigned(member, shares=lambda shares: shares == [{0}])
    producer.send(topic, 0, key=None, value=b"before")
    cluster.down()

    producer.send(topic, 0, key=None, value=b"after")

    assert member.poll(cluster.poll_ms) == []
    assert not reader.poll(cluster.poll_ms)
    assert member.assigned() == {0}
    assert not member.lost
    with pytest.raises(CheckpointFailed) as refused:
        producer.commit(topic, {0: 1}, member.metadata, seconds=1)
    assert not refused.value.fenced
    with pytest.raises(KafkaAway):
        member.backlogs()
