"""Recovery: what was clicked before a crash counts after it, no click twice, and nobody waits without end."""

from __future__ import annotations

from dataclasses import replace

import pytest
from structlog.typing import EventDict

from tests.builders import ITEMS, successor_release_parts, tiny_release_parts
from tests.records import Record
from tests.reference import Reference
from tests.remembered import USERS, assert_remembered, clicks
from tests.worker.desk import Desk, records, successor_desk
from tests.worker.judging import assert_sound, problems
from worker.core.ranking import OwnItems
from worker.core.release import Pointer, to_records, verify

SELDOM = {"flush_interval": 3_600}


def clicked(desk: Desk, count: int = 20, *, first: int = 0) -> None:
    """Clicks of five users in all partitions."""
    for number in range(first, first + count):
        desk.click(f"user-{number % 5}", ITEMS[number * 7 % 12], partition=number % desk.partitions)


@pytest.mark.parametrize("interval", [0.4, 3_600], ids=["from blocks", "from replay"])
def test_what_was_clicked_before_a_crash_counts(interval: float) -> None:
    """kill -9: the states come back from blocks, from replay, or from both, no click twice in them."""
    desk = Desk(state={"flush_interval": interval})
    desk.serving()
    clicked(desk)
    desk.settle()
    desk.step(40)
    worker = desk.restart()
    clicked(desk, first=20)
    desk.settle()

    assert worker.metric("nextclick_replayed_clicks_total") == (0 if interval < 1 else 20)
    assert worker.metric("nextclick_recovery_users_total") == (10 if interval < 1 else 0)
    assert_sound(desk)


@pytest.mark.parametrize("interval", [0.4, 3_600], ids=["from blocks", "from replay"])
def test_a_users_own_items_are_those_before_a_crash(interval: float) -> None:
    """More of them than a row keeps without a release that counts them, across sessions."""
    desk = Desk(state={"flush_interval": interval}, publish=False)
    parts = tiny_release_parts(own_items=OwnItems(64, 3.0, 30.0))
    desk.publish(*parts)
    desk.serving()
    sent: list[Record] = []
    for turn in range(3):
        turned = clicks(USERS * 25, first=turn * USERS * 25, partitions=desk.partitions)
        sent += [replace(one, offset=desk.send(one.value, partition=one.partition or 0)) for one in turned]
        desk.settle()
        desk.step(40)
        desk.restart()
    asked, sent = sent[-USERS:], sent[:-USERS]

    assert_remembered(Reference(*parts, ITEMS), sent, asked, records(desk.answers()))
    desk.assert_answered_once()


def test_partitions_are_served_while_another_is_recovered() -> None:
    """Who has to load much delays nobody else."""
    desk = Desk(partitions=3, state=SELDOM)
    desk.serving("a")
    desk.start("b")
    desk.settle()
    clicked(desk, 90)
    desk.settle()
    desk.kill("b")
    desk.advance(11)
    worker = desk.workers["a"]
    desk.until(worker.worker.table.recovering, "the partitions of the other")
    served = worker.served
    clicked(desk, 3)
    desk.step()

    assert served
    assert len(desk.answers(committed=False)) > 90

    desk.settle()
    assert_sound(desk)


@pytest.mark.parametrize("interval", [0.4, 3_600], ids=["from blocks", "from replay"])
def test_the_users_of_a_lost_worker_are_not_too_many(interval: float) -> None:
    """The limit holds while they are loaded: those who have been idle for longest are evicted."""
    desk = Desk(partitions=4, state={"flush_interval": interval, "max_users": 40})
    desk.serving("a")
    desk.start("b")
    desk.settle()
    for number in range(64):
        desk.click(f"user-{number}", partition=number % 4, timestamp=desk.cluster.now_ms + number)
    desk.settle()
    desk.step(40)
    states = desk.workers["a"].worker.states
    before = len(states)
    desk.kill("b")
    desk.advance(11)
    desk.settle()

    assert before == 32
    assert desk.workers["a"].served == {0, 1, 2, 3}
    assert 38 <= len(states) <= 40
    assert all(states.find(number % 4, f"user-{number}") is not None for number in range(32, 64))


def test_nothing_is_replayed_into_a_partition_that_never_had_a_click() -> None:
    """Only what moved leaves records in the state topic."""
    desk = Desk(partitions=4, state=SELDOM)
    desk.serving()
    desk.click("ada", partition=2)
    desk.settle()
    worker = desk.restart()

    assert worker.metric("nextclick_replayed_clicks_total") == 1
    assert {one.partition for one in desk.states()} == {2}


def test_clicks_that_retention_deleted_are_missed_and_counted(logged: list[EventDict]) -> None:
    """Replay goes on with what is left; the worker says how many offsets it lacked."""
    desk = Desk(partitions=1, state=SELDOM)
    desk.serving()
    for number in (1, 2, 3, 4):
        desk.click("ada", ITEMS[number])
    desk.settle()
    desk.kill()
    desk.cluster.delete_before(desk.topics.clicks, 0, 2)
    worker = desk.restart()

    assert worker.recent("ada") == ["item-3", "item-4"]
    assert worker.metric("nextclick_replay_missing_records_total") == 2
    assert worker.metric("nextclick_unanswered_records_total") == 0
    assert len(desk.answers()) == 4
    assert [one["first"] for one in logged if one["event"].startswith("retention deleted")] == [0]


