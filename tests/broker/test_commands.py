"""What a new user meets on a real Kafka: missing topics, no broker. Each message says what to do."""

from __future__ import annotations

from deploy.kafka.ports import free_port
from tests.broker.conftest import WorkerFactory
from tests.broker.deployment import Deployment
from tests.waiting import eventually

SLOW = 40.0


def test_topics_makes_what_check_misses(deployment: Deployment, worker: WorkerFactory, unique: str) -> None:
    """`check` fails and says so, `topics` mends it, `check` agrees."""
    names = ["clicks", "recommendations", "dead_letters", "releases", "state", "quality"]
    settings = deployment.settings(topics={name: f"{name}-new-{unique}" for name in names})

    before = worker(settings, command="check", ready=False)
    assert before.wait(SLOW) == 1
    assert before.log.count("FAIL") == 1
    assert all(f"{name}-new-{unique}" in before.log for name in names)

    assert worker(settings, command="topics", arguments=["--create-clicks"], ready=False).wait(SLOW) == 0
    after = worker(settings, command="check", ready=False)
    assert after.wait(SLOW) == 0
    assert "cleanup.policy is compact" in after.log
    assert f"--group {deployment.group} --operation Read" in after.log
    assert f"--transactional-id {deployment.group}/ --resource-pattern-type prefixed" in after.log


def test_no_broker_is_said_and_waited_for(deployment: Deployment, worker: WorkerFactory) -> None:
    """`check` fails with the address; the worker lives, is not ready and names it, and stops when told."""
    nowhere = {"bootstrap_servers": f"127.0.0.1:{free_port()}"}
    settings = deployment.settings(kafka=nowhere)

    check = worker(settings, command="check", ready=False)
    assert check.wait(SLOW) == 2
    assert nowhere["bootstrap_servers"] in check.log
    assert "no program listens at" in check.log

    process = worker(settings, ready=False)
    eventually(lambda: nowhere["bootstrap_servers"] in process.http("/readyz")[1], what="the reason")
    assert process.http("/livez")[0] == 200
    process.terminate()
    assert process.wait(10) == 0
