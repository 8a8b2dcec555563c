"""Questions: asked by the HTTP server, answered by the loop, which alone accesses the states."""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from worker.core.asking import Query

ANSWER_SECONDS: Final = 2.0
"""Maximum time that a question waits for the loop, which completes at least four rounds per second."""

PASSED_PART: Final = 0.75
"""The part of that time which a question waits that another worker passes on: that one waits as well."""

_WAITING: Final = 256
"""Maximum number of questions that wait to be taken, and of those that the loop keeps."""

Answer = tuple[int, dict[str, Any]]
"""The HTTP status, and the answer as a JSON object."""


class AboutUser(NamedTuple):
    """A question about the state of a user."""

    user_id: str


class ForUser(NamedTuple):
    """A question for a list for a user.

    `after`: partition and offset of a click that the state must include. `unknown`: no worker has a state of
    the user, so the list has popular items.
    """

    user_id: str
    query: Query
    after: tuple[int, int] | None = None
    explain: bool = False
    unknown: bool = False


class Similar(NamedTuple):
    """A question for the items that are similar to an item."""

    item_id: str
    query: Query


Question = AboutUser | ForUser | Similar


@dataclass(eq=False, slots=True)
class Asked:
    """A question that waits for its answer. It does not wait for a click after the time `until`."""

    question: Question
    until: float
    answer: Future[Answer]

    def reply(self, answer: Answer) -> None:
        """Answer the question, unless its time is over."""
        if self.answer.set_running_or_notify_cancel():
            self.answer.set_result(answer)


class Questions:
    """A mailbox between the HTTP server and the loop. `clock` returns monotonic seconds.

    `wake` is called after each question, by the server's thread; it makes the loop complete its round.
    """

    def __init__(
        self, *, seconds: float = ANSWER_SECONDS, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.seconds = seconds
        self.clock = clock
        self.wake: Callable[[], None] = lambda: None
        self._rung = threading.Event()
        self._asked: queue.Queue[Asked] = queue.Queue(_WAITING)
        self._kept: list[Asked] = []

    async def ask(self, question: Question, *, passed: bool = False) -> Answer:
        """Return the loop's answer. Raises TimeoutError if the loop does not answer in time.

        `passed`: another worker waits for the answer.
        """
        asked = Asked(question, self.clock() + self.seconds / 2, Future())
        try:
            if len(self._kept) >= _WAITING:
                raise queue.Full
            self._asked.put_nowait(asked)
        except queue.Full:
            raise TimeoutError from None
        self.ring()
        self.wake()
        # A timeout also cancels the question.
        seconds = self.seconds * (PASSED_PART if passed else 1)
        return await asyncio.wait_for(asyncio.wrap_future(asked.answer), seconds)

    def ring(self) -> None:
        """End `wait`, or the next one."""
        self._rung.set()

    def wait(self, seconds: float) -> None:
        """Wait until a question comes, or `ring` is called."""
        self._rung.wait(seconds)
        self._rung.clear()

    def take(self) -> list[Asked]:
        """Return all waiting questions whose time is not over; each must be answered, or be kept."""
        found, self._kept = self._kept, []
        # Hot path: once or twice per round, nearly always in vain.
        while not self._asked.empty():
            found.append(self._asked.get_nowait())
        return [asked for asked in found if not asked.answer.cancelled()]

    def keep(self, asked: Asked) -> None:
        """Let a question wait for the next `take`."""
        self._kept.append(asked)
