"""Items in service: what the topic and the clock say reaches every list, under every release."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import orjson
import pytest
from structlog.typing import EventDict

from tests.builders import ITEMS, successor_release_parts, tiny_release_parts
from tests.worker.desk import Desk, DeskWorker, successor_desk
from tests.worker.items.test_letters import item_desk
from tests.worker.topics.test_rights import all_of
from worker.commands.check import roles
from worker.errors import NotAllowed
from worker.kafka import history
from worker.kafka.interface import MAX_BATCH, Record
from worker.topics.releases import CANDIDATE
from worker.topics.watch import LOOK_SECONDS

GONE: Final = None
SOLD_OUT: Final[Mapping[str, Any]] = {"available": False}
BACK: Final[Mapping[str, Any]] = {}


def describe(desk: Desk, item: str, document: Mapping[str, Any] | None) -> None:
    """Write a record of an item."""
    value = None if document is None else orjson.dumps(document)
    desk.cluster.produce("items", value, key=item.encode())


def lists(desk: Desk) -> list[dict[str, Any]]:
    """All lists, in the order of their clicks."""
    found = [orjson.loads(one.value or b"") for one in desk.answers()]
    return sorted(found, key=lambda one: (one["event"]["partition"], one["event"]["offset"]))


def answer(desk: Desk, item: str, user: str = "ada") -> dict[str, Any]:
    """The list that follows a click."""
    desk.click(user, item, partition=0)
    desk.settle()
    return lists(desk)[-1]


def shown(desk: Desk, item: str = "item-2") -> list[str]:
    """The items of the list that follows a click."""
    items: list[str] = answer(desk, item)["items"]
    return items


def test_a_change_takes_effect_between_two_batches_of_a_poll(monkeypatch: pytest.MonkeyPatch) -> None:
    """A poll may bring clicks for seconds of work."""
    # No time passes within a round: with so short an interval, a commit is due after each batch.
    desk = item_desk(commit_interval=1e-300, recommend={"publish": "latest"})
    loop = desk.serving().worker.loop
    commit = loop._commit_midway

    def commit_and_sell_out(seconds: float, polled: list[Record]) -> None:
        commit(seconds, polled)
        describe(desk, "item-3", SOLD_OUT)

    monkeypatch.setattr(loop, "_commit_midway", commit_and_sell_out)
    for _ in range(3):
        desk.send(orjson.dumps([{"user_id": "ada", "item_id": "item-2"}] * MAX_BATCH))
    desk.settle()

    assert ["item-3" in one["items"] for one in lists(desk)] == [True, True, False]


def test_an_item_that_is_sold_out_is_in_no_list_any_more() -> None:
    """From the first batch after its record; when it is back, it is where it was."""
    desk = item_desk()
    desk.serving()
    before = shown(desk)
    describe(desk, "item-3", SOLD_OUT)
    without = shown(desk)
    describe(desk, "item-3", BACK)

    assert before[0] == "item-3"
    assert without == [one for one in before if one != "item-3"]
    assert shown(desk) == before
    desk.assert_answered_once()


def test_a_record_takes_effect_in_the_batch_that_comes_after_it() -> None:
    """Not one round later."""
    desk = item_desk()
    desk.serving()
    desk.step(50)
    describe(desk, "item-3", SOLD_OUT)
    desk.click("ada", "item-2", partition=0)
    desk.step(1)

    (found,) = (orjson.loads(one.value or b"") for one in desk.answers(committed=False))
    assert "item-3" not in found["items"]


@pytest.mark.parametrize("document", [GONE, {"available": 0}, {"valid_until": "2001-01-01"}])
def test_all_ways_to_be_unavailable(document: Mapping[str, Any] | None) -> None:
    """No value, no stock, or not valid any more."""
    desk = item_desk()
    describe(desk, "item-3", document)
    worker = desk.serving()

    assert "item-3" not in shown(desk)
    assert worker.metric("nextclick_items_unavailable_in_catalogue") == 1


def test_the_clock_makes_items_available_and_unavailable() -> None:
    """To the second, without another record; in whatever order their times were written."""
    desk = item_desk()
    now_ms = desk.cluster.now_ms
    describe(desk, "item-4", {"valid_until": now_ms + 200_000})
    describe(desk, "item-3", {"valid_from": now_ms + 100_000, "valid_until": now_ms + 300_000})
    desk.serving()
    found = []
    for second in (99, 101, 199, 201, 299, 301):
        desk.advance((now_ms + 1000 * second - desk.cluster.now_ms) / 1000)
        items = shown(desk)
        found.append(("item-3" in items, "item-4" in items))

    assert found == [(False, True), (True, True), (True, True), (True, False), (True, False), (False, False)]


def test_every_release_heeds_it() -> None:
    """A champion that is adopted later, and a candidate."""
    desk = item_desk()
    desk.serving()
    describe(desk, "item-3", SOLD_OUT)
    desk.step(5)
    desk.publish(*successor_release_parts(session_gap_seconds=7.0))
    desk.until(lambda: desk.workers["a"].metric("nextclick_release") == 2, "the new champion")
    champion = answer(desk, "item-2")
    desk.publish(*tiny_release_parts(), pointer=CANDIDATE)
    desk.until(lambda: desk.workers["a"].metric("nextclick_candidate") == 3, "the candidate")
    for number in range(40):
        desk.click(f"user-{number}", "item-2", partition=0)
    describe(desk, "item-4", SOLD_OUT)
    desk.step(1)
    for number in range(40):
        desk.click(f"user-{number}", "item-2", partition=0)
    desk.settle()

    assert champion["release"] == 2
    assert {one["release"] for one in lists(desk)[-40:]} == {2, 3}
    assert not [one for one in lists(desk)[-80:] if "item-3" in one["items"]]
    assert not [one for one in lists(desk)[-40:] if "item-4" in one["items"]]


def test_the_fallback_list_has_the_next_popular_items() -> None:
    """In their order."""
    desk = item_desk(recommend={"top": 3, "publish": "every", "publish_max_age": 0})
    desk.serving()
    before = answer(desk, "unknown")
    describe(desk, before["items"][1], SOLD_OUT)
    popular = [*ITEMS[::-1][:4]]

    after = answer(desk, "unknown")

    assert (before["reason"], before["items"]) == ("cold", popular[:3])
    assert (after["reason"], after["items"]) == ("cold", [popular[0], *popular[2:]])


def test_a_list_is_shorter_if_too_few_items_are_available() -> None:
    """And empty if none is."""
    desk = item_desk()
    desk.serving()
    for item in ITEMS:
        if item not in ("item-3", "item-7"):
            describe(desk, item, SOLD_OUT)
    few = answer(desk, "item-2")
    describe(desk, "item-3", GONE)
    describe(desk, "item-7", GONE)
    none = answer(desk, "item-2")

    assert (few["items"], len(few["scores"])) == (["item-3", "item-7"], 2)
    assert (none["items"], none["scores"], none["reason"]) == ([], [], "model")
    assert answer(desk, "unknown", "bob")["items"] == []


def test_a_bad_record_changes_nothing() -> None:
    """The last good one stands."""
    desk = item_desk()
    worker = desk.serving()
    describe(desk, "item-3", SOLD_OUT)
    describe(desk, "item-3", {"available": "perhaps"})

    assert "item-3" not in shown(desk)
    assert worker.metric("nextclick_items") == 1


def test_a_worker_is_ready_when_it_has_read_all_items(
    logged: list[EventDict], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says how many are left; before that it is not in the group, so nobody waits for it."""
    monkeypatch.setattr(history, "FETCH", {"max_poll_records": 2})
    desk = item_desk()
    for number in range(7):
        describe(desk, f"item-{number}", SOLD_OUT)
    worker = desk.new()
    loop, said = worker.worker.loop, list[str]()
    (items,) = loop._followed
    loop._await(loop._adoption)
    items.start()
    while not items.wait(0):
        said.append(worker.reason)

    assert said == [f"reading the items: {left} records are left" for left in (5, 3, 1)]
    (line,) = (one for one in logged if one["event"] == "read the items")
    assert (line["items"], line["unavailable"], line["in_catalogue"], line["refused"]) == (7, 7, 7, {})
    assert worker.metric("nextclick_items_left_records") == 0


