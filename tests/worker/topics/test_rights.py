"""The ACLs of each role: what is printed, and that a worker needs every one of them and no other."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import pytest

from tests.broker.rights import printed
from tests.builders import tiny_release_parts
from tests.worker.desk import GROUP, Desk, DeskWorker
from worker.config import Settings
from worker.errors import NotAllowed
from worker.kafka.memory import MemoryCluster, Right
from worker.topics import needs, rights
from worker.topics.releases import publisher
from worker.topics.rights import Acl, Role
from worker.wiring import topics_needed

ROUNDS: Final = 400
"""More rounds than a worker takes to report live quality twice."""


def all_of(role: Role) -> list[Right]:
    """The rights of a role, as the cluster in memory takes them."""
    return [
        Right(acl.kind, acl.name, operation, prefixed=acl.prefixed)
        for acl in role.acls
        for operation in acl.operations
    ]


def named(role: Role) -> list[str]:
    """The rights of a role by name: "clicks READ"."""
    return [f"{one.name} {one.operation}" for one in all_of(role)]


ROLE: Final = rights.worker(topics_needed(Settings(group=GROUP, worker_id="a")), group=GROUP)
RELEASES: Final = "nextclick.releases READ"
"""The one right without which a worker that serves goes on."""


def of_worker(*, without: str = "") -> list[Right]:
    """The rights of a desk's workers, but for one."""
    return [one for one in all_of(ROLE) if f"{one.name} {one.operation}" != without]


def started(desk: Desk, granted: Iterable[Right]) -> DeskWorker:
    """A worker that has these rights from the start."""
    worker = desk.new()
    desk.cluster.restrict(worker.connection, granted)
    worker.begin()
    return worker


def work(desk: Desk) -> None:
    """Let a worker meet all that there is: clicks, bad records, flushes, reports, deletion requests."""
    for number in range(ROUNDS):
        desk.click(f"user-{number % 4}")
        if number % 50 == 0:
            desk.send(b"no click")
            desk.forget("user-1")
        desk.step()


def test_a_worker_needs_no_right_but_those_of_its_role() -> None:
    """From the start over a kill to the end; and everything is answered."""
    desk = Desk()
    started(desk, of_worker())
    desk.settle()
    work(desk)
    desk.settle()
    desk.kill()
    started(desk, of_worker())
    desk.advance(11)
    desk.settle()

    assert len(desk.answers()) == ROUNDS
    assert len(desk.letters()) == ROUNDS // 50
    assert desk.cluster.read(desk.topics.quality)
    desk.stop()


@pytest.mark.parametrize("lost", named(ROLE))
def test_without_any_of_them_no_worker_starts_to_serve(lost: str) -> None:
    """It ends with the one error for missing rights, wherever it meets this one."""
    desk = Desk()

    def serve() -> None:
        started(desk, of_worker(without=lost))
        work(desk)

    with pytest.raises(NotAllowed):
        serve()


@pytest.mark.parametrize("lost", [one for one in named(ROLE) if one != RELEASES])
def test_a_worker_that_loses_one_of_them_ends(lost: str) -> None:
    """In the same way."""
    desk = Desk()
    worker = desk.serving()
    desk.cluster.restrict(worker.connection, of_worker(without=lost))

    with pytest.raises(NotAllowed):
        work(desk)


def test_a_worker_that_may_not_read_releases_any_more_serves_on() -> None:
    """It says so; with the right back, it adopts what came meanwhile, and says no more."""
    desk = Desk()
    worker = desk.serving()
    desk.cluster.restrict(worker.connection, of_worker(without=RELEASES))
    work(desk)
    release = desk.publish(*tiny_release_parts())
    work(desk)
    remark, serves = worker.process.readiness.remark, worker.metric("nextclick_release")

    assert worker.reason == ""
    assert remark.startswith("new releases are not adopted: read the releases topic")
    assert serves == 1

    desk.cluster.restrict(worker.connection, of_worker())
    desk.until(lambda: worker.metric("nextclick_release") == release, "the adoption")
    desk.step(5)
    assert worker.process.readiness.remark == ""


@pytest.mark.parametrize(
    ("transactional_id", "allowed"),
    [("desk/a", True), ("desk.other/a", False), (publisher("desk.releases"), False)],
)
def test_a_worker_can_fence_nobody_of_another_group(transactional_id: str, allowed: bool) -> None:
    """Nor the trainer, though the names of groups and topics begin alike."""
    connection = MemoryCluster().connect(of_worker())

    assert connection.process.rights.allows("transactional-id", transactional_id, "WRITE") is allowed


def test_the_acls_are_arguments_of_kafkas_own_tool() -> None:
    """A prefix says so, and the name of an operation is spelled as the tool spells it."""
    acl = Acl("topic", "clicks", ("READ", "DESCRIBE_CONFIGS"), "read clicks")
    prefix = Acl("transactional-id", "group/", ("WRITE",), "write in transactions", prefixed=True)

    assert acl.arguments == "--topic clicks --operation Read --operation DescribeConfigs"
    assert prefix.arguments == "--transactional-id group/ --resource-pattern-type prefixed --operation Write"
    assert printed(prefix.arguments).prefixed


def test_a_role_is_printed_with_a_reason_for_every_acl() -> None:
    """Below the commands that it is for."""
    wanted = needs.trainer_needs(clicks="clicks", releases="releases", quality="quality")
    title, *lines = rights.trainer(wanted, releases_topic="releases").lines()

    assert title.startswith("ACLs of the trainer, for nextclick-trainer (kafka-acls --add")
    assert lines[0].startswith("      --topic clicks --operation Read ")
    assert lines[0].endswith(" # collect, run, fit: read clicks")
    assert all(line.partition("# ")[2] for line in lines)
    assert len({line.index("#") for line in lines}) == 1
