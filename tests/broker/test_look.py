"""What the state topic holds can be seen, forgotten and begun anew, with a worker running or without."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote

import orjson
import pytest

from tests.broker.client import Record
from tests.broker.conftest import CommandRunner, WorkerFactory
from tests.broker.deployment import Deployment
from tests.broker.process import WorkerProcess
from tests.conftest import TopicFactory
from tests.waiting import eventually

OFTEN: Final[Mapping[str, Any]] = {"state": {"flush_interval": 0.4}}
SELDOM: Final[Mapping[str, Any]] = {"state": {"flush_interval": 3_600}}


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


def test_user_and_state_show_what_a_worker_would_load(
    deployment: Deployment, worker: WorkerFactory, command: CommandRunner
) -> None:
    """The same as the worker that saved it says, where it stands, and who serves it."""
    deployment.publish_successor()
    # The clicks are old, and so are the states.
    settings = deployment.settings(state={**OFTEN["state"], "user_ttl": 0})
    process = worker(settings)
    deployment.send([click("ada", "item-3", partition=2)])
    eventually(lambda: known(process, "ada")[1].get("saved"), what="ada to be saved")
    deployment.send([click("ada", "item-6", partition=2), click("bob", "item-1", partition=2)])
    eventually(lambda: saved_clicks(command, settings, "ada") == 2, what="ada to be saved again")
    _, expected = known(process, "ada")

    code, text = command(settings, "user", "ada")
    _, output = command(settings, "user", "--json", "ada")

    found = orjson.loads(output)
    del expected["saved"]
    assert code == 0
    assert found["state"] == expected
    assert found["owner"]["client_id"] == f"{deployment.group}/a"
    assert len(found["other_copies"]) + len(found["copies_not_compacted_yet"]) == 1
    assert f"served by: {deployment.group}/a at " in text
    assert "recent items, oldest first: item-3, item-6" in text
    assert "recommendations: item-7" in text

    code, text = command(settings, "state")

    assert code == 0
    assert text.splitlines()[-1].split()[:3] == ["all", "1", "2"]


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
    eventually(lambda: known(process, "ada")[1].get("saved"), what="ada to be saved")
    code, text = command(settings, "forget", "ada", "--wait", "30")
    assert code == 0, text
    assert text.count("deleted in partition") == 4
    assert known(process, "ada")[0] == 404

    def gone() -> bool:
        deployment.send([click("bob", "item-4")])
        return command(settings, "user", "ada")[0] == 1

    eventually(gone, 90, "compaction")

    assert known(process, "bob")[0] == 200


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
