"""Worker, trainer and admin on a locked-down Kafka, with exactly the ACLs that `check` prints for each."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from deploy.kafka.security import Access
from tests.broker.client import Record
from tests.broker.conftest import WorkerFactory
from tests.broker.process import WorkerProcess
from tests.broker.secured import PARTITIONS, Secured
from tests.broker.test_run import QUICK
from tests.broker.test_trainer import records_of_cycle
from tests.builders import ITEMS, successor_release_parts
from tests.waiting import eventually
from worker.settings.kafka import Kafka
from worker.topics import releases

PATIENCE_SECONDS = 90.0
HURRIED = {"session_timeout_ms": 6_000, "heartbeat_interval_ms": 500}


@pytest.fixture
def secured(locked_kafka: Access, unique: str, tmp_path: Path) -> Secured:
    """Topics that the admin has created; the ACLs of every role are granted."""
    found = Secured(locked_kafka, unique, tmp_path)
    assert found.read_acls() == 1  # nobody has any right yet, and yet everything is printed
    for role in found.acls:
        found.grant(role)
    created = found.create_topics()
    assert created.count("created with") == len(found.topics)
    return found


def started(worker: WorkerFactory, settings: Mapping[str, Any]) -> WorkerProcess:
    """A worker that is ready. On a busy machine, the session of its predecessor is not all it waits for."""
    process = worker(settings, ready=False)
    process.wait_until_ready(PATIENCE_SECONDS)
    return process


def publish(secured: Secured) -> int:
    """Publish a release as the trainer; its number."""
    connection = Kafka.model_validate(secured.kafka("trainer")).connection()
    return releases.publish(connection, secured.topics["releases"], *successor_release_parts())


@pytest.mark.timeout(300)
def test_the_life_of_a_worker_needs_the_printed_acls_and_no_others(
    secured: Secured, worker: WorkerFactory
) -> None:
    """It serves, saves, is killed, recovers, shares with another, writes dead letters, measures, deletes."""
    publish(secured)
    settings = secured.settings(kafka=secured.kafka("worker") | HURRIED)
    first = started(worker, settings)
    secured.click_all(ITEMS[0])
    secured.client.send(secured.topics["clicks"], [Record(b"no click", partition=0)])
    secured.answered(10)
    eventually(lambda: first.metric("nextclick_state_bytes_total") > 0, what="a flush")

    first.kill9()
    again = started(worker, settings)
    secured.click_all(ITEMS[1])
    secured.answered(20)
    other = started(worker, settings | {"worker_id": "b"})
    secured.click_all(ITEMS[2])
    secured.answered(30)

    assert len(secured.client.read(secured.topics["dead_letters"])) == 1
    eventually(lambda: secured.client.read(secured.topics["quality"]), what="a report of live quality")
    code, text = secured.run("worker", "forget", "user-1", "--wait", "60s")
    assert (code, "deleted in partition 1" in text) == (0, True), text
    assert secured.run("worker", "user", "user-2")[0] == 0
    assert secured.run("worker", "state")[0] == 0
    for one in (again, other):
        one.terminate()
        assert one.wait(PATIENCE_SECONDS) == 0
    assert secured.run("worker", "reset", "--at", "saved", "--yes")[0] == 0
    code, text = secured.run("worker", "check")
    assert code == 0, text


@pytest.mark.timeout(300)
def test_lost_rights_on_releases_end_no_worker_that_serves(secured: Secured, worker: WorkerFactory) -> None:
    """It serves on and says what is missing; with the right back, it adopts what came meanwhile."""
    publish(secured)
    process = started(worker, secured.settings())
    (acl,) = [one for one in secured.acls["worker"] if one.name == secured.topics["releases"]]
    secured.rights.revoke("worker", [acl])
    publish(secured)
    eventually(lambda: "new releases are not adopted" in process.http("/readyz")[1], what="the remark")
    secured.click_all(ITEMS[0])
    secured.answered(10)

    assert process.http("/readyz")[0] == 200
    assert process.metric("nextclick_release") == 1

    secured.rights.grant("worker", [acl])
    eventually(lambda: process.metric("nextclick_release") == 2, what="the adoption")
    assert process.http("/readyz") == (200, "ready\n")


@pytest.mark.timeout(300)
@pytest.mark.parametrize("lost", ["recommendations", "clicks", "group"])
def test_a_lost_right_ends_a_worker_in_one_way(secured: Secured, worker: WorkerFactory, lost: str) -> None:
    """Wherever it is met first: exit code 2, and the right is named."""
    publish(secured)
    process = started(worker, secured.settings())
    resource = {**secured.topics, "group": secured.group}[lost]
    secured.rights.revoke("worker", [one for one in secured.acls["worker"] if one.name == resource])

    def ended() -> bool:
        secured.click_all(ITEMS[0])
        return process.exit_code is not None

    eventually(ended, PATIENCE_SECONDS, "the end of the worker")
    assert process.exit_code == 2
    assert "`nextclick-worker check` prints the ACLs" in process.log.splitlines()[-1]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_commands_of_the_trainer_need_the_printed_acls_and_no_others(
    secured: Secured, tmp_path: Path
) -> None:
    """It trains and publishes, collects, fetches, tries a candidate, decides, and goes back."""
    secured.client.send(secured.topics["clicks"], records_of_cycle(60, partitions=PARTITIONS))
    release, archive = str(tmp_path / "release"), str(tmp_path / "archive")
    fields = ["--user", "user", "--item", "product.id"]
    steps = {
        "check": fields,
        "collect": ["-o", archive, *fields],
        "run": ["--once", "--archive", archive, *fields, *QUICK],
        "fetch": ["-o", release],
        "publish": [release, "--candidate"],
        "releases": [],
        "watch": ["--once"],
        "promote": [],
        "rollback": [],
    }

    done = {command: secured.train(command, *words) for command, words in steps.items()}

    assert {command: code for command, (code, _) in done.items()} == dict.fromkeys(steps, 0), done
    assert "release 1 is @champion" in done["run"][1]
    assert "release 2 against release 1: undecided" in done["watch"][1]
    assert "release 1 is @champion" in done["rollback"][1]
