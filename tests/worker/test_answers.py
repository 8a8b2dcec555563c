"""Answers to questions, given by the loop between two batches."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any

import numpy as np
import orjson
import pytest

from tests.builders import ITEMS, tiny_release_parts
from tests.worker.desk import Desk, DeskWorker, records, successor_desk
from worker.core.asking import Query
from worker.http.questions import AboutUser, Answer, Asked, ForUser, Question, Similar
from worker.topics.releases import CANDIDATE


def _ask(worker: DeskWorker, user_id: str, **more: Any) -> Answer:
    return worker.ask(ForUser(user_id, more.pop("query", Query(3)), **more))


def _shop(**sections: Any) -> Desk:
    """A desk with an items topic, in which the items with odd numbers are red, the others blue."""
    desk = successor_desk(topics={"items": "items"}, **sections)
    for at, item_id in enumerate(ITEMS):
        value = orjson.dumps({"tags": ["red" if at % 2 else "blue"]})
        desk.cluster.produce("items", value, key=item_id.encode())
    return desk


def test_questions_about_users_are_answered() -> None:
    """What is known of one, and what would be recommended now."""
    desk = successor_desk(partitions=4)
    worker = desk.serving()
    for number in (3, 4):
        desk.click("ada", ITEMS[number], partition=2)
    desk.settle()
    found, known = worker.known("ada")

    assert found
    assert known["recent_items"] == ["item-3", "item-4"]
    assert known["recommendations"]["items"][0] == "item-5"


def test_a_state_is_saved_when_its_block_is_committed() -> None:
    """Not while the block is in the open transaction: a crash would lose it."""
    desk = Desk(partitions=1, commit_interval=1.0, state={"flush_interval": 2.0})
    worker = desk.serving()
    desk.click("ada")
    seen = set()
    for _ in range(200):
        desk.step()
        found, known = worker.known("ada")
        sent, committed = (
            any((one.key or b"").startswith(b"block/") for one in records)
            for records in (desk.cluster.read(desk.topics.state, committed=False), desk.states())
        )
        seen.add((sent, committed))
        assert bool(found and known["saved"]) == committed

    assert seen == {(False, False), (True, False), (True, True)}


def test_of_a_user_who_is_not_here_it_says_who_is() -> None:
    """Another worker may have the partition; and why this one may not have it yet."""
    desk = Desk(partitions=2)
    worker = desk.serving()
    worker.worker.table.drop(1)
    worker.worker.table.assign(1)
    found, known = _at_once(worker, AboutUser("nobody"))

    assert found == 404
    assert known["serves"] == [0]
    assert "no state of this user" in known["error"]
    assert known["not_ready"].startswith("recovering partitions 1")


def test_a_worker_tells_what_it_knows_of_a_user() -> None:
    """While idle too: the row, and the list as it would be published now."""
    desk = successor_desk()
    worker = desk.serving()
    began = desk.cluster.now_ms
    desk.click("a/b ü", "item-3", partition=1, timestamp=began)
    desk.click("a/b ü", "item-5", partition=1, timestamp=began + 1)
    desk.settle()
    answer = records(desk.answers())[-1].json

    here, found = worker.known("a/b ü")

    ranked = found.pop("recommendations")
    assert here
    assert ranked["scores"].tolist() == pytest.approx(answer["scores"])
    assert (ranked["items"], ranked["release"], ranked["reason"]) == (answer["items"], 1, "model")
    assert found == {
        "user_id": "a/b ü",
        "partition": 1,
        "recent_items": ["item-3", "item-5"],
        "clicks": 2,
        "session_clicks": 2,
        "timestamp": began + 1,
        "offset": 1,
        "release": 1,
        "saved": False,
    }


def test_a_worker_says_which_users_it_cannot_know() -> None:
    """Those of partitions that it does not serve."""
    desk = successor_desk()

    here, document = desk.serving().known("eve")

    assert not here
    assert document["serves"] == [0, 1]


def test_a_list_on_request_is_that_of_the_last_click() -> None:
    """It says which click that was; the state is as before."""
    desk = successor_desk()
    worker = desk.serving()
    desk.click("ada", "item-3", partition=1)
    desk.click("ada", "item-5", partition=1)
    desk.settle()
    published = records(desk.answers())[-1].json
    before = worker.known("ada")

    status, answer = _ask(worker, "ada", query=Query(20))

    assert status == 200
    assert answer.pop("scores").tolist() == pytest.approx(published["scores"])
    assert answer == {
        "user_id": "ada",
        "items": published["items"],
        "reason": "model",
        "release": 1,
        "seen": {"partition": 1, "offset": 1},
    }
    after = worker.known("ada")
    for known in (before, after):
        known[1]["recommendations"]["scores"] = known[1]["recommendations"]["scores"].tolist()
    assert before == after
    assert len(desk.answers()) == 2


def test_a_user_whom_nobody_knows_gets_popular_items() -> None:
    """A worker that serves all partitions knows that; another one says what it serves."""
    desk = successor_desk(partitions=2)
    worker = desk.serving()

    status, answer = _ask(worker, "eve")

    assert (status, answer["reason"], answer["seen"]) == (200, "cold", None)
    assert len(answer["items"]) == 3

    worker.worker.table.drop(1)
    worker.worker.table.assign(1)
    status, answer = _at_once(worker, ForUser("eve", Query(3)))

    assert (status, answer["serves"], answer["partitions"]) == (404, [0], 2)
    assert "recovering partitions 1" in answer["not_ready"]

    status, answer = _at_once(worker, ForUser("eve", Query(3), unknown=True))

    assert (status, answer["reason"]) == (200, "cold")


def _at_once(worker: DeskWorker, question: Question) -> Answer:
    """Return the answer without a round, which might change something."""
    asked = Asked(question, 0.0, Future())
    worker.process.questions.keep(asked)
    worker.worker.loop._answering.answer()
    return asked.answer.result(timeout=0)


def test_an_id_is_read_as_in_clicks() -> None:
    """Without spaces around it."""
    desk = successor_desk()
    worker = desk.serving()
    desk.click("ada", "item-3")
    desk.settle()

    assert _ask(worker, " ada ")[1]["reason"] == "model"


def test_a_state_that_has_expired_is_none() -> None:
    """The list is that of somebody new; the last click is still said."""
    desk = successor_desk(state={"user_ttl": 3600.0, "flush_interval": 1e6})
    worker = desk.serving()
    desk.click("ada", "item-3")
    desk.settle()
    desk.cluster._broker.now_ms += 3_601_000

    status, answer = _ask(worker, "ada")

    assert (status, answer["reason"], answer["seen"]["offset"]) == (200, "cold", 0)


def test_tags_filter_a_list() -> None:
    """Those of the items topic; placement and reasons are said."""
    desk = _shop()
    worker = desk.serving()
    desk.click("ada", "item-3")
    desk.settle()

    status, answer = _ask(worker, "ada", query=Query(20, only=("red",), placement="cart"), explain=True)

    assert status == 200
    assert set(answer["items"]) == {item_id for at, item_id in enumerate(ITEMS) if at % 2} - {"item-3"}
    assert answer["placement"] == "cart"
    why = {one["item_id"]: one["because"] for one in answer["explained"]["left_out"]}
    assert why["item-4"] == ["tags"]
    assert why["item-3"] == ["recent"]
    assert [one["item_id"] for one in answer["explained"]["places"]] == answer["items"]


@pytest.mark.parametrize(
    ("query", "because"),
    [
        (Query(3, only=("green",)), "no item of release 1 has the tags that the request allows"),
        (
            Query(3, only=("red",), without=("red",)),
            "no item of release 1 has the tags that the request allows",
        ),
        (Query(3, exclude=ITEMS), "all items that the request allows are unavailable or left out"),
    ],
)
def test_an_empty_list_says_why(query: Query, because: str) -> None:
    """Whoever asks for it."""
    desk = _shop()
    worker = desk.serving()
    desk.click("ada", "item-3")
    desk.settle()

    for user_id in ("ada", "eve"):
        status, answer = _ask(worker, user_id, query=query)

        assert (status, answer["items"], answer["empty_because"]) == (200, [], because)


def test_tags_need_the_items_topic() -> None:
    """Else nobody knows any."""
    worker = successor_desk().serving()
    refused = (400, {"error": "only and without need the tags of items: set topics.items"})

    assert _ask(worker, "ada", query=Query(3, only=("red",))) == refused
    assert worker.ask(Similar("item-3", Query(3, without=("red",)))) == refused


def test_similar_items_are_those_of_the_champion() -> None:
    """404 for an item that it does not know."""
    desk = _shop()
    worker = desk.serving()

    status, answer = worker.ask(Similar(" item-3 ", Query(4, only=("blue",))))

    assert status == 200
    assert (answer["item_id"], answer["reason"], len(answer["items"])) == ("item-3", "similar", 4)
    assert all(ITEMS.index(item_id) % 2 == 0 for item_id in answer["items"])
    assert worker.ask(Similar("nothing", Query(3))) == (404, {"error": "release 1 does not know this item"})


def test_each_user_is_answered_by_their_release() -> None:
    """Of several that are asked about at once, too: a candidate's users are the candidate's."""
    desk = successor_desk()
    worker = desk.serving()
    desk.publish(*tiny_release_parts(seed=2), pointer=CANDIDATE)
    desk.until(lambda: worker.worker.adoption.serving.candidate, "the candidate")
    users = [f"user-{number}" for number in range(40)]
    serving = worker.worker.adoption.serving
    wanted = {user_id: serving.recommender(user_id).release.number for user_id in users}

    found = {user_id: _ask(worker, user_id)[1]["release"] for user_id in users}

    assert found == wanted
    assert set(wanted.values()) == {1, 2}


def test_a_list_after_a_click_waits_for_it() -> None:
    """It is answered in the round that applies the click."""
    desk = successor_desk()
    worker = desk.serving()
    desk.click("ada", "item-3", partition=1)
    desk.settle()

    def click() -> None:
        if desk.cluster.log(desk.topics.clicks, 1).end == 1:
            desk.click("ada", "item-7", partition=1)

    status, answer = worker.ask(ForUser("ada", Query(3), after=(1, 1)), meanwhile=click)

    assert (status, answer["seen"], answer["items"][0]) == (200, {"partition": 1, "offset": 1}, "item-8")


def test_a_list_after_a_click_that_does_not_come_is_refused() -> None:
    """In the end, with the position; the worker's partitions are known, so another one has to be asked."""
    desk = successor_desk()
    worker = desk.serving()
    desk.click("ada", "item-3", partition=1)
    desk.settle()

    status, answer = worker.ask(ForUser("ada", Query(3), after=(1, 1)), meanwhile=lambda: desk.advance(0.1))

    assert (status, answer["position"]) == (409, 1)
    assert _ask(worker, "ada", after=(1, 0))[0] == 200
    worker.worker.table.drop(0)

    assert _at_once(worker, ForUser("ada", Query(3), after=(0, 0)))[0] == 404


