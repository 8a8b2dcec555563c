"""Questions about users: asked by the HTTP server, answered by the loop, the only one to touch states."""

from __future__ import annotations

import asyncio
import queue
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Final

ANSWER_SECONDS: Final = 2.0
"""The time that a question waits for the loop, which runs at least four rounds a second."""

_WAITING: Final = 64
"""The limit of waiting questions; the loop answers them all at once, and each costs a ranking."""

Answer = tuple[bool, dict[str, Any]]
"""Whether the user is here, and what is known: of the user, or of what is here instead."""


class Questions:
    """A mailbox between the HTTP server and the loop."""

    def __init__(self, *, seconds: float = ANSWER_SECONDS) -> None:
        self._seconds = seconds
        self._asked: queue.Queue[tuple[str, Future[Answer]]] = queue.Queue(_WAITING)

    async def ask(self, user_id: str) -> Answer:
        """Return the loop's answer about a user. Raises TimeoutError if it does not come in time."""
        answer: Future[Answer] = Future()
        try:
            self._asked.put_nowait((user_id, answer))
        except queue.Full:
            raise TimeoutError from None
        # Giving up cancels the question, too.
        return await asyncio.wait_for(asyncio.wrap_future(answer), self._seconds)

    def answer(self, known: Callable[[str], Answer]) -> None:
        """Answer those who wait (called by the loop)."""
        while True:
            try:
                user_id, answer = self._asked.get_nowait()
            except queue.Empty:
                return
            if answer.set_running_or_notify_cancel():
                answer.set_result(known(user_id))
