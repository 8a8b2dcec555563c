"""Releases come and go while a worker serves: nothing is lost, nothing doubled, nobody is forgotten."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final, Unpack

import pytest

from tests.broken import RELEASES
from tests.builders import ITEMS, Options, successor_release_parts, tiny_release_parts
from tests.records import Record
from tests.reference import Reference
from tests.remembered import USERS, assert_remembered, clicks
from tests.worker.desk import Desk, DeskWorker, records
from worker.core.ranking import OwnItems
from worker.core.release import Pointer, to_records
from worker.core.serving import chosen
from worker.topics import releases
from worker.topics.releases import CANDIDATE, CHAMPION

LARGER: Final[Options] = {"hidden_size": 12, "cell": "lstm", "seed": 3}
"""A release whose states have another size."""


def send(desk: Desk, count: int, *, first: int = 0) -> list[Record]:
    """Send clicks of `tests.remembered`; as they stand in the topic."""
    sent = clicks(count, first=first, partitions=desk.partitions)
    return [replace(one, offset=desk.send(one.value, partition=one.partition or 0)) for one in sent]


def publish(desk: Desk, **options: Unpack[Options]) -> Reference:
    """Publish a champion; the definition of what it answers."""
    parts = tiny_release_parts(**options)
    desk.publish(*parts)
    return Reference(*parts, ITEMS)


def produce(desk: Desk, found: Sequence[tuple[str, bytes | None]]) -> None:
    """Have anyone write to the topic of releases."""
    for key, value in found:
        desk.cluster.produce(desk.topics.releases, value, key=key.encode())


def adopted(desk: Desk, worker: DeskWorker, number: int) -> None:
    """Step until a release serves."""
    desk.until(lambda: worker.metric("nextclick_release") == number, f"release {number} to serve")


def made_by(desk: Desk) -> list[int]:
    """The releases that made the answers, in the order of their partitions."""
    return [one.json["release"] for one in records(desk.answers())]


def test_a_release_is_adopted_between_two_batches() -> None:
    """Every click is answered once, in order, and from some click of its partition on by the new one."""
    desk = Desk()
    worker = desk.serving()
    for number in range(60):
        desk.click(f"user-{number % 6}", partition=number % 2)
        if number == 20:
            publish(desk, **LARGER)
        desk.step()
    desk.settle()

    desk.assert_answered_once()
    assert worker.metric("nextclick_release") == 2
    for partition in range(2):
        found = [one.json["release"] for one in records(desk.answers()) if one.partition == partition]
        assert found == sorted(found)
        assert set(found) == {1, 2}


def test_users_are_rebuilt_in_the_background() -> None:
    """All of them while nobody clicks, whatever the size of their states; they are known as before."""
    desk = Desk()
    worker = desk.serving()
    sent = send(desk, 400)
    desk.settle()
    reference = publish(desk, **LARGER)
    adopted(desk, worker, 2)
    desk.until(lambda: worker.metric("nextclick_rebuild_left_users") == 0, "all to be rebuilt")
    asked = send(desk, USERS, first=400)
    desk.settle()

    assert_remembered(reference, sent, asked, records(desk.answers()))
    assert worker.metric("nextclick_rebuilt_users_total", by="background") == USERS


def test_users_who_click_at_once_are_rebuilt_by_their_click() -> None:
    """Before it is answered, though the background has not come to them."""
    desk = Desk()
    worker = desk.serving()
    sent = send(desk, 400)
    desk.settle()
    reference = publish(desk, **LARGER)
    asked = send(desk, USERS, first=400)
    desk.settle()

    assert_remembered(reference, sent, asked, records(desk.answers()))
    assert worker.metric("nextclick_rebuilt_users_total", by="click") == USERS


def test_a_release_with_own_items_makes_rows_keep_more() -> None:
    """While it is adopted: what a row kept so far counts, and the clicks that follow, beyond those twenty.

    A release that needs less leaves the rows as they are.
    """
    desk = Desk()
    worker = desk.serving()
    states = worker.worker.states
    sent = send(desk, 400)
    desk.settle()
    before = states.recent_items
    reference = publish(desk, seed=3, own_items=OwnItems(64, 4.0, 30.0))
    adopted(desk, worker, 2)
    sent += send(desk, 20 * USERS, first=400)
    desk.settle()
    asked = send(desk, USERS, first=400 + 20 * USERS)
    desk.settle()

    assert_remembered(reference, sent, asked, records(desk.answers()))
    assert (before, states.recent_items) == (20, 64)

    publish(desk)
    adopted(desk, worker, 3)
    assert states.recent_items == 64


def test_a_candidate_with_own_items_finds_the_rows_it_needs() -> None:
    """The champion serves the other users as before."""
    desk = Desk()
    worker = desk.serving()
    parts = tiny_release_parts(seed=5, own_items=OwnItems(30, 2.0, 8.0))
    releases.publish(desk.connection, desk.topics.releases, *parts, pointer=CANDIDATE, share=0.4)
    desk.until(lambda: worker.metric("nextclick_candidate") == 2, "the candidate to be tried")
    send(desk, 30 * USERS)
    desk.settle()

    assert worker.worker.states.recent_items == 30
    assert set(made_by(desk)) == {1, 2}
    desk.assert_answered_once()


def test_a_rollback_is_a_pointer_going_back() -> None:
    """The former release serves again, and knows what was clicked under the other one."""
    desk = Desk(publish=False)
    reference = publish(desk)
    worker = desk.serving()
    sent = send(desk, 200)
    desk.settle()
    publish(desk, seed=5)
    adopted(desk, worker, 2)
    sent += send(desk, 200, first=200)
    desk.settle()
    back = {CHAMPION: Pointer(1)}
    releases.point(desk.connection, desk.topics.releases, back, expected={CHAMPION: 2})
    adopted(desk, worker, 1)
    asked = send(desk, USERS, first=400)
    desk.settle()

    assert_remembered(reference, sent, asked, records(desk.answers()))


def test_a_candidate_serves_its_share() -> None:
    """Its users and nobody else's, until it is promoted; not one click is lost or doubled on the way."""
    desk, names = Desk(), [f"user-{number}" for number in range(USERS)]
    worker, topic = desk.serving(), desk.topics.releases
    parts = tiny_release_parts(seed=5, hidden_size=12)
    releases.publish(desk.connection, topic, *parts, pointer=CANDIDATE, share=0.4)
    desk.until(lambda: worker.metric("nextclick_candidate") == 2, "the candidate to be tried")
    send(desk, 200)
    desk.settle()
    flags = chosen(names, number=2, share=0.4)
    tried = {name for name, flag in zip(names, flags, strict=True) if flag}

    for answer in records(desk.answers()):
        assert answer.json["release"] == (2 if answer.json["user_id"] in tried else 1)
    assert worker.metric("nextclick_candidate_share") == 0.4
    assert len(tried) not in (0, USERS)

    promotion = {CHAMPION: Pointer(2), CANDIDATE: None}
    releases.point(desk.connection, topic, promotion, expected={CANDIDATE: 2})
    adopted(desk, worker, 2)
    sent = send(desk, 200, first=200)
    desk.settle()

    later = {(one.partition, one.offset) for one in sent}
    events = [(one.json["event"], one.json["release"]) for one in records(desk.answers())]
    desk.assert_answered_once()
    assert {by for at, by in events if (at["partition"], at["offset"]) in later} == {2}
    assert worker.metric("nextclick_candidate") == 0


