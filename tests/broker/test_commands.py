"""What a new user meets: wrong settings, missing topics, no broker. Each message says what to do."""

from __future__ import annotations

import pytest
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewPartitions

from deploy.kafka.ports import free_port
from tests.broker.conftest import WorkerFactory
from tests.broker.deployment import Deployment
from tests.waiting import eventually

SLOW = 40.0


@pytest.mark.parametrize("command", ["run", "check", "topics"])
def test_a_misspelled_setting_is_an_error(
    deployment: Deployment, worker: WorkerFactory, command: str
) -> None:
    """Nothing starts; the message names the key and the one that was meant."""
    settings = deployment.settings(recommend={"publsh": "every"})
    process = worker(settings, command=command, ready=False)

    assert process.wait() == 2
    assert "recommend.publsh: there is no such setting; did you mean recommend.publish?" in process.log
    assert "Traceback" not in process.log


def test_every_wrong_setting_is_named_at_once(deployment: Deployment, worker: WorkerFactory) -> None:
    """File and environment are checked together, values and their relations, in one message."""
    settings = deployment.settings(recommend={"publish": "sometimes"}, log={"level": "loud"})
    environment = {"NEXTCLICK_COMIT_INTERVAL_SECONDS": "1", "NEXTCLICK_KAFKA_SESSION_TIMEOUT_MS": "2000"}
    process = worker(settings, command="check", environment=environment, ready=False)

    assert process.wait() == 2
    assert "recommend.publish" in process.log
    assert "log.level" in process.log
    assert "did you mean NEXTCLICK_COMMIT_INTERVAL_SECONDS?" in process.log
    assert "heartbeat_interval_ms is 1000, session_timeout_ms 2000" in process.log


def test_a_secret_is_never_shown(deployment: Deployment, worker: WorkerFactory) -> None:
    """Not even in the message about the very section that holds it."""
    kafka = {"sasl_password": "hunter2", "security_protocol": "SASL_SSL"}
    process = worker(deployment.settings(kafka=kafka), command="check", ready=False)

    assert process.wait() == 2
    assert "it needs sasl_mechanism, sasl_username and sasl_password" in process.log
    assert "hunter2" not in process.log


def test_a_missing_topic_stops_the_worker(deployment: Deployment, worker: WorkerFactory, unique: str) -> None:
    """The worker names every topic that is missing and the command that makes it."""
    missing = {"clicks": f"nowhere-{unique}", "recommendations": f"nothing-{unique}"}
    process = worker(deployment.settings(topics=missing), ready=False)

    assert process.wait() == 2
    assert f"topic nowhere-{unique} does not exist" in process.log
    assert f"topic nothing-{unique} does not exist" in process.log
    assert "nextclick-worker topics" in process.log
    assert "Traceback" not in process.log


def test_topics_makes_what_check_misses(
    kafka: str, deployment: Deployment, worker: WorkerFactory, unique: str
) -> None:
    """`check` fails and says so, `topics` mends it, `check` agrees; then again for too few partitions."""
    names = ["clicks", "recommendations", "dead_letters", "releases", "state", "quality"]
    settings = deployment.settings(topics={name: f"{name}-new-{unique}" for name in names})

    before = worker(settings, command="check", ready=False)
    assert before.wait(SLOW) == 1
    assert before.log.count("does not exist") == len(names)

    assert worker(settings, command="topics", ready=False).wait(SLOW) == 0
    after = worker(settings, command="check", ready=False)
    assert after.wait(SLOW) == 0
    assert "cleanup.policy is compact" in after.log
    assert f"--group {deployment.group} --operation Read" in after.log
    assert f"--transactional-id {deployment.group}. --resource-pattern-type prefixed" in after.log

    admin = AdminClient({"bootstrap.servers": kafka})
    admin.create_partitions([NewPartitions(f"clicks-new-{unique}", 6)])[f"clicks-new-{unique}"].result()
    grown = worker(settings, command="check", ready=False)
    assert grown.wait(SLOW) == 1
    assert f"topic recommendations-new-{unique} has 4 partitions, it needs 6" in grown.log

    assert worker(settings, command="topics", ready=False).wait(SLOW) == 0
    assert worker(settings, command="check", ready=False).wait(SLOW) == 0


def test_no_broker_is_said_and_waited_for(deployment: Deployment, worker: WorkerFactory) -> None:
    """`check` fails with the address; the worker lives, is not ready and names it, and stops when told."""
    nowhere = {"bootstrap_servers": f"127.0.0.1:{free_port()}"}
    settings = deployment.settings(kafka=nowhere)

    check = worker(settings, command="check", ready=False)
    assert check.wait(SLOW) == 2
    assert nowhere["bootstrap_servers"] in check.log
    assert "Is a broker running at" in check.log

    process = worker(settings, ready=False)
    eventually(lambda: nowhere["bootstrap_servers"] in process.http("/readyz")[1], what="the reason")
    assert process.http("/livez")[0] == 200
    process.terminate()
    assert process.wait(10) == 0


def test_a_taken_port_is_said(deployment: Deployment, worker: WorkerFactory) -> None:
    """Two workers on one HTTP port: the second says which key to change."""
    deployment.publish_successor()
    port = free_port()
    worker(deployment.settings("a", http={"port": port}))

    second = worker(deployment.settings("b", http={"port": port}), ready=False)

    assert second.wait() == 2
    assert "Set http.port" in second.log
