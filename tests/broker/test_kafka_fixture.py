"""The Kafka that the other tests rely on is real: transactions, isolation, data that outlives a restart."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import confluent_kafka
import kafka as kafka_python
import pytest
from confluent_kafka.admin import AdminClient

from deploy.kafka.local import LocalKafka
from tests.broker.client import Client, Record
from tests.conftest import TopicFactory, create_topic

Transaction = Callable[[str, str, str, Iterable[bytes], bool], None]


def kafka_python_transaction(
    bootstrap: str, transactional_id: str, topic: str, values: Iterable[bytes], commit: bool
) -> None:
    """Send values in one transaction of kafka-python, then commit or abort it."""
    producer = kafka_python.KafkaProducer(
        bootstrap_servers=bootstrap, transactional_id=transactional_id, retry_backoff_ms=5
    )
    producer.init_transactions()
    producer.begin_transaction()
    for value in values:
        producer.send(topic, value)
    producer.flush()
    producer.commit_transaction() if commit else producer.abort_transaction()
    producer.close()


def confluent_transaction(
    bootstrap: str, transactional_id: str, topic: str, values: Iterable[bytes], commit: bool
) -> None:
    """Send values in one transaction of confluent-kafka, then commit or abort it."""
    settings = {"bootstrap.servers": bootstrap, "transactional.id": transactional_id}
    producer = confluent_kafka.Producer(settings)
    producer.init_transactions(30)
    producer.begin_transaction()
    for value in values:
        producer.produce(topic, value)
    producer.flush(30)
    producer.commit_transaction(30) if commit else producer.abort_transaction(30)


@pytest.mark.parametrize("transaction", [kafka_python_transaction, confluent_transaction])
def test_a_committed_reader_never_sees_an_aborted_record(
    kafka: str, topics: TopicFactory, client: Client, unique: str, transaction: Transaction
) -> None:
    """Committed readers see committed records only; uncommitted ones see the aborted as well, in order."""
    topic = topics("transactions")
    transaction(kafka, f"tests-{unique}", topic, [b"aborted"], False)
    transaction(kafka, f"tests-{unique}", topic, [b"committed"], True)

    committed = [record.value for record in client.read(topic)]
    uncommitted = [record.value for record in client.read(topic, isolation="read_uncommitted")]

    assert committed == [b"committed"]
    assert uncommitted == [b"aborted", b"committed"]


def test_an_open_transaction_holds_back_committed_readers_only(
    kafka: str, topics: TopicFactory, client: Client, unique: str
) -> None:
    """A record is seen uncommitted as soon as it is sent, committed only once its transaction ends."""
    topic = topics("open")
    settings = {"bootstrap.servers": kafka, "transactional.id": f"tests-{unique}"}
    producer = confluent_kafka.Producer(settings)
    producer.init_transactions(30)
    producer.begin_transaction()
    producer.produce(topic, b"open")
    producer.flush(30)
    before = len(client.read(topic)), len(client.read(topic, isolation="read_uncommitted"))
    producer.commit_transaction(30)

    assert before == (0, 1)
    assert len(client.read(topic, at_least=1)) == 1


def test_records_come_back_as_they_were_sent(topics: TopicFactory, client: Client) -> None:
    """Partition, key, null value, headers and timestamp survive the way through the broker."""
    topic = topics("plain", partitions=3)
    record = Record(None, b"key", partition=2, headers=(("name", b"value"),), timestamp_ms=874_724_710_000)

    sent = client.send(topic, [record])
    read = client.read(topic, at_least=1)

    assert read == sent
    assert (read[0].partition, read[0].offset) == (2, 0)


@pytest.mark.parametrize("end", [LocalKafka.stop, LocalKafka.kill])
def test_a_node_comes_back_on_its_port_with_its_data(
    kafka_node: Callable[..., LocalKafka], end: Callable[[LocalKafka], None]
) -> None:
    """Stopped or killed, a node started again answers where it did, with the acknowledged records."""
    node = kafka_node(broker_session_timeout_ms=4000)
    client = Client(node.bootstrap)
    create_topic(AdminClient({"bootstrap.servers": node.bootstrap, "log_level": 0}), "kept", 1, {})
    client.send("kept", [Record(b"before")])
    address = node.bootstrap

    end(node)
    node.start()
    client.send("kept", [Record(b"after")])

    assert node.bootstrap == address
    assert [record.value for record in client.read("kept")] == [b"before", b"after"]