def test_what_is_refused_changes_nothing() -> None:
    """The old release serves on; the worker stays ready and says what it refused and why."""
    desk = Desk()
    worker = desk.serving()
    manifest, blob = tiny_release_parts(seed=9)
    produce(desk, [*to_records(2, manifest, blob[:-1] + b"?"), (CHAMPION, Pointer(2).value())])
    desk.until(lambda: worker.process.readiness.remark, "the refusal")
    remark = worker.process.readiness.remark
    send(desk, 40)
    desk.settle()

    assert worker.reason == ""
    assert "release 2 was refused" in remark
    assert "SHA-256" in remark
    assert set(made_by(desk)) == {1}
    assert worker.metric("nextclick_releases_refused_total", reason="checksum") == 1

    publish(desk, seed=9)
    adopted(desk, worker, 3)

    assert worker.process.readiness.remark == ""


@pytest.mark.parametrize("kind", ["a chunk is missing", "a weight is NaN", "the format is older"])
def test_the_broken_do_not_serve(kind: str) -> None:
    """A handful of the kinds that `tests.broken` knows, in front of a worker that goes on."""
    desk = Desk()
    worker = desk.serving()
    reason, broken = RELEASES[kind]
    produce(desk, [*broken(2), (CHAMPION, Pointer(2).value())])
    desk.until(lambda: worker.metric("nextclick_releases_refused_total", reason=reason) == 1, "a refusal")
    send(desk, 40)
    desk.settle()

    desk.assert_answered_once()
    assert worker.metric("nextclick_release") == 1
    assert worker.reason == ""


