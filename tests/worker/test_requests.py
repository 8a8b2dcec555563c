"""Requests in the clicks topic: answered once, in the transaction of their batch."""

from __future__ import annotations

from collections import Counter
from typing import Any, Final

import msgpack
import orjson
import pytest

from tests.builders import ITEMS, successor_release_parts
from tests.worker.desk import Desk
from worker.kafka.memory import MemoryRecord
from worker.kafka.memory.broker import Call

EVENTS: Final = {"type": "type"}


def shop(**sections: Any) -> Desk:
    """A desk whose events have types, all users in one partition; item n + 1 is best after item n."""
    return Desk(partitions=1, release=successor_release_parts(), events=EVENTS, **sections)


def ask(desk: Desk, user: str, request_id: str, **fields: Any) -> int:
    """Send a request; its offset."""
    return desk.send(orjson.dumps(request(desk, user, request_id) | fields))


def request(desk: Desk, user: str, request_id: str) -> dict[str, Any]:
    """The event of a request."""
    return {"type": "request", "user_id": user, "request_id": request_id, "timestamp": desk.cluster.now_ms}


def header(record: MemoryRecord, name: str) -> str | None:
    """The value of a header, if there is one."""
    value = dict(record.headers).get(name)
    return None if value is None else value.decode()


def replies(desk: Desk) -> dict[str, Any]:
    """The committed answers to requests, by the request's id; none has two."""
    found = [one for one in desk.answers() if header(one, "request_id")]
    assert max(Counter(header(one, "request_id") for one in found).values(), default=1) == 1
    return {header(one, "request_id") or "": orjson.loads(one.value or b"") for one in found}


def test_a_request_is_answered_from_the_state_after_its_batch() -> None:
    """All earlier clicks of the user count, and the request itself is none."""
    desk = shop()
    worker = desk.serving()
    desk.click("ada", "item-2")
    offset = ask(desk, "ada", "r1", k=3, placement="cart")
    desk.settle()
    ask(desk, "ada", "r2", k=1)
    desk.settle()

    found = replies(desk)
    (record,) = [one for one in desk.answers() if header(one, "request_id") == "r1"]
    assert header(record, "id") == f"clicks/0/{offset}/r1"
    assert (record.key, record.partition) == (b"ada", 0)
    assert found["r1"]["items"][0] == "item-3"
    assert len(found["r1"]["items"]) == len(found["r1"]["scores"]) == 3
    assert found["r2"]["items"] == ["item-3"]
    event = {"partition": 0, "offset": offset, "item_id": "", "timestamp": sent_at(desk, offset)}
    assert found["r1"] | {"items": [], "scores": [], "produced_at": 0} == {
        "user_id": "ada",
        "items": [],
        "scores": [],
        "release": 1,
        "reason": "model",
        "event": event,
        "produced_at": 0,
        "request_id": "r1",
        "placement": "cart",
    }
    assert len(worker.recent("ada")) == 1
    assert worker.metric("nextclick_requests_total", outcome="model") == 2
    assert worker.metric("nextclick_records_total", became="requests") == 2
    assert worker.metric("nextclick_recommendations_total", reason="model", role="champion") == 1


def sent_at(desk: Desk, offset: int) -> int:
    """The time in an event of the clicks topic."""
    (record,) = [one for one in desk.cluster.read(desk.topics.clicks) if one.offset == offset]
    time: int = orjson.loads(record.value or b"")["timestamp"]
    return time


def test_a_request_may_say_what_it_wants() -> None:
    """Tags, ids to leave out, similar items; an item that nobody knows has none that are similar."""
    desk = shop(topics={"items": "items"})
    for at, item_id in enumerate(ITEMS):
        value = orjson.dumps({"tags": ["red" if at % 2 else "blue"]})
        desk.cluster.produce("items", value, key=item_id.encode())
    worker = desk.serving()
    desk.click("ada", "item-2")
    ask(desk, "ada", "red", only="red", exclude=["item-3"])
    ask(desk, "ada", "similar", item_id="item-5", without=["red"], k=2)
    ask(desk, "ada", "unknown", item_id="nothing")
    ask(desk, "eve", "cold")
    ask(desk, "eve", "empty", only="green")
    ask(desk, "eve", "nothing", only="red", exclude=[item_id for at, item_id in enumerate(ITEMS) if at % 2])
    desk.settle()

    found = replies(desk)
    assert {ITEMS.index(item_id) % 2 for item_id in found["red"]["items"]} == {1}
    assert "item-3" not in found["red"]["items"]
    assert {ITEMS.index(item_id) % 2 for item_id in found["similar"]["items"]} == {0}
    assert (found["similar"]["reason"], found["similar"]["event"]["item_id"]) == ("similar", "item-5")
    assert (found["unknown"]["items"], found["unknown"]["reason"]) == ([], "unknown_item")
    assert (found["cold"]["reason"], len(found["cold"]["items"])) == ("cold", len(ITEMS))
    why = {name: one["empty_because"] for name, one in found.items() if "empty_because" in one}
    assert why == {
        "empty": "no item of release 1 has the tags that the request allows",
        "nothing": "all items that the request allows are unavailable or left out",
    }
    for outcome, count in (("model", 1), ("similar", 1), ("unknown_item", 1), ("cold", 3)):
        assert worker.metric("nextclick_requests_total", outcome=outcome) == count


