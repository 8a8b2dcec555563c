"""Types of events in a whole worker: views, purchases, requests and others, with crashes between them."""

from __future__ import annotations

from typing import Any, Final

import orjson
import pytest

from tests.builders import successor_release_parts
from tests.worker.conftest import Command
from tests.worker.desk import Desk
from worker.kafka.memory.broker import Call

EVENTS: Final = {"type": "type", "step": ["view"], "exclude": ["purchase"]}


def shop(**sections: Any) -> Desk:
    """A desk whose clicks have types, all users in one partition; item n + 1 is best after item n."""
    return Desk(partitions=1, release=successor_release_parts(), events=EVENTS, **sections)


def send(desk: Desk, user: str, item: str, kind: str | None = "view") -> int:
    """Send an event; its offset."""
    document = {"user_id": user, "item_id": item, "timestamp": desk.cluster.now_ms, "type": kind}
    return desk.send(orjson.dumps(document))


def lists(desk: Desk) -> dict[int, list[str]]:
    """The committed lists, by the offset of their click."""
    answers = [orjson.loads(one.value or b"") for one in desk.answers()]
    return {one["event"]["offset"]: one["items"] for one in answers}


def test_each_type_does_what_it_is_set_to_do() -> None:
    """Views are answered; purchases are not, and take the item away; the rest is skipped and counted."""
    desk = shop()
    worker = desk.serving()
    view = send(desk, "ada", "item-2")
    desk.settle()
    for kind in ("purchase", "search", "request", None):
        send(desk, "ada", "item-3", kind)
    desk.settle()
    again = send(desk, "ada", "item-2")
    desk.settle()

    found = lists(desk)
    assert found.keys() == {view, again}
    assert found[view][0] == "item-3"
    assert "item-3" not in found[again]
    assert desk.letters() == []
    assert worker.metric("nextclick_clicks_total") == 2
    assert worker.metric("nextclick_bought_items_total") == 1
    assert worker.metric("nextclick_users_with_bought_items") == 1
    assert worker.metric("nextclick_skipped_total", reason="type") == 2
    assert worker.metric("nextclick_skipped_total", reason="request") == 1
    assert worker.metric("nextclick_records_total", became="clicks") == 3
    assert worker.metric("nextclick_clicks_without_list_total", reason="superseded") == 0


@pytest.mark.parametrize("saved", [False, True])
@pytest.mark.parametrize("call", ["send", "commit"])
@pytest.mark.parametrize("after", [False, True])
def test_a_crash_forgets_no_purchase(call: Call, after: bool, saved: bool) -> None:
    """Before or after an answer is sent or committed, and whether the states were saved before."""
    desk = shop(state={"flush_interval": 0.4 if saved else 300.0})
    desk.serving()
    send(desk, "bob", "item-5", "purchase")
    send(desk, "ada", "item-1")
    send(desk, "ada", "item-3", "purchase")
    desk.settle()
    if saved:
        desk.until(lambda: desk.saved().get(0) == 3, "the states to be saved")
    desk.cluster.crash_at(call, after=after)
    send(desk, "ada", "item-7", "purchase")
    send(desk, "eve", "item-7")
    desk.until(lambda: not desk.workers, "the crash")
    desk.restart()
    clicks = {send(desk, "ada", "item-2"): "item-3", send(desk, "ada", "item-6"): "item-7"}
    clicks[send(desk, "bob", "item-4")] = "item-5"
    desk.settle()

    found = lists(desk)
    assert all(item not in found[offset] for offset, item in clicks.items())


def test_who_only_bought_is_evicted_in_the_end_and_not_before() -> None:
    """After `user_ttl`, which is not shorter than what is left out."""
    desk = shop(state={"flush_interval": 0.4, "user_ttl": 30 * 86_400.0})
    worker = desk.serving()
    send(desk, "ada", "item-3", "purchase")
    desk.settle()
    for days, users in ((29, {"ada", "bob"}), (2.1, {"bob"})):
        desk.advance(days * 86_400)
        send(desk, "bob", "item-1")
        desk.settle()
        desk.until(lambda: not worker.metric("nextclick_unsaved_users"), "the states to be saved")
        assert {user for user in ("ada", "bob") if worker.known(user)[0]} == users


def test_what_was_shown_too_often_is_left_out_until_a_restart() -> None:
    """Counts are in memory only; they need no types of events."""
    desk = Desk(partitions=1, release=successor_release_parts(), events={"fatigue": 2}, recommend={"top": 1})
    desk.serving()
    firsts = list[bool]()
    for restart in (False, False, False, True):
        if restart:
            desk.restart()
        offset = desk.click("ada", "item-2")
        desk.settle()
        firsts.append(lists(desk)[offset][0] == "item-3")

        known = desk.workers["a"].known("ada")[1]["recommendations"]["items"]
        assert (known != ["item-3"]) == (firsts.count(True) == 2)

    assert firsts == [True, True, False, True]


def test_user_shows_what_was_bought(command: Command) -> None:
    """In the topic and in the worker alike, with the time until which it is left out."""
    desk = shop(state={"flush_interval": 0.4})
    worker = desk.serving()
    send(desk, "ada", "item-3", "purchase")
    desk.settle()
    desk.until(lambda: desk.saved().get(0) == 1, "the state to be saved")
    options = ["--set", "events.type=type", "--set", "events.exclude=purchase"]

    code, text = command(desk.cluster, "user", *options, "ada")

    (bought,) = worker.known("ada")[1]["bought_items"]
    assert bought["item_id"] == "item-3"
    assert 30 <= (bought["excluded_until"] - desk.cluster.now_ms) / 86_400_000 <= 31
    assert code == 0
    assert "bought items, oldest first: item-3 (until " in text
    assert "last click: none" in text
