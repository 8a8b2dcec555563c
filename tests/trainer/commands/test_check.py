"""`nextclick-trainer check`, and that the trainer needs every ACL that it prints, and no other; at a desk."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import orjson
import pytest
from click.testing import CliRunner

from tests.builders import ITEMS, successor_release_parts
from tests.trainer.builders import set_to
from tests.worker.topics.test_rights import all_of, named
from trainer.commands.cli import cli
from trainer.continuous.leader import Leader
from trainer.release.folder import write_folder
from worker.clock import Clock
from worker.errors import NotAllowed
from worker.kafka.memory import MemoryCluster, MemoryConnection, Right
from worker.topics import needs, rights
from worker.topics.needs import COMPACTED
from worker.topics.releases import CANDIDATE, CHAMPION, publish

CLICKS, RELEASES, QUALITY = "clicks", "releases", "quality"
NAMES: Final = set_to(f"topics.clicks={CLICKS}", f"topics.releases={RELEASES}", f"topics.quality={QUALITY}")
PARTS: Final = successor_release_parts(ITEMS)
ROLE: Final = rights.trainer(
    needs.trainer_needs(clicks=CLICKS, releases=RELEASES, quality=QUALITY), releases_topic=RELEASES
)
NEEDED_BY: Final = [
    ("clicks READ", "collect"),
    ("releases READ", "fetch"),
    ("releases WRITE", "publish"),
    ("quality READ", "watch"),
    ("quality READ", "releases"),
    ("releases.publisher WRITE", "promote"),
]
"""A command that needs the right, for each right but the one to the group of the trainers."""
GROUP_RIGHT: Final = "releases.trainer READ"
CLICK: Final = b'{"user_id": "ada", "item_id": "item-1", "timestamp": 1600000000000}'


@pytest.fixture
def cluster() -> MemoryCluster:
    """A cluster with clicks, a champion and a candidate."""
    cluster = MemoryCluster()
    cluster.create(CLICKS, partitions=2)
    cluster.create(RELEASES, settings=COMPACTED)
    cluster.create(QUALITY)
    cluster.produce(CLICKS, CLICK)
    for pointer in (CHAMPION, CANDIDATE):
        publish(cluster.connect(), RELEASES, *PARTS, pointer=pointer)
    return cluster


def of_trainer(*, without: str = "") -> list[Right]:
    """The rights of the trainer, but for one: "clicks READ"."""
    return [one for one in all_of(ROLE) if f"{one.name} {one.operation}" != without]


def run(connection: MemoryConnection, words: Sequence[str]) -> tuple[int, str]:
    """Run a command; exit code and what it prints. Raises what it raises."""
    done = CliRunner().invoke(cli, [*words, *NAMES], obj=connection, catch_exceptions=False)
    return done.exit_code, done.stdout


def lead(connection: MemoryConnection) -> None:
    """Become the leader of the trainers, and publish as such, as `run` does."""
    clock = Clock(lambda: 0.0, lambda: 0.0, lambda _: None)
    leader = Leader(connection, releases=RELEASES, session_timeout_ms=30_000, clock=clock, background=False)
    with leader.membership():
        lease = leader.wait(0) or leader.wait(0)
        assert lease
        publish(connection, RELEASES, *PARTS, fence=lease.metadata)


def commands(folder: Path) -> dict[str, list[str]]:
    """Every command that asks Kafka for something, but for `run`, whose part is `lead`."""
    write_folder(folder / "release", *PARTS)
    return {
        "check": ["check"],
        "collect": ["collect", "-o", str(folder / "archive")],
        "fetch": ["fetch", "-o", str(folder / "fetched")],
        "publish": ["publish", str(folder / "release"), "--candidate"],
        "releases": ["releases"],
        "watch": ["watch", "--once", *set_to("watch.give_up_after=0s")],
        "promote": ["promote"],
        "rollback": ["rollback"],
    }


def test_the_commands_need_no_right_but_those_of_the_role(cluster: MemoryCluster, tmp_path: Path) -> None:
    """Each of them does its work."""
    connection = cluster.connect(of_trainer())

    codes = {name: run(connection, words)[0] for name, words in commands(tmp_path).items()}
    lead(connection)

    assert set(codes.values()) == {0}, codes


def test_every_right_is_needed_by_a_command() -> None:
    """The next two tests show it: a right that nothing needs has no place there."""
    assert {lost for lost, _ in NEEDED_BY} | {GROUP_RIGHT} == set(named(ROLE))


@pytest.mark.parametrize(("lost", "command"), NEEDED_BY)
def test_without_any_of_them_a_command_fails(
    cluster: MemoryCluster, tmp_path: Path, lost: str, command: str
) -> None:
    """And `check` finds it."""
    connection = cluster.connect(of_trainer(without=lost))

    code, text = run(connection, ["check"])
    with pytest.raises(NotAllowed):
        run(connection, commands(tmp_path)[command])

    assert code == 1
    assert "FAIL" in text


def test_without_the_right_to_its_group_a_trainer_never_leads(cluster: MemoryCluster) -> None:
    """Which `run` needs, and no other command."""
    connection = cluster.connect(of_trainer(without=GROUP_RIGHT))

    code, text = run(connection, ["check"])
    with pytest.raises(NotAllowed):
        lead(connection)

    assert code == 1
    assert "FAIL  describe the consumer group releases.trainer" in text


def test_check_says_what_is_there(cluster: MemoryCluster) -> None:
    """Topics, rights, transactions, the last clicks and the champion."""
    code, text = run(cluster.connect(), ["check"])

    assert code == 0
    for line in (
        "brokers: memory answers",
        "topic clicks: 2 partitions",
        "transactional id releases.publisher/check: transactions work",
        "topic clicks: the last 1 records are clicks",
        "topic releases has 2 releases; @champion is release 1",
    ):
        assert f"ok    {line}\n" in text
    assert "--group releases.trainer --operation Read " in text


def test_one_finding_that_fails_hides_no_other() -> None:
    """A topic of something else, a missing one, and records that are no clicks, are found together."""
    cluster = MemoryCluster()
    cluster.create(CLICKS)
    cluster.create(RELEASES)
    cluster.produce(CLICKS, b"no click")
    cluster.produce(RELEASES, b"x", key=b"something else")

    code, text = run(cluster.connect(), ["check"])

    assert code == 1
    assert "FAIL  topic quality does not exist" in text
    assert "FAIL  topic clicks, last 1 records: 1 of 1 are neither a JSON object, list or text" in text
    assert "FAIL  topic releases is not a topic of releases" in text


def test_the_acls_are_printed_as_json(cluster: MemoryCluster) -> None:
    """For scripts."""
    _, text = run(cluster.connect(), ["check", "--json"])
    (role, acls), *others = orjson.loads(text)["acls"].items()

    assert (role, others) == ("trainer", [])
    assert [one["acl"] for one in acls] == [
        "--topic clicks --operation Read",
        "--topic releases --operation Read --operation Write",
        "--topic quality --operation Read",
        "--group releases.trainer --operation Read",
        "--transactional-id releases.publisher --resource-pattern-type prefixed --operation Write",
    ]
