"""What the state topic holds can be seen, forgotten and begun anew, with a worker running or without."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote

import orjson
import pytest

from tests.broker.client import Record
from tests.broker.conftest import CommandRunner, WorkerFactory
from tests.broker.deployment import HURRIED, Deployment
from tests.broker.process import WorkerProcess
from tests.conftest import TopicFactory
from tests.waiting import eventually

OFTEN: Final[Mapping[str, Any]] = {"state": {"flush_interval_seconds": 0.4}}
SELDOM: Final[Mapping[str, Any]] = {"state": {"flush_interval_seconds": 3_600}}


IMPATIENT: Final = {
    "cleanup.policy": "compact",
    "min.cleanable.dirty.ratio": "0.01",
    "segment.ms": "500",
    "max.compaction.lag.ms": "500",
}
"""Settings of a topic that is compacted as soon as the broker looks."""


def click(user_id: str, item_id: str, *, partition: int = 0, timestamp: int = 1_700_000_000_000) -> Record:
    """A click as it is sent."""
    document = {"user_id": user_id, "item_id": item_id, "timestamp": timestamp}
    return Record(orjson.dumps(document), partition=partition)


def known(process: WorkerProcess, user_id: str) -> tuple[int, Any]:
    """What a running worker says of a user."""
    status, body = process.http(f"/v1/users/{quote(user_id, safe='')}")
    return status, orjson.loads(body) if body.startswith("{") else body


def saved_clicks(command: CommandRunner, settings: Mapping[str, Any], user_id: str) -> int:
    """How many clicks of a user are in the state that is saved."""
    found = orjson.loads(command(settings, "user", "--json", user_id)[1])["state"]
    return found["clicks"] if found else 0


def saved(deployment: Deployment, worker: WorkerFactory, *clicks: Record) -> None:
    """Have a worker apply clicks, save everything and stop."""
    process = worker(deployment.settings(**SELDOM))
    before = len(deployment.answers())
    deployment.send(clicks)
    deployment.answers(at_least=before + len(clicks))
    process.terminate()

    assert process.wait(15) == 0


def test_a_running_worker_tells_what_it_knows_of_a_user(
    deployment: Deployment, worker: WorkerFactory
) -> None:
    """By HTTP, while idle too, and at once: the row and the list as it would be published now."""
    deployment.publish_successor()
    process = worker(deployment.settings(**SELDOM))
    sent = deployment.send([click("a/b ü", "item-3", partition=1), click("a/b ü", "item-5", partition=1)])
    answers = deployment.answers(at_least=2)

    began = time.monotonic()
    status, found = known(process, "a/b ü")
    took = time.monotonic() - began

    assert status == 200
    assert took < 1
    assert found["recommendations"] == {
        "items": answers[-1].json["items"],
        "scores": answers[-1].json["scores"],
        "release": 1,
        "reason": "model",
    }
    del found["recommendations"]
    assert found == {
        "user_id": "a/b ü",
        "partition": 1,
        "recent_items": ["item-3", "item-5"],
        "clicks": 2,
        "session_clicks": 2,
        "timestamp": 1_700_000_000_000,
        "offset": sent[-1].offset,
        "release": 1,
        "saved": False,
    }


def test_a_worker_says_which_users_it_cannot_know(deployment: Deployment, worker: WorkerFactory) -> None:
    """404 and the partitions that it serves; before it serves any, 503 and why."""
    process = worker(deployment.settings(), ready=False)
    eventually(lambda: "no release" in process.http("/readyz")[1], what="the worker to wait")
    early = known(process, "ada")
    deployment.publish_successor()
    process.wait_until_ready()

    status, document = known(process, "ada")

    assert (status, document["serves"]) == (404, [0, 1, 2, 3])
    assert early[0] == 503
    assert "no release" in early[1]["error"]


def test_user_shows_what_a_worker_would_load(
    deployment: Deployment, worker: WorkerFactory, command: CommandRunner
) -> None:
    """The same as the worker that saved it says, where it stands, and who serves it."""
    deployment.publish_successor()
    settings = deployment.settings(**OFTEN)
    process = worker(settings)
    deployment.send([click("ada", "item-3", partition=2)])
    eventually(lambda: saved_clicks(command, settings, "ada") == 1, what="ada to be saved")
    deployment.send([click("ada", "item-6", partition=2), click("bob", "item-1", partition=2)])
    eventually(lambda: saved_clicks(command, settings, "ada") == 2, what="ada to be saved again")
    _, expected = known(process, "ada")

    code, text = command(settings, "user", "ada")
    _, output = command(settings, "user", "--json", "ada")

    found = orjson.loads(output)
    del expected["saved"]
    assert code == 0
    assert found["state"] == expected
    assert found["owner"]["client_id"] == f"{deployment.group}.a"
    assert len(found["other_copies"]) + len(found["copies_not_compacted_yet"]) == 1
    assert f"served by: {deployment.group}.a at " in text
    assert "recent items, the last one first: item-6, item-3" in text
    assert "recommendations: item-7" in text

    code, text = command(settings, "user", "eve")

    assert code == 1
    assert "no trace of eve" in text


def test_state_counts_what_each_partition_holds(
    deployment: Deployment, worker: WorkerFactory, command: CommandRunner
) -> None:
    """Blocks, users, bytes and offsets per partition and in all; after a clean stop nothing is unsaved."""
    deployment.publish_successor()
    saved(deployment, worker, *(deployment.click(number, users=12) for number in range(24)))

    code, text = command(deployment.settings(), "state")
    _, output = command(deployment.settings(), "state", "--json")

    found = orjson.loads(output)
    assert code == 0
    assert [row["users"] for row in found["partitions"]] == [3, 3, 3, 3]
    assert [row["blocks"] for row in found["partitions"]] == [1, 1, 1, 1]
    for row in found["partitions"]:
        assert row["replay_offset"] == row["committed_offset"] == row["end_offset"] == 6
        assert row["clicks_not_saved"] == 0
        assert 0 < row["dirt"] < 1
    assert found["total"]["users"] == 12
    assert found["total"]["live_bytes"] == sum(row["live_bytes"] for row in found["partitions"])
    assert text.splitlines()[-1].split()[:3] == ["all", "4", "12"]


def test_a_person_is_forgotten_everywhere(
    deployment: Deployment, worker: WorkerFactory, command: CommandRunner
) -> None:
    """Gone from memory and from every block, with idle workers too; who stands beside them stays."""
    deployment.publish_successor()
    settings = deployment.settings(kafka=HURRIED, **OFTEN)
    process = worker(settings)
    deployment.send([click("ada", "item-3", partition=2), click("bob", "item-3", partition=2)])
    deployment.send([click("ada", "item-4", partition=0)])
    eventually(lambda: known(process, "ada")[1].get("saved"), what="ada to be saved")

    code, text = command(settings, "forget", "ada", "--wait", "30")

    assert code == 0, text
    assert text.count("forgotten in partition") == 4
    assert known(process, "ada")[0] == 404
    assert known(process, "bob")[0] == 200
    found = orjson.loads(command(settings, "user", "--json", "ada")[1])
    assert (found["state"], found["other_copies"], found["wishes_to_be_forgotten"]) == (None, [], [])
    assert found["copies_not_compacted_yet"]
    assert command(settings, "user", "bob")[0] == 0

    process.kill9()
    again = worker(settings)

    assert known(again, "ada")[0] == 404
    assert known(again, "bob")[0] == 200


@pytest.mark.timeout(180)
def test_compaction_removes_what_was_forgotten(
    deployment: Deployment, worker: WorkerFactory, command: CommandRunner, topics: TopicFactory
) -> None:
    """Then, and not before, `user` says that there is no trace; clicks of others go on meanwhile."""
    deployment.publish_successor()
    deployment.state = topics("compacted", partitions=4, config=IMPATIENT)
    settings = deployment.settings(**OFTEN)
    process = worker(settings)
    deployment.send([click("ada", "item-3"), click("bob", "item-3")])
    eventually(lambda: saved_clicks(command, settings, "ada") == 1, what="ada to be saved")
    assert command(settings, "forget", "ada", "--wait", "30")[0] == 0

    def gone() -> bool:
        deployment.send([click("bob", "item-4")])
        return command(settings, "user", "ada")[0] == 1

    eventually(gone, 90, "compaction")

    assert known(process, "bob")[0] == 200


def test_a_wish_waits_for_a_worker(
    deployment: Deployment, worker: WorkerFactory, command: CommandRunner
) -> None:
    """Without one it is kept and shown; --wait says where it is not done; who starts obeys it."""
    deployment.publish_successor()
    settings = deployment.settings(**OFTEN)
    saved(deployment, worker, click("ada", "item-3", partition=2), click("bob", "item-3", partition=2))

    code, text = command(settings, "forget", "ada", "--wait", "1")
    shown_code, shown = command(settings, "user", "ada")

    assert code == 1
    assert f"No worker of group {deployment.group} runs" in text
    assert "not done after 1 s in partitions 0, 1, 2, 3" in text
    assert shown_code == 0
    assert "no state that a worker would load" in shown
    assert "to be done in partition 2" in shown

    process = worker(settings)

    eventually(
        lambda: orjson.loads(command(settings, "user", "--json", "ada")[1])["wishes_to_be_forgotten"] == [],
        what="the wish to be fulfilled",
    )
    assert known(process, "ada")[0] == 404


def test_clicks_after_the_wish_count(
    deployment: Deployment, worker: WorkerFactory, command: CommandRunner
) -> None:
    """A person who comes back begins anew, also where a crash has the clicks replayed."""
    deployment.publish_successor()
    settings = deployment.settings(kafka=HURRIED, **SELDOM)
    process = worker(settings)
    deployment.send([click("ada", "item-3")])
    deployment.answers(at_least=1)
    assert command(settings, "forget", "ada")[0] == 0
    eventually(lambda: known(process, "ada")[0] == 404, what="ada to be forgotten")
    deployment.send([click("ada", "item-5")])
    deployment.answers(at_least=2)

    process.kill9()
    again = worker(settings)

    assert known(again, "ada")[1]["recent_items"] == ["item-5"]


def test_reset_asks_first_and_refuses_while_a_worker_runs(
    deployment: Deployment, worker: WorkerFactory, command: CommandRunner
) -> None:
    """Nothing changes without a yes, nor under a running worker, which is named."""
    deployment.publish_successor()
    settings = deployment.settings()
    saved(deployment, worker, click("ada", "item-3"))

    code, text = command(settings, "reset", "--at", "earliest")

    assert code == 1
    assert "partition 0: drops the states of 1 users, goes on at offset 0, the first click" in text
    assert "Aborted" in text

    worker(settings)
    code, text = command(settings, "reset", "--at", "earliest", "--yes")

    assert code == 2
    assert f"group {deployment.group} has members: {deployment.group}.a at " in text
    assert command(settings, "user", "ada")[0] == 0


def test_reset_latest_skips_what_is_there(
    deployment: Deployment, worker: WorkerFactory, command: CommandRunner
) -> None:
    """Of one partition alone: its clicks that nobody answered are passed over, the others are not."""
    deployment.publish_successor()
    settings = deployment.settings()
    saved(deployment, worker, click("ada", "item-3"), click("bob", "item-3", partition=1))
    deployment.send([click("ada", "item-4"), click("bob", "item-4", partition=1)])

    code, text = command(settings, "reset", "--at", "latest", "--partition", "0", "--yes")
    process = worker(settings)
    deployment.send([click("ada", "item-5")])
    deployment.answers(at_least=4)

    assert code == 0, text
    assert known(process, "ada")[1]["recent_items"] == ["item-5"]
    assert known(process, "bob")[1]["recent_items"] == ["item-3", "item-4"]
    assert len(deployment.answers()) == 4
