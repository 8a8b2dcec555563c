"""Worker, trainer and admin on a locked-down Kafka, with exactly the ACLs that `check` prints for each."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from deploy.kafka.security import Access
from tests.broker.client import Record
from tests.broker.conftest import WorkerFactory
from tests.broker.secured import Secured
from tests.builders import ITEMS, successor_release_parts
from tests.waiting import eventually
from worker.settings.kafka import Kafka
from worker.topics import releases

QUICK = {"session_timeout_ms": 6_000, "heartbeat_interval_ms": 500}


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
    settings = secured.settings(kafka=secured.kafka("worker") | QUICK)
    first = worker(settings)
    secured.click_all(ITEMS[0])
    secured.client.send(secured.topics["clicks"], [Record(b"no click", partition=0)])
    secured.answered(10)
    eventually(lambda: first.metric("nextclick_state_bytes_total") > 0, what="a flush")

    first.kill9()
    again = worker(settings)
    secured.click_all(ITEMS[1])
    secured.answered(20)
    other = worker(settings | {"worker_id": "b"})
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
        assert one.wait() == 0
    assert secured.run("worker", "reset", "--at", "saved", "--yes")[0] == 0
    code, text = secured.run("worker", "check")
    assert code == 0, text


def test_lost_rights_on_releases_end_no_worker_that_serves(secured: Secured, worker: WorkerFactory) -> None:
    """It serves on and says what is missing; with the right back, it adopts what came meanwhile."""
    publish(secured)
    process = worker(secured.settings())
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


@pytest.mark.parametrize("lost", ["recommendations", "clicks", "state", "group", "transactional-id"])
def test_a_lost_right_ends_a_worker_in_one_way(secured: Secured, worker: WorkerFactory, lost: str) -> None:
    """Wherever it is met first: exit code 2, and the right is named."""
    publish(secured)
    process = worker(secured.settings())
    gone = [one for one in secured.acls["worker"] if lost in (one.kind, one.name.rpartition("-")[0])]
    secured.rights.revoke("worker", gone)
    deadline = time.monotonic() + 60
    while process.exit_code is None and time.monotonic() < deadline:
        secured.click_all(ITEMS[0])

    assert process.exit_code == 2
    assert "`nextclick-worker check` prints the ACLs" in process.log.splitlines()[-1]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_commands_of_the_trainer_need_the_printed_acls_and_no_others(
    secured: Secured, tmp_path: Path
) -> None:
    """It trains and publishes, collects, fetches, tries a candidate, decides, and goes back."""
    clicks = [
        Record(record.value, partition=record.partition)
        for turn in range(60)
        for record in [secured.click(f"user-{turn % 12}", ITEMS[(turn + turn % 12) % 8])]
    ]
    secured.client.send(secured.topics["clicks"], clicks)
    release, archive = str(tmp_path / "release"), str(tmp_path / "archive")

    def trainer(*words: str) -> str:
        code, text = secured.run("trainer", *words, program="trainer")
        assert code == 0, text
        return text

    quick = [word for one in ("model.hidden_size=8", "training.epochs=1") for word in ("--set", one)]
    trainer("check")
    trainer("collect", "-o", archive)
    trainer("run", "--once", "--archive", archive, *quick)
    trainer("fetch", "-o", release)
    trainer("publish", release, "--candidate", "--yes")
    assert "nothing" in trainer("watch", "--once") or True
    trainer("promote")
    assert "release 2" in trainer("releases")
    trainer("rollback")