def test_clicks_that_retention_deleted_before_they_were_answered_are_counted() -> None:
    """A worker that was away for too long goes on at the first click that is left."""
    desk = Desk(partitions=1)
    desk.serving()
    desk.click("ada", "item-1")
    desk.settle()
    desk.stop()
    for number in (2, 3, 4, 5):
        desk.click("ada", ITEMS[number])
    desk.cluster.delete_before(desk.topics.clicks, 0, 4)
    worker = desk.serving()

    assert worker.recent("ada") == ["item-1", "item-5"]
    assert worker.metric("nextclick_replay_missing_records_total") == 3
    assert worker.metric("nextclick_unanswered_records_total") == 3
    assert len(desk.answers()) == 2


def test_clicks_that_retention_deleted_and_nobody_saw_are_not_missed() -> None:
    """A group that begins where the topic does lacks nothing."""
    desk = Desk(partitions=1)
    for number in (1, 2, 3):
        desk.click("ada", ITEMS[number])
    desk.cluster.delete_before(desk.topics.clicks, 0, 2)
    worker = desk.serving()

    assert worker.recent("ada") == ["item-3"]
    assert worker.metric("nextclick_replay_missing_records_total") == 0


def test_users_are_known_under_the_next_release() -> None:
    """With a champion of another cell and size hidden states are rebuilt from recent items."""
    desk = Desk(state=SELDOM)
    desk.serving()
    clicked(desk)
    desk.settle()
    desk.stop()
    parts = tiny_release_parts(hidden_size=12, cell="lstm")
    desk.publish(*parts)
    desk.serving()
    clicked(desk, first=20)
    desk.settle()
    desk.stop()

    assert problems(desk, verify(*parts, number=2)) == []


def without_its_release() -> Desk:
    """A desk whose states were saved under release 2, which cannot be read any more."""
    desk = successor_desk(state=SELDOM)
    parts = successor_release_parts(popular=["item-3"])
    desk.publish(*parts)
    desk.serving()
    clicked(desk)
    desk.settle()
    desk.kill()
    for one in to_records(2, *parts):
        desk.cluster.produce(desk.topics.releases, None, key=one.key.encode())
    desk.cluster.produce(desk.topics.releases, Pointer(1).value(), key=b"@champion")
    return desk


def test_replay_waits_for_a_release_that_another_worker_had() -> None:
    """Hidden states must be stepped by the release that they were saved under; it is on its way."""
    desk = without_its_release()
    worker = desk.start()
    desk.cluster.advance(11)
    desk.step(20)

    assert worker.served == set()
    assert "waiting for release 2, which was in service when the states were saved" in worker.reason

    desk.publish(*successor_release_parts())
    desk.settle()

    assert worker.metric("nextclick_replayed_clicks_total") == 20
    desk.assert_answered_once()


def test_replay_does_not_wait_for_ever() -> None:
    """A release that does not come in ten seconds is done without."""
    desk = without_its_release()
    worker = desk.start()
    desk.cluster.advance(11)
    desk.step(20)

    assert worker.served == set()

    desk.step(200)

    assert worker.served == {0, 1}
    assert worker.metric("nextclick_replayed_clicks_total") == 20


def test_a_partition_waits_for_the_transaction_of_its_predecessor() -> None:
    """Its offset may still change: the worker says so, and serves once it cannot."""
    desk = Desk(partitions=1, commit_interval=5.0, state=SELDOM)
    desk.serving()
    clicked(desk, 3)
    desk.settle()
    clicked(desk, 3)
    desk.step(2)
    desk.cluster.hold_marks()
    desk.step(100)
    desk.kill()
    desk.start("b")
    desk.advance(11)
    desk.step(5)

    assert "the last transaction of partition 0 is still open" in desk.workers["b"].reason

    desk.cluster.write_marks()
    desk.settle()
    assert_sound(desk)


def test_people_are_told_how_far_recovery_is() -> None:
    """In /readyz: how many users and clicks so far, and how long about it will take."""
    desk = Desk(partitions=1, state=SELDOM)
    desk.serving()
    clicked(desk, 3_000)
    desk.settle()
    desk.kill()
    worker = desk.start()
    desk.advance(11)
    reasons = set()
    for _ in range(60):
        desk.step()
        reasons.add(worker.reason)

    assert any("clicks replayed, about" in reason and " 0 clicks" not in reason for reason in reasons)
    assert worker.reason == ""


def test_what_keeps_a_partition_from_being_read_is_said() -> None:
    """And the worker goes on by itself when it is over."""
    desk = Desk(partitions=1)
    worker = desk.start()
    desk.cluster.delete(desk.topics.state)
    desk.step(5)

    assert "there is no topic desk.state" in worker.reason

    desk.cluster.create(desk.topics.state, partitions=1)
    desk.settle()
    assert worker.reason == ""
