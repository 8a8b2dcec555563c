"""Where states, offsets and clicks do not fit together a worker stops, and what it says to do helps."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import msgpack
import pytest

from tests.worker.conftest import Command
from tests.worker.desk import GROUP, Desk, successor_desk
from worker.errors import StateRefused

HOME: Final = 1
"""The partition that has clicks."""

NEW: Final = ("item-6", "item-7", "item-8", "item-4", "item-1")
"""The items that are clicked in a topic of clicks that was made anew."""


def set_offset(offset: int) -> Callable[[Desk], None]:
    """Have someone commit another offset for the group."""

    def happens(desk: Desk) -> None:
        transactions = desk.cluster.connect().transactions("somebody", timeout_ms=10_000)
        transactions.renew()
        transactions.commit(desk.topics.clicks, {HOME: offset}, GROUP, seconds=1)

    return happens


def write(key: bytes, value: bytes) -> Callable[[Desk], None]:
    """Have someone else write to the state topic."""

    def happens(desk: Desk) -> None:
        desk.cluster.produce(desk.topics.state, value, key=key, partition=HOME)

    return happens


def delete_group(desk: Desk) -> None:
    """Do what Kafka does to a group that was away for a week."""
    desk.cluster.delete_offsets(GROUP)


def lose_states(desk: Desk) -> None:
    """Lose all states."""
    desk.cluster.delete_before(desk.topics.state, HOME, 1_000)


def make_clicks_again(desk: Desk) -> None:
    """Delete the clicks topic and create it again."""
    desk.cluster.delete(desk.topics.clicks)
    desk.cluster.create(desk.topics.clicks, partitions=desk.partitions)


def make_clicks_anew_and_send(desk: Desk) -> None:
    """Do the same; the new topic has more clicks than the old one had."""
    make_clicks_again(desk)
    for item in NEW:
        desk.click("ada", item, partition=HOME)


def make_clicks_anew_with_offsets(desk: Desk) -> None:
    """Do the same where the broker keeps the group's offsets."""
    desk.cluster.delete(desk.topics.clicks, with_offsets=False)
    desk.cluster.create(desk.topics.clicks, partitions=desk.partitions)
    for item in NEW:
        desk.click("ada", item, partition=HOME)


def lose_replay(desk: Desk) -> None:
    """Lose the record that says where replay begins, and nothing else."""
    desk.cluster.produce(desk.topics.state, None, key=b"replay", partition=HOME)


def damage_the_states(desk: Desk) -> None:
    """Make a batch of the state topic unreadable."""
    desk.cluster.produce_unreadable(desk.topics.state, partition=HOME, offsets=2, why="its checksum is wrong")


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
        delete_group, "the group has no committed offset", "--at saved", ("item-2", "item-3")
    ),
    "no states": Mishap(lose_states, "but partition 1 of topic", "--at committed"),
    "no replay": Mishap(lose_replay, "has blocks, but no replay record", "--at committed"),
    "clicks made anew": Mishap(
        make_clicks_again, "was deleted and created again", "--at saved", ("item-2", "item-3")
    ),
    "clicks made anew, with more of them": Mishap(
        make_clicks_anew_and_send,
        "was deleted and created again",
        "--at saved",
        ("item-2", "item-3", *NEW),
        8,
    ),
    "clicks made anew, and the offsets kept": Mishap(
        make_clicks_anew_with_offsets,
        "was deleted and created again",
        "--at saved",
        ("item-2", "item-3", *NEW),
        8,
    ),
    "committed beyond the end": Mishap(
        set_offset(99), "offset 99 is committed or saved", "--at earliest", ("item-2", "item-3"), answers=5
    ),
    "offsets set back": Mishap(
        set_offset(1), "were its offsets moved back?", "--at committed", ("item-3",), answers=4
    ),
    "garbage": Mishap(write(b"block/7", b"garbage"), "block/7 in partition 1", "--at committed"),
    "damage": Mishap(damage_the_states, "cannot be read: its checksum is wrong", "--at committed"),
    "a newer format": Mishap(
        write(b"block/1", msgpack.packb({"format": 99})),
        "its format is 99, but this worker reads 1",
        "--at committed",
    ),
    "a bad replay": Mishap(write(b"replay", b"\x00"), "replay in partition 1", "--at committed"),
    "an unknown key": Mishap(write(b"\xffelse", b"x"), "the key is unknown", "--at committed"),
    "a bad number": Mishap(write(b"block/x", b"x"), "the key 'block/x' is not", "--at committed"),
}


def saved_desk() -> Desk:
    """A desk where a user's two clicks are answered and saved, and no worker runs."""
    desk = successor_desk()
    desk.serving()
    desk.click("ada", "item-2", partition=HOME)
    desk.click("ada", "item-3", partition=HOME)
    desk.settle()
    desk.stop()
    return desk


def refusal(desk: Desk) -> str:
    """What a worker says that refuses to serve."""
    with pytest.raises(StateRefused) as refused:
        desk.serving()
    desk.workers.pop("a").worker.loop.end()
    return str(refused.value)


@pytest.mark.parametrize("name", MISHAPS)
def test_what_a_refusal_says_helps(command: Command, name: str) -> None:
    """The worker stops with the reason and a command; after it, as printed, the next worker serves.

    With the states where they are sound, else with empty ones; and from the offset that the command names.
    """
    mishap = MISHAPS[name]
    desk = saved_desk()
    mishap.happens(desk)
    text = refusal(desk)
    found = re.search(r"`nextclick-worker (reset [^`]*)`", text)
    assert found, text
    code, output = command(desk.cluster, *shlex.split(found[1]), "--yes")
    worker = desk.serving()
    desk.click("ada", "item-5", partition=HOME)
    desk.settle()

    assert mishap.says in text
    assert found[1] in (f"reset --partition {HOME} {mishap.does}", f"reset {mishap.does}")
    assert code == 0, output
    assert output.endswith("done\n")
    assert worker.recent("ada") == [*mishap.remembers, "item-5"]
    assert len(desk.answers()) == mishap.answers


def test_a_request_that_cannot_be_read_costs_no_states() -> None:
    """The worker stops rather than skip it, and says how to write it again; then all is as it was."""
    desk = saved_desk()
    write(b"forget/eve", b"\x00")(desk)
    text = refusal(desk)
    desk.forget("eve")
    worker = desk.serving()

    assert "run `nextclick-worker forget eve` to write it again" in text
    assert worker.recent("ada") == ["item-2", "item-3"]


def test_a_request_that_cannot_be_read_stops_a_worker_that_serves() -> None:
    """Whenever it is written: nobody would obey it otherwise."""
    desk = successor_desk()
    desk.serving()
    write(b"forget/eve", b"\x00")(desk)

    with pytest.raises(StateRefused, match="run `nextclick-worker forget eve` to write it again"):
        desk.step(5)


def test_what_a_later_record_replaces_is_no_reason_to_stop() -> None:
    """Only what counts must be readable: compaction may not have removed the other yet."""
    desk = saved_desk()
    write(b"block/7", b"garbage")(desk)
    desk.cluster.produce(desk.topics.state, None, key=b"block/7", partition=HOME)

    assert desk.serving().recent("ada") == ["item-2", "item-3"]
