"""A worker on a real Kafka says what is wrong with its topics and its name, and shows no lag that is none."""

from __future__ import annotations

import re
from contextlib import closing
from typing import Final

import pytest
from confluent_kafka import TopicPartition as Place
from confluent_kafka.admin import AdminClient

from tests.broker.client import Record
from tests.broker.conftest import CommandRunner, WorkerFactory
from tests.broker.deployment import HURRIED, Deployment
from tests.broker.process import WorkerProcess
from tests.waiting import eventually
from worker.kafka.connection import KafkaConnection

SECONDS: Final = 15
"""The time within which a topic that is gone must be named."""

NONE_BEHIND: Final = dict.fromkeys("0123", 0.0)


def delete(deployment: Deployment, topic: str) -> None:
    """Delete a topic, and wait until it is gone."""
    admin = AdminClient({"bootstrap.servers": deployment.bootstrap, "log_level": 0})
    for done in admin.delete_topics([topic]).values():
        done.result()
    with closing(KafkaConnection(deployment.bootstrap).admin()) as ours:
        eventually(lambda: not ours.describe([topic])[topic].partitions, what="the deletion")


def lags(process: WorkerProcess) -> dict[str, float]:
    """The lag of each partition for which the worker shows one."""
    found = re.findall(
        r'^nextclick_lag_records\{partition="(\d+)"\} (\S+)$', process.http("/metrics")[1], re.MULTILINE
    )
    return {partition: float(value) for partition, value in found}


@pytest.mark.parametrize("name", ["recommendations", "dead_letters", "quality", "releases", "state"])
def test_a_topic_that_is_gone_is_named_and_waited_for(
    deployment: Deployment, worker: WorkerFactory, command: CommandRunner, name: str
) -> None:
    """Within seconds; after `topics` the worker goes on by itself, and no lag was shown.

    Where a flush was on its way to the state topic when that went, its partitions need a reset instead.
    """
    deployment.publish_successor()
    settings = deployment.settings(kafka=HURRIED, state={"flush_interval": 1_000 if name == "state" else 2})
    process = worker(settings)
    sent = deployment.send_clicks(200)
    deployment.answers(at_least=200)
    eventually(lambda: lags(process) == NONE_BEHIND, what="the lag")
    topic = getattr(deployment, name)
    delete(deployment, topic)
    sent += deployment.send_clicks(20, first=200)

    def named() -> bool:
        status, text = process.http("/readyz")
        return status == 503 and f"topic {topic} does not exist. Run `nextclick-worker topics`" in text

    eventually(named, SECONDS, what="the topic to be named")
    assert all(lag <= 20 for lag in lags(process).values())
    code, text = command(settings, "topics")
    assert code == 0, text
    process.wait_until_ready()
    if name == "recommendations":
        # The former answers are gone with their topic.
        assert len(deployment.answers(at_least=20)) == 20
    else:
        deployment.assert_answered_once(sent)
    eventually(lambda: lags(process) == NONE_BEHIND, what="the lag")


def test_clicks_that_are_created_again_are_for_a_person_to_decide(
    deployment: Deployment, worker: WorkerFactory, command: CommandRunner
) -> None:
    """The running worker ends and names the command; after it all new clicks are answered."""
    deployment.publish_successor()
    settings = deployment.settings(kafka=HURRIED, state={"flush_interval": 1})
    process = worker(settings)
    deployment.send_clicks(20)
    deployment.answers(at_least=20)
    eventually(
        lambda: "nextclick_unsaved_users 0.0" in process.http("/metrics")[1], what="the states to be saved"
    )
    delete(deployment, deployment.clicks)
    command(settings, "topics", "--create-clicks", "--partitions", "4")

    assert process.wait(60) == 2
    assert f"topic {deployment.clicks} was deleted and created again" in process.log
    assert "`nextclick-worker reset --at saved` to keep the states" in process.log

    new = deployment.send_clicks(60)
    code, text = command(settings, "reset", "--at", "saved", "--yes")
    assert code == 0, text
    worker(settings)
    answers = deployment.answers(at_least=80)
    assert {one.header("id") for one in answers} >= {deployment.click_id(one) for one in new}
    known = eventually(lambda: command(settings, "user", "user-3")[1], what="the user")
    assert "user-3" in known


def test_a_restart_shows_no_lag_that_is_none(deployment: Deployment, worker: WorkerFactory) -> None:
    """Not the end of the partition while it is recovered; nor records that were deleted."""
    deployment.publish_successor()
    settings = deployment.settings(kafka=HURRIED)
    process = worker(settings)
    deployment.send_clicks(500)
    deployment.answers(at_least=500)
    process.terminate()
    assert process.wait() == 0
    restarted = worker(settings, ready=False)
    seen: list[dict[str, float]] = []

    def shown() -> bool:
        seen.append(lags(restarted))
        return len(seen[-1]) == 4

    eventually(shown, 60, what="the lag")
    assert [one for one in seen if any(one.values())] == []


def test_deleted_records_are_no_lag(deployment: Deployment, worker: WorkerFactory) -> None:
    """Those that nobody answered before they were deleted are counted elsewhere."""
    deployment.publish_successor()
    settings = deployment.settings(kafka=HURRIED)
    process = worker(settings)
    deployment.send_clicks(20)
    deployment.answers(at_least=20)
    process.terminate()
    assert process.wait() == 0
    deployment.send_clicks(500, first=20)
    admin = AdminClient({"bootstrap.servers": deployment.bootstrap, "log_level": 0})
    for done in admin.delete_records([Place(deployment.clicks, at, 100) for at in range(4)]).values():
        done.result()
    restarted = worker(settings)
    deployment.answers(at_least=20 + 520 - 400)
    eventually(lambda: lags(restarted) == NONE_BEHIND, what="the lag")


def test_a_newcomer_with_a_name_that_is_taken_stops_with_one_message(
    deployment: Deployment, worker: WorkerFactory
) -> None:
    """The client says nothing, and the worker that lives does not notice."""
    deployment.publish_successor()
    settings = deployment.settings(kafka=HURRIED)
    first = worker(settings)
    newcomer = worker(settings, ready=False)
    code = newcomer.wait(60)
    sent = deployment.send_clicks(50)
    deployment.assert_answered_once(sent)

    lines = newcomer.log.splitlines()
    assert code == 2
    assert lines[-1].startswith(f"nextclick-worker: another worker runs as {deployment.group}/a at ")
    assert lines[-1].endswith(
        "so this worker did not start; give each worker of a group a different worker_id"
    )
    assert [line for line in lines if "kafka" in line.lower() or "Traceback" in line] == []
    assert len(lines) <= 4, newcomer.log
    assert first.metric("nextclick_checkpoints_total", outcome="failed") == 0


def test_trouble_with_records_is_said(deployment: Deployment, worker: WorkerFactory) -> None:
    """In the log and by /readyz?verbose, while all else looks well."""
    deployment.publish_successor()
    process = worker(deployment.settings(kafka=HURRIED, recommend={"publish_max_age": 60}))
    old = [Record(b'{"user_id": "a", "item_id": "item-1"}', partition=0, timestamp_ms=1_700_000_000_000)] * 30
    deployment.send(old)
    text = eventually(lambda: _verbose(process), SECONDS, what="the notice")

    assert text.startswith("ready")
    assert "are older than recommend.publish_max_age (60 s; the newest is " in text
    assert "no record is answered" in process.log


def _verbose(process: WorkerProcess) -> str:
    text = process.http("/readyz?verbose")[1]
    return text if "none of the last" in text else ""
