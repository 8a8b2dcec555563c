"""The mailbox between the HTTP server and the loop."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future

import pytest

from worker.http.questions import AboutUser, Asked, Questions


def test_the_loop_answers_who_asks() -> None:
    """Each gets the answer to their own question, given by the thread that answers."""
    questions = Questions(seconds=10)
    answers = {}

    def ask(user_id: str) -> None:
        answers[user_id] = asyncio.run(questions.ask(AboutUser(user_id)))

    threads = [threading.Thread(target=ask, args=[user_id]) for user_id in ("ada", "bob")]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        for asked in questions.take():
            assert isinstance(asked.question, AboutUser)
            asked.answer.set_result((200, {"user_id": asked.question.user_id}))

    assert answers == {name: (200, {"user_id": name}) for name in ("ada", "bob")}


def test_who_is_not_answered_in_time_is_told_so() -> None:
    """And costs the loop nothing when it comes round later."""
    questions = Questions(seconds=0.01)

    with pytest.raises(TimeoutError):
        asyncio.run(questions.ask(AboutUser("ada")))

    assert questions.take() == []


def test_too_many_questions_are_refused_at_once() -> None:
    """A flood does not pile up."""
    questions = Questions(seconds=0)
    for _ in range(300):
        with pytest.raises(TimeoutError):
            asyncio.run(questions.ask(AboutUser("ada")))

    assert questions._asked.qsize() < 300


def test_a_question_that_is_kept_is_taken_again() -> None:
    """Before those that came later; the loop is woken for each that comes."""
    woken = list[int]()
    questions = Questions(seconds=0)
    questions.wake = lambda: woken.append(1)
    first, second = (Asked(AboutUser(name), 0.0, Future()) for name in ("ada", "bob"))
    questions.keep(first)
    questions._asked.put_nowait(second)

    assert questions.take() == [first, second]
    assert questions.take() == []

    with pytest.raises(TimeoutError):
        asyncio.run(questions.ask(AboutUser("ada")))

    assert woken == [1]


def test_the_answer_to_another_worker_comes_while_that_one_waits() -> None:
    """A question that was passed on has less time."""
    questions, waited = Questions(seconds=0.4), dict[bool, float]()

    async def ask(passed: bool) -> None:
        began = asyncio.get_running_loop().time()
        with pytest.raises(TimeoutError):
            await questions.ask(AboutUser("ada"), passed=passed)
        waited[passed] = asyncio.get_running_loop().time() - began

    async def both() -> None:
        await asyncio.gather(ask(passed=False), ask(passed=True))

    asyncio.run(both())

    assert waited[True] < waited[False]
