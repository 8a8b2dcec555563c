"""The mailbox between the HTTP server and the loop."""

from __future__ import annotations

import asyncio
import threading

import pytest

from tests.worker.desk import records, successor_desk
from worker.http.questions import Questions


def test_the_loop_answers_who_asks() -> None:
    """Each gets the answer to their own question, given by the thread that answers."""
    questions = Questions(seconds=10)
    answers = {}

    def ask(user_id: str) -> None:
        answers[user_id] = asyncio.run(questions.ask(user_id))

    threads = [threading.Thread(target=ask, args=[user_id]) for user_id in ("ada", "bob")]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        questions.answer(lambda user_id: (True, {"user_id": user_id, "by": threading.current_thread().name}))

    here = threading.current_thread().name
    assert answers == {name: (True, {"user_id": name, "by": here}) for name in ("ada", "bob")}


def test_who_is_not_answered_in_time_is_told_so() -> None:
    """And costs the loop nothing when it comes round later."""
    questions = Questions(seconds=0.01)

    with pytest.raises(TimeoutError):
        asyncio.run(questions.ask("ada"))

    questions.answer(lambda _: pytest.fail("nobody waits for this any more"))


def test_too_many_questions_are_refused_at_once() -> None:
    """A flood does not pile up."""
    questions = Questions(seconds=0)
    for _ in range(100):
        with pytest.raises(TimeoutError):
            asyncio.run(questions.ask("ada"))

    assert questions._asked.qsize() < 100


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