def test_a_click_of_a_partition_that_does_not_exist_is_a_bad_request() -> None:
    """No other attempt would help."""
    worker = successor_desk().serving()

    assert _ask(worker, "ada", after=(2, 0)) == (
        400,
        {"error": "after names partition 2; the clicks have 2 partitions, from 0 on"},
    )


def test_a_recovered_state_answers_as_before() -> None:
    """What a crash must not change."""
    desk = successor_desk()
    worker = desk.serving()
    for number in range(6):
        desk.click("ada", ITEMS[number], partition=1)
    desk.settle()
    _, before = _ask(worker, "ada")

    _, after = _ask(desk.restart(), "ada")

    assert after["items"] == before["items"]
    assert np.allclose(after["scores"], before["scores"], atol=1e-2)
    assert after["seen"] == before["seen"]


def test_a_bought_item_is_in_no_list() -> None:
    """Also of a user who has only bought; the explanation says so."""
    desk = successor_desk(events={"type": "type", "exclude": ["purchase"]})
    worker = desk.serving()
    desk.click("ada", "item-3", partition=1)
    for user_id, item_id in (("ada", "item-4"), ("eve", ITEMS[-1])):
        document = {"user_id": user_id, "item_id": item_id, "type": "purchase"}
        desk.send(orjson.dumps(document), partition=1)
    desk.settle()

    for user_id, item_id, reason in (("ada", "item-4", "model"), ("eve", ITEMS[-1], "cold")):
        status, answer = _ask(worker, user_id, query=Query(11), explain=True)

        assert (status, answer["reason"], item_id in answer["items"]) == (200, reason, False)
        why = {one["item_id"]: one["because"] for one in answer["explained"]["left_out"]}
        assert why[item_id] == ["bought"]
