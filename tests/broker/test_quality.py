"""Live quality, seen from outside: in the metrics and in its topic, through stops and crashes."""

from __future__ import annotations

from typing import Final

import orjson

from tests.broker.client import Record
from tests.broker.conftest import WorkerFactory
from tests.broker.deployment import HURRIED, Deployment
from tests.builders import ITEMS
from tests.waiting import eventually
from worker.core.quality import Tally
from worker.kafka.connection import KafkaConnection
from worker.topics.quality import read_reports

USERS: Final = 40


def turn(deployment: Deployment, number: int) -> None:
    """Every user clicks the item that follows their last one, which is what was recommended first."""
    deployment.send(
        Record(orjson.dumps({"user_id": f"user-{user}", "item_id": ITEMS[number]}), partition=user % 4)
        for user in range(USERS)
    )
    deployment.answers(at_least=USERS * number)


def reported(deployment: Deployment) -> Tally:
    """The sum of all that workers reported of release 1."""
    total = Tally()
    for report in read_reports(KafkaConnection(deployment.bootstrap), deployment.quality):
        assert (report.group, report.champion, report.candidate) == (deployment.group, 1, None)
        total.add(report.tallies[1])
    return total


def test_hits_are_counted_and_reported(deployment: Deployment, worker: WorkerFactory) -> None:
    """Each turn after the first is a hit at rank 1; what a worker counted is in the topic when it ends."""
    deployment.publish_successor()
    process = worker(deployment.settings())
    for number in (1, 2, 3):
        turn(deployment, number)
    eventually(
        lambda: process.metric("nextclick_quality_hits_total", release="1") == 2 * USERS, what="all hits"
    )
    ranks = process.metric("nextclick_quality_reciprocal_ranks_total", release="1")
    process.terminate()
    process.wait(10)

    total = reported(deployment)
    assert (total.lists, total.cold) == (3 * USERS, 0)
    assert (total.clicks, total.hits) == (2 * USERS, 2 * USERS)
    assert total.reciprocal_ranks == ranks == 2 * USERS
    assert total.hits_by_bucket.sum() == 2 * USERS


def test_a_report_may_be_the_first_that_a_partition_hears_of(
    deployment: Deployment, worker: WorkerFactory
) -> None:
    """It brings an offset for a partition without clicks, and so where its replay begins, too."""
    deployment.publish_successor()
    settings = deployment.settings(kafka=HURRIED)
    process = worker(settings)
    clicks = [Record(orjson.dumps({"user_id": "ada", "item_id": item}), partition=3) for item in ITEMS[:2]]
    deployment.send(clicks)
    deployment.answers(at_least=2)
    eventually(lambda: reported(deployment).lists, what="a report while nobody clicks")
    process.kill9()

    worker(settings).wait_until_ready()


def test_no_click_counts_twice(deployment: Deployment, worker: WorkerFactory) -> None:
    """What is replayed after kill -9 is not judged, and neither is the first click after it."""
    deployment.publish_successor()
    settings = deployment.settings(kafka=HURRIED, state={"flush_interval_seconds": 3_600})
    process = worker(settings)
    for number in (1, 2):
        turn(deployment, number)
    process.kill9()

    restarted = worker(settings)
    for number in (3, 4):
        turn(deployment, number)
    restarted.terminate()
    restarted.wait(10)

    assert "replayed=0 " not in restarted.log
    # The worker that was killed had no time to report its own turn.
    total = reported(deployment)
    assert (total.clicks, total.hits) == (USERS, USERS)
