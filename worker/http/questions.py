"""Questions about users: asked by the HTTP server, answered by the loop, which alone accesses the states."""

from __future__ import annotations

import asyncio
import queue
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Final

ANSWER_SECONDS: Final = 2.0
"""Maximum time that a question waits for the loop, which completes at least four rounds per second."""

_WAITING: Final = 64
"""Maximum number of waiting questions. The loop answers all of them in one round, with a ranking for each."""

Answer = tuple[bool, dict[str, Any]]
"""Whether the worker has a state of the user, and the answer as a JSON object."""


class Questions:
    """A mailbox between the HTTP server and the loop."""

    def __init__(self, *, seconds: float = ANSWER_SECONDS) -> None:
        self._seconds = seconds
        self._asked: queue.Queue[tuple[str, Future[Answer]]] = queue.Queue(_WAITING)

    async def ask(self, user_id: str) -> Answer:
        """Return the loop's answer about a user. Raises TimeoutError if the loop does not answer in time."""
        answer: Future[Answer] = Future()
        try:
            self._asked.put_nowait((user_id, answer))
        except queue.Full:
            raise TimeoutError from None
        # A timeout also cancels the question.
        return await asyncio.wait_for(asyncio.wrap_future(answer), self._seconds)

    def answer(self, known: Callable[[str], Answer]) -> None:
        """Answer all waiting questions with `known` (called by the loop)."""
        while True:
            try:
                user_id, answer = self._asked.get_nowait()
            except queue.Empty:
                return
            if answer.set_running_or_notify_cancel():
                answer.set_result(known(user_id))