def test_metrics_count_items() -> None:
    """Those described, those unavailable, and how many of these the champion knows."""
    desk = item_desk()
    worker = desk.serving()
    for item, document in (("item-1", {}), ("item-2", SOLD_OUT), ("item-3", GONE), ("unknown", SOLD_OUT)):
        describe(desk, item, document)
    desk.step(3)

    names = ("items", "items_unavailable", "items_unavailable_in_catalogue")
    assert [worker.metric(f"nextclick_{name}") for name in names] == [3, 3, 2]


def test_without_a_right_to_the_items_no_worker_starts() -> None:
    """It says why."""
    desk = item_desk()
    worker = desk.new()
    desk.cluster.restrict(
        worker.connection, [one for one in all_of(roles(desk.settings())[0]) if one.name != "items"]
    )

    with pytest.raises(NotAllowed, match="items"):
        worker.begin()


def test_while_the_items_cannot_be_read_what_is_known_stands(logged: list[EventDict]) -> None:
    """The worker serves on, and /readyz says that the items are not up to date."""
    desk = item_desk()
    describe(desk, "item-3", SOLD_OUT)
    worker = desk.serving()
    every = all_of(roles(desk.settings())[0])
    desk.cluster.restrict(worker.connection, [one for one in every if one.name != "items"])
    desk.advance(2 * LOOK_SECONDS)
    describe(desk, "item-4", SOLD_OUT)
    items, remark, reason = shown(desk), worker.process.readiness.remarks["items"], worker.reason
    desk.cluster.restrict(worker.connection, every)
    desk.step(5)

    assert ("item-3" in items, "item-4" in items) == (False, True)
    assert reason == ""
    assert remark.startswith("the items are not up to date: ")
    assert "item-4" not in shown(desk)
    assert worker.process.readiness.remarks == {"items": ""}
    assert [one for one in logged if one["event"] == "the items are not up to date"]


