"""The trial of a candidate decided by `nextclick-trainer watch`, on a real Kafka and without a person."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import orjson
import pytest
from click.testing import CliRunner
from confluent_kafka.admin import AdminClient

from deploy.kafka.local import LocalKafka
from deploy.kafka.ports import free_port
from tests.broker.client import Client, Record
from tests.broker.conftest import WorkerFactory
from tests.broker.deployment import Deployment
from tests.broker.process import WorkerProcess
from tests.broker.test_pointers import named
from tests.builders import ITEMS, successor_release_parts
from tests.conftest import create_topic
from tests.trainer.simulated import tally
from tests.waiting import eventually
from trainer.commands.cli import cli
from trainer.experiment.sequential import Rules, Trial, Verdict
from worker.kafka.connection import KafkaConnection
from worker.topics.quality import QualityWriter
from worker.topics.releases import CANDIDATE, publish

RULES: Final = Rules(min_clicks=500)

GOOD, BAD, ALIKE = 6, 1, 4
"""Hits in the ten clicks that each bucket has of a candidate per report; the champion has 40 in 100."""

Watchers = Callable[..., WorkerProcess]


@pytest.fixture
def watchers(tmp_path: Path) -> Iterator[Watchers]:
    """Starts `nextclick-trainer watch` on a deployment; none outlives its test."""
    started: list[WorkerProcess] = []

    def start(deployment: Deployment, *arguments: str) -> WorkerProcess:
        port = free_port()
        process = WorkerProcess(
            [*words(deployment), "--every-seconds", "0.1", "--metrics-port", str(port), *arguments],
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
    """The command line that watches a deployment."""
    where = ["--kafka", deployment.bootstrap, "--topic", deployment.releases]
    return ["watch", *where, "--quality", deployment.quality, "--min-clicks", str(RULES.min_clicks)]


def once(deployment: Deployment, *arguments: str) -> str:
    """What `watch --once` says; it ends with 0."""
    done = CliRunner().invoke(cli, [*words(deployment), "--once", *arguments], catch_exceptions=False)
    assert done.exit_code == 0
    return done.stdout


def begin(deployment: Deployment) -> None:
    """Release 1 is champion, release 2 the candidate."""
    for pointer in ("@champion", CANDIDATE):
        again(deployment, pointer)


def again(deployment: Deployment, pointer: str = CANDIDATE) -> None:
    """One release more."""
    publish(
        KafkaConnection(deployment.bootstrap),
        deployment.releases,
        *successor_release_parts(),
        pointer=pointer,
    )


@contextmanager
def writing(deployment: Deployment) -> Iterator[Callable[[Sequence[int], int], None]]:
    """Writes a report for each number of hits in ten clicks that every bucket has of a candidate."""
    transactions = KafkaConnection(deployment.bootstrap).transactions(
        f"{deployment.quality}.test", timeout_ms=10_000
    )
    writer = QualityWriter(transactions, topic=deployment.quality, group=deployment.group, worker_id="a")

    def write(hits: Sequence[int], candidate: int = 2) -> None:
        transactions.renew()
        for one in hits:
            tallies = {1: tally(100, 40), candidate: tally(10, one)}
            writer.publish(tallies, champion=1, candidate=candidate, now_ms=0)
            # What others count while this candidate is not served beside this champion is another trial.
            writer.publish({1: tally(100, 90)}, champion=1, candidate=None, now_ms=0)
            writer.publish(
                {9: tally(100, 90), candidate: tally(10, 9)}, champion=9, candidate=candidate, now_ms=0
            )
            transactions.commit(deployment.clicks, {}, None, seconds=10)

    yield write
    transactions.drop()


def report(deployment: Deployment, hits: Sequence[int], candidate: int = 2) -> None:
    """Write such reports."""
    with writing(deployment) as write:
        write(hits, candidate)


def expected(hits: Sequence[int]) -> Trial:
    """The trial that these reports make."""
    trial = Trial(RULES)
    for one in hits:
        trial.add(tally(100, 40), tally(10, one))
    return trial


def test_a_bad_candidate_is_dropped(deployment: Deployment) -> None:
    """And the sentence has the figures; there is nothing to decide then."""
    begin(deployment)
    report(deployment, [BAD])

    said = once(deployment)

    assert said == f"release 2 is dropped: it is worse than release 1, {expected([BAD]).sentence()}\n"
    assert "hit rate 10.00% against 40.00%, -30.00 points" in said
    assert named(deployment) == (1, None)
    assert "has no @candidate: nothing to decide" in once(deployment)


def test_a_better_candidate_is_promoted(deployment: Deployment) -> None:
    """It is champion then, and a rollback leads back."""
    begin(deployment)
    report(deployment, [GOOD])

    assert once(deployment).startswith("release 2 is @champion: it is better than release 1, hit rate 60.00%")
    assert named(deployment) == (2, None)


def test_what_is_not_shown_is_not_decided(deployment: Deployment) -> None:
    """Without reports, with too few clicks, without a difference, and of other groups: all stays as it is."""
    begin(deployment)
    assert "release 2 against release 1: undecided, 0 judged clicks against 0" in once(deployment)
    report(deployment, [ALIKE])
    assert "0 judged clicks" in once(deployment, "--group", "another")
    assert "too few" in once(deployment, "--min-clicks", "700")
    assert "undecided, hit rate 40.00% against 40.00%, +0.00 points" in once(deployment)

    assert named(deployment) == (1, 2)


def test_an_undecided_candidate_is_given_up_in_the_end(deployment: Deployment) -> None:
    """After so many hours as a candidate, whoever watched meanwhile."""
    begin(deployment)
    report(deployment, [ALIKE])

    assert "undecided" in once(deployment, "--give-up-hours", "0")
    assert "undecided" in once(deployment, "--give-up-hours", "1")
    said = once(deployment, "--give-up-hours", "1e-6")

    assert said.startswith(
        "release 2 is dropped: no difference from release 1 was shown in 1e-06 hours, hit rate"
    )
    assert named(deployment) == (1, None)


def test_killed_and_started_again_it_decides_the_same(deployment: Deployment, watchers: Watchers) -> None:
    """At the same report as one that looked all the time: another start is another look, no more."""
    begin(deployment)
    rng = random.Random(5)
    hits = [rng.choice([3, 4, 4]) for _ in range(40)]
    decided = next(end for end in range(40) if expected(hits[:end]).verdict)
    killed = watchers(deployment)
    report(deployment, hits[: decided // 2])
    eventually(lambda: killed.metric("nextclick_trainer_judged_clicks", role="candidate") > 0, what="a look")
    killed.kill9()
    report(deployment, hits[decided // 2 :])

    follower = watchers(deployment)
    eventually(lambda: "is dropped" in follower.log, what="the decision")

    assert expected(hits).verdict is Verdict.WORSE
    assert f"worse than release 1, {expected(hits[:decided]).sentence()}" in follower.log
    assert "is dropped" not in killed.log
    assert named(deployment) == (1, None)


def test_a_better_candidate_that_is_gone_is_not_promoted(deployment: Deployment, client: Client) -> None:
    """It says what to do, and leaves the transactional id to whoever publishes."""
    begin(deployment)
    report(deployment, [GOOD])
    client.send(deployment.releases, [Record(None, key=b"release/0002", partition=0)])

    said = once(deployment)

    assert f"release 2 is better than release 1, but not in topic {deployment.releases} any more" in said
    assert named(deployment) == (1, 2)


def test_two_that_watch_decide_once(deployment: Deployment, watchers: Watchers) -> None:
    """The second finds it done, and both go on with the next candidate."""
    begin(deployment)
    both = [watchers(deployment) for _ in range(2)]
    eventually(lambda: all("undecided" in one.log for one in both), what="a look")
    report(deployment, [BAD])
    eventually(lambda: all("has no @candidate" in one.log for one in both), what="the end of the trial")
    assert sum("release 2 is dropped" in one.log for one in both) == 1
    again(deployment)
    report(deployment, [GOOD], candidate=3)
    eventually(lambda: named(deployment) == (3, None), what="the promotion")

    counted = [one.metric("nextclick_trainer_decisions_total") for one in both]
    assert sum(counted) == 2
    assert all(one.exit_code is None for one in both)


def test_a_person_may_decide_meanwhile(deployment: Deployment, watchers: Watchers) -> None:
    """The watch says so and goes on with the next candidate, against the champion of then."""
    begin(deployment)
    follower = watchers(deployment)
    eventually(lambda: "release 2 against release 1" in follower.log, what="a look")
    where = ["--kafka", deployment.bootstrap, "--topic", deployment.releases]
    CliRunner().invoke(cli, ["promote", *where], catch_exceptions=False)
    eventually(lambda: "has no @candidate" in follower.log, what="the news")
    again(deployment)

    eventually(lambda: "release 3 against release 2: undecided" in follower.log, what="the next candidate")
    assert "release 2 was made @champion meanwhile, not by this watch" in follower.log
    assert follower.metric("nextclick_trainer_candidate") == 3
    assert follower.metric("nextclick_trainer_decisions_total") == 0


def test_an_outage_is_waited_out(
    kafka_node: Callable[..., LocalKafka], watchers: Watchers, unique: str
) -> None:
    """It says that Kafka is away, and decides when it is back."""
    node = kafka_node()
    admin = AdminClient({"bootstrap.servers": node.bootstrap, "log_level": 0})

    def create(name: str, partitions: int) -> str:
        create_topic(admin, f"{name}-{unique}", partitions, {})
        return f"{name}-{unique}"

    deployment = Deployment(node.bootstrap, f"group-{unique}", create, partitions=1)
    begin(deployment)
    follower = watchers(deployment)
    eventually(lambda: "undecided" in follower.log, what="a look")
    node.stop()
    eventually(lambda: "trying again" in follower.log, 60, what="it to notice")
    node.start()
    report(deployment, [BAD])

    eventually(lambda: "release 2 is dropped" in follower.log, 60, what="the decision")
    assert named(deployment) == (1, None)


def test_a_shuffled_candidate_is_dropped_while_a_worker_serves(
    deployment: Deployment, worker: WorkerFactory, watchers: Watchers
) -> None:
    """It serves a tenth of the users; nobody looks, and nobody but them is shown what it recommends."""
    shuffled = random.Random(2).sample(ITEMS, len(ITEMS))
    connection, topic = KafkaConnection(deployment.bootstrap), deployment.releases
    publish(connection, topic, *successor_release_parts(ITEMS))
    publish(connection, topic, *successor_release_parts(shuffled), pointer=CANDIDATE, share=0.1)
    process = worker(
        deployment.settings(recommend={"publish": "every", "publish_max_age_seconds": 0, "top": 1})
    )
    eventually(lambda: process.metric("nextclick_candidate") == 2, what="the candidate to be tried")
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

    eventually(lambda: process.metric("nextclick_candidate") == 0, what="the end of its trial")
    assert "release 2 is dropped: it is worse than release 1, hit rate" in follower.log
    assert process.http("/readyz") == (200, "ready\n")
    assert process.metric("nextclick_release") == 1
