"""`nextclick-trainer watch` on a real Kafka: processes that decide, are killed, and watch a real worker."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path

import orjson
import pytest

from deploy.kafka.ports import free_port
from tests.broker.client import Client, Record
from tests.broker.conftest import WorkerFactory
from tests.broker.deployment import Deployment
from tests.broker.process import WorkerProcess
from tests.builders import ITEMS, successor_release_parts
from tests.trainer.simulated import tally
from tests.waiting import eventually
from worker.kafka.connection import KafkaConnection
from worker.topics.quality import Report
from worker.topics.releases import CANDIDATE, CHAMPION, ReleaseReader, publish

Watchers = Callable[..., WorkerProcess]


@pytest.fixture
def watchers(tmp_path: Path) -> Iterator[Watchers]:
    """Starts `nextclick-trainer watch` on a deployment; none outlives its test."""
    started: list[WorkerProcess] = []

    def start(deployment: Deployment, *arguments: str) -> WorkerProcess:
        port = free_port()
        process = WorkerProcess(
            [*words(deployment), "--set", "watch.every=100ms", "--metrics-port", str(port), *arguments],
            log_path=tmp_path / f"watch-{len(started)}.log",
            http_port=port,
            module="trainer",
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.end()
        print(f"--- log of watch {process.pid}, exit code {process.exit_code}\n{process.log}")


def words(deployment: Deployment) -> list[str]:
    """Return the command line that watches a deployment."""
    where = ["--kafka", deployment.bootstrap, "--releases-topic", deployment.releases]
    return ["watch", *where, "--set", f"topics.quality={deployment.quality}", "--min-clicks", "500"]


def published(deployment: Deployment, pointer: str = CANDIDATE) -> None:
    """Publish one release more."""
    connection = KafkaConnection(deployment.bootstrap)
    publish(connection, deployment.releases, *successor_release_parts(), pointer=pointer)


def reported(deployment: Deployment, client: Client, *, candidate: int, hits: int) -> None:
    """Write a report: of ten clicks that each bucket has of a candidate, so many are hits; 4 in 10 else."""
    tallies = {1: tally(100, 40), candidate: tally(10, hits)}
    report = Report(deployment.group, "a", at_ms=0, champion=1, candidate=candidate, tallies=tallies)
    client.send(deployment.quality, [Record(report.value(), partition=0)])


def named(deployment: Deployment) -> tuple[int | None, int | None]:
    """Return the releases that are champion and candidate."""
    with ReleaseReader(KafkaConnection(deployment.bootstrap), topic=deployment.releases).opened() as reader:
        reader.read()
        champion, candidate = reader.pointer(CHAMPION), reader.pointer(CANDIDATE)
    return champion and champion.release, candidate and candidate.release


def test_two_that_watch_decide_once(deployment: Deployment, client: Client, watchers: Watchers) -> None:
    """A whole life: both see a decision that one made, one is killed, and the other goes on."""
    published(deployment, CHAMPION)
    published(deployment)
    both = [watchers(deployment) for _ in range(2)]
    eventually(lambda: all("undecided" in one.log for one in both), what="a look")
    reported(deployment, client, candidate=2, hits=1)
    eventually(lambda: all("has no @candidate" in one.log for one in both), what="the end of the experiment")
    assert sum("release 2 is dropped: it is worse than release 1" in one.log for one in both) == 1
    assert sum(one.metric("nextclick_trainer_decisions_total") for one in both) == 1

    killed, other = both
    killed.kill9()
    published(deployment)
    reported(deployment, client, candidate=3, hits=6)
    eventually(lambda: named(deployment) == (3, None), what="the promotion")
    other.terminate()

    assert other.wait() == 0
    assert "release 3 is @champion: it is better than release 1" in other.log


def test_a_shuffled_candidate_is_dropped_while_a_worker_serves(
    deployment: Deployment, worker: WorkerFactory, watchers: Watchers
) -> None:
    """From the clicks of users to the decision: half of them get its lists, which are all wrong."""
    shuffled = random.Random(2).sample(ITEMS, len(ITEMS))
    connection, topic = KafkaConnection(deployment.bootstrap), deployment.releases
    publish(connection, topic, *successor_release_parts(ITEMS))
    publish(connection, topic, *successor_release_parts(shuffled), pointer=CANDIDATE, share=0.5)
    process = worker(deployment.settings(recommend={"publish": "every", "publish_max_age": 0, "top": 1}))
    eventually(lambda: process.metric("nextclick_candidate") == 2, what="the candidate to serve")
    follower = watchers(deployment)
    users = [f"user-{number}" for number in range(500)]
    for turn in range(30):
        item = ITEMS[turn % len(ITEMS)]
        deployment.send(
            Record(orjson.dumps({"user_id": user, "item_id": item}), partition=number % 4)
            for number, user in enumerate(users)
        )
        deployment.answers(at_least=len(users) * (turn + 1))
        if named(deployment)[1] is None:
            break

    eventually(lambda: process.metric("nextclick_candidate") == 0, what="the end of its experiment")
    assert "release 2 is dropped: it is worse than release 1, hit rate" in follower.log
    assert process.http("/readyz") == (200, "ready\n")
    assert process.metric("nextclick_release") == 1
