"""Crashes as an input. After each a committed reader sees every click answered exactly once, in order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest
from confluent_kafka.admin import AdminClient

from deploy.kafka.local import LocalKafka
from tests.broker.client import Record
from tests.broker.conftest import WorkerFactory
from tests.broker.deployment import HURRIED, SLOW_COMMIT, Deployment
from tests.broker.outage import READY_SECONDS
from tests.broker.process import WorkerProcess
from tests.conftest import create_topic
from tests.waiting import eventually


def sent_and_not_committed(
    deployment: Deployment, process: WorkerProcess, count: int, *, first: int = 0
) -> list[Record]:
    """Clicks whose answers are sent, in a transaction that is still open."""
    clicks = deployment.send_clicks(count, first=first)
    committed = len(deployment.answers())
    deployment.answers(isolation="read_uncommitted", at_least=committed + count)
    return clicks


def test_a_zombie_that_wakes_changes_nothing(deployment: Deployment, worker: WorkerFactory) -> None:
    """Rules a, c and e: frozen past its session timeout with a transaction open, replaced, woken.

    Its commit is refused, it drops what it did, joins again and serves its share.
    """
    deployment.publish_successor()
    zombie = worker(deployment.settings("a", kafka=HURRIED, commit_interval=SLOW_COMMIT))
    clicks = sent_and_not_committed(deployment, zombie, 50)
    zombie.sigstop()
    successor = worker(deployment.settings("b", kafka=HURRIED))
    clicks += deployment.send_clicks(50, first=50)
    deployment.answers(at_least=100)

    zombie.sigcont()
    eventually(lambda: zombie.metric("nextclick_checkpoints_total", outcome="failed"), what="the refusal")
    # Of both: a zombie may for a moment recover what it no longer owns, one partition after the other.
    eventually(
        lambda: [one.metric("nextclick_assigned_partitions") for one in (zombie, successor)] == [2, 2],
        what="its share of the partitions",
    )
    clicks += deployment.send_clicks(100, first=100)

    deployment.assert_answered_once(clicks)
    assert zombie.metric("nextclick_clicks_total") > 50
    assert successor.metric("nextclick_checkpoints_total", outcome="failed") == 0


def test_two_workers_with_one_identity(deployment: Deployment, worker: WorkerFactory) -> None:
    """The newcomer stops and says why; the one that serves is not fenced, and nothing is lost."""
    deployment.publish_successor()
    settings = deployment.settings("same", kafka=HURRIED)
    serving = worker(settings)
    clicks = deployment.send_clicks(20)
    newcomer = worker(settings, ready=False)

    assert newcomer.wait(40) == 2
    clicks += deployment.send_clicks(20, first=20)

    deployment.assert_answered_once(clicks)
    assert "another worker runs as" in newcomer.log.splitlines()[-1]
    assert "kafka." not in newcomer.log
    assert serving.metric("nextclick_checkpoints_total", outcome="failed") == 0


@pytest.fixture
def own(kafka_node: Callable[..., LocalKafka], unique: str) -> tuple[LocalKafka, Deployment]:
    """A Kafka of the test's own, to be stopped and killed, and a deployment on it."""
    node = kafka_node()
    admin = AdminClient({"bootstrap.servers": node.bootstrap})

    def create(name: str, partitions: int) -> str:
        create_topic(admin, f"{name}-{unique}", partitions, {})
        return f"{name}-{unique}"

    return node, Deployment(node.bootstrap, f"group-{unique}", create, partitions=4)


def test_the_broker_goes_away_and_comes_back(
    own: tuple[LocalKafka, Deployment], worker: WorkerFactory
) -> None:
    """While no broker answers the worker lives, is not ready and says why; then it goes on, nothing lost."""
    node, deployment = own
    deployment.publish_successor()
    process = worker(deployment.settings(kafka=HURRIED))
    clicks = deployment.send_clicks(50)
    deployment.answers(at_least=50)

    node.kill()
    eventually(lambda: process.http("/readyz")[0] == 503, what="the worker to notice")
    reason = process.http("/readyz")[1]
    node.start()
    process.wait_until_ready(READY_SECONDS)
    clicks += deployment.send_clicks(50, first=50)

    assert deployment.bootstrap in reason
    assert process.http("/livez")[0] == 200
    deployment.assert_answered_once(clicks)


def test_a_stop_does_not_wait_for_a_broker_that_is_away(
    own: tuple[LocalKafka, Deployment], worker: WorkerFactory
) -> None:
    """SIGTERM while a commit waits for a dead broker: the process ends within 10 s, and nothing is lost."""
    node, deployment = own
    deployment.publish_successor()
    settings = deployment.settings(kafka=HURRIED, commit_interval=SLOW_COMMIT)
    process = worker(settings)
    clicks = sent_and_not_committed(deployment, process, 50)
    node.kill()

    process.terminate()

    assert process.wait(10) in {0, 1}
    assert "Traceback" not in process.log

    node.start()
    worker(settings)
    deployment.assert_answered_once(clicks)


@pytest.mark.timeout(240)
def test_a_broker_that_lost_its_last_records(
    own: tuple[LocalKafka, Deployment], worker: WorkerFactory
) -> None:
    """As after a power cut, where a single broker had confirmed what was not on its disk yet.

    The worker answers nothing twice. It stops, and names the command that lets a person decide.
    """
    node, deployment = own
    deployment.publish_successor()
    process = worker(deployment.settings(kafka=HURRIED))
    clicks = deployment.send_clicks(100)
    deployment.assert_answered_once(clicks)
    node.kill()
    (log,) = (node.folder / "data" / f"{deployment.clicks}-3").glob("*.log")
    log.write_bytes(b"")
    for kept in ("recovery-point-offset-checkpoint", "replication-offset-checkpoint"):
        (node.folder / "data" / kept).unlink()
    node.start()
    deployment.send_clicks(20, first=100)

    assert process.wait(60) == 2
    assert "reset --partition 3 --at earliest" in process.log
    answers = Counter(answer.header("id") for answer in deployment.answers())
    assert set(answers.values()) == {1}
