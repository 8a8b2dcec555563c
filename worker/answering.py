"""The time for questions over HTTP: they are answered between two batches, and while a commit waits.

The clicks wait for it. So the time per round is limited, and questions whose time is over are dropped.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from itertools import chain
from typing import Any, Final

import structlog

from worker.http.questions import Answer, Asked, ForUser, Question, Questions

log = structlog.get_logger("worker")

ROUND_SECONDS: Final = 0.02
"""The time after which a round answers no further questions: the clicks wait for it."""

_TOGETHER: Final = 16
"""Maximum number of questions that are answered together, whatever the time."""


class Answering:
    """Answers the waiting questions, by `answers`; call it between batches, on the loop's thread."""

    def __init__(
        self, questions: Questions, answers: Callable[[Sequence[Question]], Sequence[Answer]]
    ) -> None:
        self._questions = questions
        self._answers = answers

    def answer(self) -> None:
        """Answer waiting questions for about `ROUND_SECONDS`; the others wait for the next call."""
        if not (waiting := self._questions.take()):
            return
        deadline, parts = self._questions.clock() + ROUND_SECONDS, _parts(waiting)
        for number, part in enumerate(parts):
            if number and self._questions.clock() >= deadline:
                for asked in chain(*parts[number:]):
                    self._questions.keep(asked)
                self._questions.ring()
                self._questions.wake()
                return
            self._reply([asked for asked in part if not asked.answer.cancelled()])

    def answer_until(self, done: Future[Any], seconds: float) -> None:
        """Answer questions until something is done, or for some seconds."""
        done.add_done_callback(lambda _: self._questions.ring())
        deadline = self._questions.clock() + seconds
        while True:
            self.answer()
            left = deadline - self._questions.clock()
            if done.done() or left <= 0:
                return
            self._questions.wait(left)

    def _reply(self, part: list[Asked]) -> None:
        """Answer some questions; if that fails, each alone, so that the others have their answers."""
        try:
            answers = self._answers([asked.question for asked in part])
        except Exception as error:
            # A question must not stop the clicks.
            if len(part) > 1:
                for asked in part:
                    self._reply([asked])
                return
            log.exception("a question failed", error=repr(error))
            answers = [(500, {"error": "the worker failed to answer; its log has the reason"})]
        for asked, answer in zip(part, answers, strict=True):
            # 409: the click of `after` has not come yet.
            if answer[0] == 409 and self._questions.clock() < asked.until:
                self._questions.keep(asked)
            else:
                asked.reply(answer)


def _parts(waiting: Sequence[Asked]) -> list[list[Asked]]:
    """Return questions in parts of limited cost, in the order of the first of each part.

    Lists with the same conditions are ranked together. Anything else takes long with a large catalogue.
    """
    parts, latest = list[list[Asked]](), dict[tuple[Any, ...], list[Asked]]()
    for asked in waiting:
        question = asked.question
        if isinstance(question, ForUser) and not question.explain:
            key = question.query.only, question.query.without, question.query.placement
            if 0 < len(latest.get(key, ())) < _TOGETHER:
                latest[key].append(asked)
                continue
            latest[key] = part = [asked]
        else:
            part = [asked]
        parts.append(part)
    return parts
