"""When questions are answered, and what they may not stop."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future

import pytest
from structlog.testing import capture_logs

from tests.worker.desk import DeskWorker, successor_desk
from worker.core import asking
from worker.core.asking import Query
from worker.http.questions import AboutUser, Answer, Asked, ForUser, Question, Similar


def test_a_question_that_fails_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The log has the reason, the client 500; the next question is answered."""
    desk = successor_desk()
    worker = desk.serving()
    answer = asking.answer

    def fail(*_: object, **__: object) -> None:
        raise ValueError("broken")

    monkeypatch.setattr(asking, "answer", fail)
    with capture_logs() as logged:
        status, _ = worker.ask(ForUser("ada", Query(3)))

    assert status == 500
    assert [one["error"] for one in logged if one["event"] == "a question failed"] == ["ValueError('broken')"]

    monkeypatch.setattr(asking, "answer", answer)

    assert worker.ask(ForUser("ada", Query(3)))[0] == 200


def test_a_question_that_fails_spoils_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of those that are answered together, the others have their answers."""
    worker = successor_desk().serving()

    def fail_for_bob(text: str) -> str:
        if text == "bob":
            raise ValueError("broken")
        return text

    monkeypatch.setattr("worker.answers.canonical", fail_for_bob)
    asked = [_kept(worker, ForUser(user_id, Query(3))) for user_id in ("ada", "bob", "eve")]
    worker.worker.loop._answering.answer()

    assert [one.answer.result(timeout=0)[0] for one in asked] == [200, 500, 200]


def _kept(worker: DeskWorker, question: Question) -> Asked:
    asked = Asked(question, 0.0, Future())
    worker.process.questions.keep(asked)
    return asked


@pytest.mark.parametrize(
    ("question", "at_once"),
    [
        (ForUser("ada", Query(3)), 16),
        (ForUser("ada", Query(3), explain=True), 1),
        (Similar("item-3", Query(3)), 1),
        (AboutUser("ada"), 1),
    ],
)
def test_a_round_answers_for_a_short_time(
    monkeypatch: pytest.MonkeyPatch, question: Question, at_once: int
) -> None:
    """The next one answers the others, and follows at once; a question whose time is over is dropped."""
    worker = successor_desk().serving()
    questions, answering, now, woken = (
        worker.process.questions,
        worker.worker.loop._answering,
        [0.0],
        list[int](),
    )
    work = answering._answers

    def slow(some: Sequence[Question]) -> Sequence[Answer]:
        now[0] += 0.03
        return work(some)

    monkeypatch.setattr(answering, "_answers", slow)
    questions.clock, questions.wake = lambda: now[0], lambda: woken.append(1)
    asked = [_kept(worker, question) for _ in range(40)]
    answering.answer()

    assert [one.answer.done() for one in asked] == [True] * at_once + [False] * (40 - at_once)
    assert woken == [1]

    for one in asked[at_once:-1]:
        one.answer.cancel()
    answering.answer()

    assert (asked[-1].answer.result(timeout=0)[0], woken, questions.take()) == (
        404 if isinstance(question, AboutUser) else 200,
        [1],
        [],
    )


def test_questions_are_answered_in_a_commit_but_not_in_a_revocation() -> None:
    """The group waits for that, and it runs on the thread of Kafka's client."""
    desk = successor_desk(commit_interval=5.0)
    worker = desk.serving()
    for number in (0, 1):
        desk.click("ada", partition=number)
    desk.step(2)
    asked = _kept(worker, Similar("item-3", Query(3)))
    worker.worker.loop._on_revoked([0])

    assert len(desk.answers()) == 2
    assert not asked.answer.done()

    desk.click("ada", partition=1)
    worker.worker.loop._serve(worker.worker.loop._poll())
    worker.worker.checkpoint.commit(1)

    assert len(desk.answers()) == 3
    assert asked.answer.result(timeout=0)[0] == 200


def test_questions_are_answered_while_a_commit_waits() -> None:
    """From the states as they are; it ends when the commit does, or when its time is over."""
    desk = successor_desk()
    worker = desk.serving()
    answering, questions = worker.worker.loop._answering, worker.process.questions
    asked, done = Asked(ForUser("ada", Query(3)), 0.0, Future[Answer]()), Future[None]()
    questions.keep(asked)
    questions.ring()
    asked.answer.add_done_callback(lambda _: done.set_result(None))

    answering.answer_until(done, 1e6)

    assert asked.answer.result(timeout=0)[0] == 200

    answering.answer_until(Future(), 0.0)