def test_before_the_first_release_the_reason_is_said() -> None:
    """That there is none; that the one there is refused; then it serves."""
    desk = Desk(publish=False)
    worker = desk.new()
    said: list[str] = []

    def meanwhile() -> None:
        worker.worker.adoption.wait(0)
        said.append(worker.reason)

    meanwhile()
    produce(desk, [(CHAMPION, Pointer(1).value())])
    meanwhile()
    publish(desk)
    desk.workers["a"].begin()
    desk.settle()

    assert "no release: topic nextclick.releases has no @champion" in said[0]
    assert "the champion was refused: " in said[1]
    assert worker.metric("nextclick_release") == 1


@pytest.mark.parametrize("rounds", [0, 1, 2, 3])
def test_a_worker_that_is_killed_while_it_adopts(rounds: int) -> None:
    """Whatever it had got to: who comes after it serves the champion, and each click is answered once."""
    desk = Desk()
    desk.serving()
    sent = send(desk, 200)
    desk.settle()
    reference = publish(desk, seed=5, hidden_size=12)
    sent += send(desk, 100, first=200)
    desk.step(rounds)

    worker = desk.restart()
    asked = send(desk, USERS, first=300)
    desk.settle()

    desk.assert_answered_once()
    assert_remembered(reference, sent, asked, records(desk.answers()))
    assert worker.metric("nextclick_release") == 2


def test_a_topic_of_releases_that_is_gone_is_waited_for() -> None:
    """The worker says so, keeps its release, and goes on when the topic is there again."""
    desk = Desk()
    worker = desk.serving()
    desk.cluster.delete(desk.topics.releases)
    reasons = []

    def meanwhile() -> None:
        reasons.append(worker.reason)
        if len(reasons) == 5:
            desk.cluster.create(desk.topics.releases)

    worker.stop_by_hand.meanwhile = meanwhile
    desk.click("ada")
    desk.step(100)
    desk.settle()

    assert "topic nextclick.releases does not exist. Run `nextclick-worker topics`" in reasons[0]
    assert worker.reason == ""
    assert worker.metric("nextclick_release") == 1
    desk.assert_answered_once()


def test_in_a_new_topic_the_numbers_begin_again() -> None:
    """A release under the number of the one that serves is adopted, and every state is rebuilt under it."""
    desk = Desk()
    worker = desk.serving()
    desk.click("ada", "item-7")
    desk.settle()
    desk.cluster.delete(desk.topics.releases)
    desk.cluster.create(desk.topics.releases)
    desk.step(60)
    before = worker.known("ada")[1]["recommendations"]["items"]
    desk.publish(*successor_release_parts())
    desk.step(60)
    answer = worker.known("ada")[1]

    assert worker.metric("nextclick_release") == 1
    assert answer["recommendations"]["items"][0] == "item-8"
    assert before[0] != "item-8"
    assert worker.metric("nextclick_rebuilt_users_total", by="background") == 1


def test_states_of_a_release_in_a_former_topic_are_rebuilt() -> None:
    """Its number says nothing in the topic that was created while no worker ran."""
    desk = Desk()
    desk.serving()
    desk.click("ada", "item-2")
    desk.settle()
    desk.stop()
    desk.cluster.delete(desk.topics.releases)
    desk.cluster.create(desk.topics.releases)
    desk.publish(*successor_release_parts())
    worker = desk.serving()
    desk.step(60)

    assert worker.known("ada")[1]["recommendations"]["items"][0] == "item-3"
    assert worker.metric("nextclick_rebuilt_users_total", by="background") == 1