def test_without_an_items_topic_a_filter_gets_no_list() -> None:
    """The answer says why; other requests are answered."""
    desk = shop()
    worker = desk.serving()
    ask(desk, "eve", "only", only=["red"])
    ask(desk, "eve", "without", without=["red"], item_id="item-5")
    ask(desk, "eve", "plain")
    desk.settle()

    found = replies(desk)
    for name in ("only", "without"):
        assert (found[name]["items"], found[name]["reason"]) == ([], "no_items_topic")
    assert found["plain"]["reason"] == "cold"
    assert worker.metric("nextclick_requests_total", outcome="no_items_topic") == 2


def test_a_bad_request_is_a_dead_letter() -> None:
    """The others of its record are answered."""
    desk = shop()
    worker = desk.serving()
    desk.send(orjson.dumps({"type": "request", "user_id": "ada"}))
    several = [request(desk, "ada", "good"), request(desk, "ada", "bad") | {"k": 0}]
    desk.send(orjson.dumps(several))
    desk.settle()

    assert list(replies(desk)) == ["good"]
    (good,) = [one for one in desk.answers() if header(one, "request_id") == "good"]
    assert header(good, "id") == "clicks/0/1/1/good"
    reasons = [header(one, "nextclick.reason") for one in desk.letters()]
    assert reasons == ["missing_field", "bad_request"]
    assert header(desk.letters()[1], "nextclick.parts") == "[1]: bad_request"
    assert worker.metric("nextclick_records_total", became="dead_letter") == 2


def test_each_answer_to_a_record_has_its_own_id() -> None:
    """Also if one event has a click and several requests."""
    desk = Desk(
        partitions=1,
        release=successor_release_parts(),
        events={"type": "items[].type"},
        click={"item_id": "items[].id"},
    )
    desk.serving()
    items = [{"type": "click", "id": "item-2"}] + [{"type": "request", "request_id": one} for one in "ab"]
    desk.send(orjson.dumps({"user_id": "ada", "items": items, "timestamp": desk.cluster.now_ms}))
    desk.settle()

    assert [header(one, "id") for one in desk.answers()] == ["clicks/0/0", "clicks/0/0/a", "clicks/0/0/b"]

    desk.send(orjson.dumps({"user_id": "ada", "items": [{"type": "request"}]}))
    desk.settle()

    assert [header(one, "nextclick.parts") for one in desk.letters()] == ["missing_field"]


def test_a_request_that_is_too_old_gets_no_list() -> None:
    """Nobody waits for it any more; it is counted."""
    desk = shop(recommend={"publish_max_age": 60.0})
    ask(desk, "ada", "old")
    desk.advance(61)
    ask(desk, "ada", "new")
    worker = desk.serving()
    desk.settle()

    assert list(replies(desk)) == ["new"]
    assert worker.metric("nextclick_requests_total", outcome="too_old") == 1


def test_an_answer_in_message_pack_has_the_id_too() -> None:
    """The formats have the same fields."""
    desk = shop(recommend={"format": "msgpack"})
    desk.serving()
    ask(desk, "ada", "r1")
    desk.settle()

    (record,) = desk.answers()
    assert msgpack.unpackb(record.value or b"")["request_id"] == "r1"


@pytest.mark.parametrize(
    ("call", "after"), [("send", False), ("send", True), ("commit", False), ("commit", True), ("end", False)]
)
@pytest.mark.parametrize("skip", [0, 2])
def test_a_crash_answers_no_request_twice_and_forgets_none(call: Call, after: bool, skip: int) -> None:
    """Wherever it comes; recovery replays clicks without answering what was answered."""
    desk = shop(state={"flush_interval": 300.0})
    desk.serving()
    for number in range(12):
        if number == 6:
            desk.settle()
            desk.cluster.crash_at(call, after=after, skip=skip)
        desk.click("ada", ITEMS[number % 11])
        ask(desk, "ada", f"r{number}", k=1)
        desk.step(2)
    desk.until(lambda: not desk.workers, "the crash")
    desk.restart()
    desk.settle()

    found = replies(desk)
    assert found.keys() == {f"r{number}" for number in range(12)}
    assert all(one["reason"] == "model" for one in found.values())
