"""The parts of the demo that need a broker: on the one that it brings, and on a real Kafka."""

from __future__ import annotations

import time

import pytest
from kafka import KafkaConsumer
from kafka.admin import KafkaAdminClient

from deploy.demo import broker as brokers
from deploy.demo.broker import Broker
from deploy.demo.data import Click
from deploy.demo.life import Life
from deploy.demo.replay import AnswerReader, ClickSender
from deploy.demo.scoreboard import Answer
from deploy.demo.stage import PARTITIONS, Stage
from tests.builders import ITEMS, successor_release_parts
from tests.waiting import eventually
from worker.kafka import history
from worker.kafka.connection import KafkaConnection
from worker.topics import releases

BEGIN_MS = 880_000_000_000
"""A moment of 1997, when the clicks of the demo begin."""

HISTORY = [
    Click(f"user-{number % 9}", ITEMS[number % len(ITEMS)], BEGIN_MS + 1_000 * number) for number in range(90)
]
OLD_MS = 3_600_000


@pytest.fixture(params=[pytest.param(name, marks=pytest.mark.broker) for name in ("embedded", "kafka")])
def broker(request: pytest.FixtureRequest) -> Broker:
    """Either broker."""
    found = request.getfixturevalue(request.param)
    return found if isinstance(found, Broker) else brokers.existing(found)


def test_history_is_applied_silently_and_live_clicks_are_answered(life: Life, broker: Broker) -> None:
    """By a real worker, under the release published; a restarted one goes on where it stopped."""
    answers: list[Answer] = []
    with Stage(life, broker) as stage, ClickSender(stage.client_settings, stage.clicks) as sender:
        _publish(stage)
        _record(sender)
        worker = stage.start_worker()
        life.wait_for(lambda: stage.applied() >= len(HISTORY), seconds=30, what="applying")
        with AnswerReader(stage.reader_settings, stage.recommendations) as reader:
            reader.start(range(PARTITIONS), answers.append)
            _click_and_wait(life, sender, answers, Click("user-0", ITEMS[4], BEGIN_MS + 100_000))
            life.retire(worker)
            life.wait_for(lambda: worker.exit_code is not None, seconds=15, what="the stop of the worker")
            stage.start_worker()
            _click_and_wait(life, sender, answers, Click("user-1", ITEMS[7], BEGIN_MS + 100_000))

    assert [(one.user_id, one.item_id, one.items[0], one.release) for one in answers] == [
        ("user-0", ITEMS[4], ITEMS[5], 1),
        ("user-1", ITEMS[7], ITEMS[8], 1),
    ]


def test_the_trainer_sees_all_of_the_history(life: Life, broker: Broker) -> None:
    """Up to the very last click, although Tansu takes the begin of a batch for a partition's end."""
    with Stage(life, broker) as stage, ClickSender(stage.client_settings, stage.clicks) as sender:
        _record(sender)
        connection = KafkaConnection(broker.bootstrap)
        read = [record for records in history.read(connection, topic=stage.clicks) for record in records]

    assert len(read) == len(HISTORY)


def test_nothing_is_left_on_a_kafka_that_goes_on(life: Life, kafka: str) -> None:
    """No topic and no group of the demo's."""
    with Stage(life, brokers.existing(kafka)) as stage:
        assert stage.clicks in _topics(kafka)
        stage.start_worker()
        _publish(stage)
        life.wait_for(stage.is_ready, seconds=30, what="the start of the worker")

    eventually(lambda: not any(topic.startswith(stage.name) for topic in _topics(kafka)))
    admin = KafkaAdminClient(bootstrap_servers=kafka)
    try:
        assert stage.name not in str(admin.list_groups())
    finally:
        admin.close()


def test_an_embedded_broker_hears_none_of_the_callers_settings(
    life: Life, embedded: Broker, kafka: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """How to log in at another Kafka is of no use there; of theirs nothing else is heard."""
    monkeypatch.setenv("NEXTCLICK_KAFKA_SASL_USERNAME", "me")
    monkeypatch.setenv("NEXTCLICK_TOPICS_CLICKS", "orders")

    assert "NEXTCLICK_KAFKA_SASL_USERNAME" not in Stage(life, embedded).environment

    theirs = Stage(life, brokers.existing(kafka)).environment

    assert theirs["NEXTCLICK_KAFKA_SASL_USERNAME"] == "me"
    assert theirs["NEXTCLICK_TOPICS_CLICKS"] != "orders"


def _publish(stage: Stage) -> None:
    manifest, blob = successor_release_parts(ITEMS)
    releases.publish(KafkaConnection(stage.broker.bootstrap), stage.releases, manifest, blob)


def _record(sender: ClickSender) -> None:
    then = round(time.time() * 1000) - OLD_MS
    for click in HISTORY:
        sender.send(click, then)
        sender.flush()


def _click_and_wait(life: Life, sender: ClickSender, answers: list[Answer], click: Click) -> None:
    before = len(answers)
    sender.send(click)
    life.wait_for(lambda: len(answers) > before, seconds=30, what="an answer")


def _topics(kafka: str) -> set[str]:
    consumer = KafkaConsumer(bootstrap_servers=kafka)
    try:
        return set(consumer.topics())
    finally:
        consumer.close()
