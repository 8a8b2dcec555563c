"""Where states, offsets and clicks do not fit together a worker stops, and what it says to do helps.

Every refusal names a `reset`; after it, as printed, the next worker serves.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import msgpack
import pytest

from tests.worker.commands.conftest import Command
from tests.worker.desk import GROUP, Desk
from worker.errors import StateRefused, TopicError

HOME: Final = 1
"""The partition that has clicks."""


def commit(offset: int) -> Callable[[Desk], None]:
    """Have someone commit another offset for the group."""

    def happens(desk: Desk) -> None:
        transactions = desk.cluster.connect().transactions("somebody", timeout_ms=10_000)
        transactions.renew()
        transactions.commit(desk.topics.clicks, {HOME: offset}, GROUP, seconds=1)

    return happens


def expire_the_group(desk: Desk) -> None:
    """Do what Kafka does to a group that was away for a week."""
    desk.cluster.delete_group(GROUP)


def make_the_clicks_again(desk: Desk) -> None:
    """Delete the clicks topic and create it again."""
    desk.cluster.delete(desk.topics.clicks)
    desk.cluster.create(desk.topics.clicks, partitions=desk.partitions)


def lose_all_states(desk: Desk) -> None:
    """Do what a retention policy does to a topic that is not compacted."""
    desk.cluster.delete_before(desk.topics.state, HOME, desk.cluster.log(desk.topics.state, HOME).end)


def write(key: bytes, value: bytes) -> Callable[[Desk], None]:
    """Have someone else write to the state topic."""

    def happens(desk: Desk) -> None:
        desk.cluster.produce(desk.topics.state, value, key=key, partition=HOME)

    return happens


def ada_saved() -> Desk:
    """A group whose worker has saved two clicks of ada, on items 2 and 3, and stopped."""
    desk = Desk()
    desk.serving()
    desk.click("ada", "item-2", partition=HOME)
    desk.click("ada", "item-3", partition=HOME)
    desk.settle()
    desk.stop()
    return desk


def refusal(desk: Desk) -> str:
    """What a worker says that refuses to serve."""
    desk.start()
    with pytest.raises(StateRefused) as refused:
        desk.settle()
    desk.kill()
    desk.advance(11)
    return str(refused.value)


@dataclass(frozen=True)
class Mishap:
    """Something that must not happen, after a user clicked item 2 and 3, and what follows."""

    happens: Callable[[Desk], None]
    says: str
    does: str
    remembers: Sequence[str] = ()
    """What is still known of the user."""
    answers: int = 3
    """How many there are in all once the user clicked again."""


MISHAPS: Final = {
    "no committed offset": Mishap(
        expire_the_group, "the group has no committed offset", "--at saved", ("item-2", "item-3")
    ),
    "no states": Mishap(lose_all_states, "but partition 1 of topic", "--at committed"),
    "clicks made again": Mishap(make_the_clicks_again, "was their topic made anew?", "--at earliest"),
    "committed beyond the end": Mishap(
        commit(99), "offset 99 is committed or saved", "--at earliest", ("item-2", "item-3"), answers=5
    ),
    "offsets set back": Mishap(
        commit(1), "were its offsets set back?", "--at committed", ("item-3",), answers=4
    ),
    "garbage": Mishap(write(b"block/7", b"garbage"), "block/7 in partition 1", "--at committed"),
    "a newer format": Mishap(
        write(b"block/1", msgpack.packb({"format": 99})),
        "its format is 99, this worker reads 1",
        "--at committed",
    ),
    "a bad replay": Mishap(write(b"replay", b"\x00"), "replay in partition 1", "--at committed"),
    "an unknown key": Mishap(write(b"\xffelse", b"x"), "no such key is known", "--at committed"),
    "a bad number": Mishap(write(b"block/x", b"x"), "the key 'block/x' is none", "--at committed"),
}


@pytest.mark.parametrize("name", MISHAPS)
def test_what_a_refusal_says_helps(command: Command, name: str) -> None:
    """With the states where they are sound, else with empty ones; and from the offset that it names."""
    mishap, desk = MISHAPS[name], ada_saved()
    mishap.happens(desk)

    text = refusal(desk)
    found = re.search(r"`nextclick-worker (reset [^`]*)`", text)
    assert found, text
    code, output = command(desk.cluster, *shlex.split(found[1]), "--yes")
    worker = desk.serving()
    desk.click("ada", "item-5", partition=HOME)
    desk.settle()

    assert mishap.says in text
    assert found[1] == f"reset --partition {HOME} {mishap.does}"
    assert code == 0, output
    assert output.endswith("done\n")
    assert worker.recent("ada") == [*mishap.remembers, "item-5"]
    assert len(desk.answers()) == mishap.answers


def test_a_request_that_cannot_be_read_costs_no_states(command: Command) -> None:
    """The worker stops rather than skip it, and says how to write it again; then all is as it was."""
    desk = ada_saved()
    write(b"forget/eve", b"\x00")(desk)

    text = refusal(desk)
    code, _ = command(desk.cluster, "forget", "eve")
    worker = desk.serving()

    assert "`nextclick-worker forget eve` writes it again" in text
    assert code == 0
    assert worker.recent("ada") == ["item-2", "item-3"]


def test_too_few_state_partitions_stop_the_worker(command: Command) -> None:
    """Never a wrong partition: the worker stops and names the command, after which it serves."""
    desk = ada_saved()
    desk.cluster.add_partitions(desk.topics.clicks, 3)
    desk.partitions = 3

    with pytest.raises(TopicError, match=r"has 2 partitions, it needs 3\. Run `nextclick-worker topics`"):
        desk.start()
    desk.kill()
    code, _ = command(desk.cluster, "topics")
    desk.serving()

    assert code == 0
    desk.assert_answered_once()


def test_missing_topics_stop_the_worker() -> None:
    """All that are missing are named, and the command that makes them."""
    desk = Desk()
    desk.cluster.delete(desk.topics.clicks)
    desk.cluster.delete(desk.topics.recommendations)

    with pytest.raises(TopicError) as refused:
        desk.start()

    said = str(refused.value).splitlines()
    assert [line.split(".")[0] for line in said] == [
        "topic clicks does not exist",
        "topic recommendations does not exist",
    ]
    assert all("Run `nextclick-worker topics`" in line for line in said)


def test_reset_asks_first(command: Command) -> None:
    """Nothing changes without a yes."""
    desk = ada_saved()
    before = desk.states(), desk.committed()

    refused, text = command(desk.cluster, "reset", "--at", "earliest", types="n\n")
    after = desk.states(), desk.committed()
    agreed, _ = command(desk.cluster, "reset", "--at", "earliest", types="y\n")

    assert (refused, agreed) == (1, 0)
    assert "partition 1: drops the states of 1 users, goes on at offset 0, the first click" in text
    assert "Aborted" in text
    assert after == before
    assert desk.committed() == {0: 0, 1: 0}
    assert command(desk.cluster, "user", "ada")[1].startswith("ada in desk.state")
    desk.cluster.compact(desk.topics.state, tombstones=True)
    assert command(desk.cluster, "user", "ada")[0] == 1


def test_reset_refuses_while_a_worker_runs(command: Command) -> None:
    """The members are named, those too that were killed and are still members."""
    desk = ada_saved()
    desk.serving()

    running, text = command(desk.cluster, "reset", "--at", "earliest", "--yes")
    desk.kill()
    killed, _ = command(desk.cluster, "reset", "--at", "earliest", "--yes")
    desk.advance(11)
    gone, _ = command(desk.cluster, "reset", "--at", "earliest", "--yes")

    assert (running, killed, gone) == (2, 2, 0)
    assert "group desk has members: desk.a at memory. Stop all its workers first" in text


def test_reset_latest_skips_what_is_there(command: Command) -> None:
    """Of one partition alone: its clicks that nobody answered are passed over, the others are not."""
    desk = ada_saved()
    desk.click("ada", "item-4", partition=HOME)
    desk.click("bob", "item-4", partition=0)

    code, text = command(desk.cluster, "reset", "--at", "latest", "--partition", str(HOME), "--yes")
    worker = desk.serving()
    desk.click("ada", "item-5", partition=HOME)
    desk.settle()

    assert code == 0, text
    assert worker.recent("ada") == ["item-5"]
    assert worker.recent("bob") == ["item-4"]
    assert len(desk.answers()) == 4


def test_reset_of_a_partition_that_is_not_there_is_a_mistake(command: Command) -> None:
    """It is named, and nothing happens."""
    desk = ada_saved()

    code, text = command(desk.cluster, "reset", "--at", "latest", "--partition", "7", "--yes")

    assert code == 2
    assert "topic clicks has 2 partitions, no partition 7" in text


def test_where_nothing_is_saved_there_is_nothing_to_do(command: Command) -> None:
    """`--at saved` on a state topic that is empty."""
    code, text = command(Desk().cluster, "reset", "--at", "saved", "--yes")

    assert code == 0
    assert text.endswith("nothing to do\n")


def test_a_reset_that_fails_changes_nothing(command: Command) -> None:
    """All of it or nothing: tombstones, replay and offsets stand in one transaction."""
    desk = ada_saved()
    before = desk.states(), desk.committed()
    desk.cluster.fail("commit")

    code, _ = command(desk.cluster, "reset", "--at", "earliest", "--yes")

    assert code == 2
    assert (desk.states(), desk.committed()) == before
