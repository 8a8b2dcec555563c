"""A real worker process between real topics: clicks in, recommendations out, by a foreign client."""

from __future__ import annotations

from tests.broker.client import Record
from tests.broker.conftest import WorkerFactory
from tests.broker.deployment import Deployment
from tests.builders import ITEMS
from tests.waiting import eventually


def test_a_worker_from_its_start_to_its_stop(deployment: Deployment, worker: WorkerFactory) -> None:
    """It waits for a release, answers, keeps bad records aside, and ends with 0 and nothing left to commit.

    The answer can be read uncommitted before it is committed. A record that is too large to be written again
    keeps its begin, its size and its hash in a dead letter that Kafka takes.
    """
    process = worker(deployment.settings(commit_interval=5), ready=False)
    eventually(lambda: "no release" in process.http("/readyz")[1], what="the reason")

    assert process.http("/livez")[0] == 200
    assert "nextclick-trainer publish" in process.http("/readyz")[1]

    release = deployment.publish_successor()
    process.wait_until_ready()
    value = b'{"user_id": "ada", "item_id": "item-3", "timestamp": 1700000000000}'
    large = b"{" + b"x" * 950_000
    (click,) = deployment.send([Record(value, partition=2)])
    deployment.send([Record(large, partition=0)])
    (early,) = deployment.answers(isolation="read_uncommitted", at_least=1)
    process.terminate()

    assert process.wait(10) == 0

    (answer,) = deployment.answers()
    (letter,) = deployment.letters()

    assert early == answer
    assert (answer.key, answer.partition) == (b"ada", 2)
    assert answer.header("id") == deployment.click_id(click)
    assert answer.json["items"][0] == "item-4"
    assert len(answer.json["items"]) == len(answer.json["scores"]) == len(ITEMS) - 1
    assert (answer.json["release"], answer.json["reason"]) == (release, "model")
    assert letter.value is not None
    assert large.startswith(letter.value)
    assert (letter.header("nextclick.reason"), letter.header("nextclick.size")) == ("too_large", "950001")
