"""What a client of ours does with the late answers of a broker that stood still for a while."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing

import pytest
from confluent_kafka import Consumer
from confluent_kafka import TopicPartition as Place
from confluent_kafka.admin import AdminClient

from deploy.kafka.local import LocalKafka
from tests.conftest import create_topic
from worker.errors import NotStable
from worker.kafka.connection import KafkaConnection
from worker.kafka.interface import TopicPartition


def commit(node: LocalKafka, offset: int) -> None:
    """Commit an offset as somebody else's client does."""
    client = Consumer({"bootstrap.servers": node.bootstrap, "group.id": "group", "log_level": 0})
    try:
        client.commit(offsets=[Place("clicks", 0, offset)], asynchronous=False)
    finally:
        client.close()


def test_a_late_answer_is_not_taken_for_the_committed_offset_of_now(
    kafka_node: Callable[..., LocalKafka],
) -> None:
    """Nobody waits for it any more: in the meantime, another worker may have committed."""
    node = kafka_node()
    create_topic(AdminClient({"bootstrap.servers": node.bootstrap, "log_level": 0}), "clicks", 1, {})
    commit(node, 3)
    at = TopicPartition("clicks", 0)
    with closing(KafkaConnection(node.bootstrap).reader("law", group="group")) as reader:
        assert reader.committed(at) == 3
        node.suspend()
        with pytest.raises(NotStable):
            reader.committed(at, timeout_ms=300)
        node.resume()
        commit(node, 7)

        assert reader.committed(at) == 7