def test_a_topic_that_is_created_again_is_read_and_what_is_known_stands() -> None:
    """Until a new record says something else."""
    desk = item_desk()
    describe(desk, "item-3", SOLD_OUT)
    describe(desk, "item-4", SOLD_OUT)
    desk.serving()
    desk.cluster.delete("items")
    desk.make_topics()
    describe(desk, "item-4", BACK)
    describe(desk, "item-5", SOLD_OUT)
    desk.advance(LOOK_SECONDS)
    desk.step(10)
    items = shown(desk)

    assert [one in items for one in ("item-3", "item-4", "item-5")] == [False, True, False]
    desk.restart()
    items = shown(desk)
    assert [one in items for one in ("item-3", "item-4", "item-5")] == [True, True, False]


def test_what_is_known_survives_a_crash() -> None:
    """Everything is read again."""
    desk = item_desk()
    desk.serving()
    describe(desk, "item-3", SOLD_OUT)
    describe(desk, "item-3", BACK)
    describe(desk, "item-4", SOLD_OUT)
    desk.cluster.compact("items")
    desk.restart()
    items = shown(desk)

    assert ("item-3" in items, "item-4" in items) == (True, False)
    desk.assert_answered_once()


def test_a_query_about_a_user_heeds_it() -> None:
    """Its list is the one that would be published."""
    desk = item_desk()
    worker: DeskWorker = desk.serving()
    answer(desk, "item-2")
    describe(desk, "item-3", SOLD_OUT)

    assert "item-3" not in worker.known("ada")[1]["recommendations"]["items"]


def test_without_the_topic_every_bit_is_as_it_was() -> None:
    """Of lists and states; with an empty topic, too."""
    desks = [successor_desk(), item_desk()]
    for desk in desks:
        desk.serving()
        for number in range(30):
            desk.click(f"user-{number % 5}", f"item-{number % 9}")
        desk.settle()

    records = [
        [(one.partition, one.key, one.value, one.headers) for one in (*desk.answers(), *desk.states())]
        for desk in desks
    ]
    assert records[0] == records[1]
