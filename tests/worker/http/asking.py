"""A server of the worker for tests, and its clients."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection

from worker.http.passing import Passing
from worker.http.questions import Answer, Question, Questions
from worker.http.readiness import Readiness
from worker.http.server import serving
from worker.metrics import Metrics


class Server:
    """A server whose clock and whose loop are the test's."""

    def __init__(self) -> None:
        self.metrics = Metrics()
        self.seconds = 0.0
        self.readiness = Readiness(self.metrics.ready, lambda: self.seconds)
        self.questions = Questions(seconds=0.05)
        self.passing: Passing | None = None
        self.host, self.port = "127.0.0.1", 0

    def get(self, path: str, *, method: str = "GET", **headers: str) -> tuple[int, str, str]:
        """Status, type and body."""
        connection = HTTPConnection(self.host, self.port, timeout=10)
        try:
            connection.request(method, path, headers=headers)
            response = connection.getresponse()
            return response.status, response.headers["Content-Type"], response.read().decode()
        finally:
            connection.close()

    @contextmanager
    def listening(
        self, host: str = "127.0.0.1", token: str | Callable[[], str] | None = None
    ) -> Iterator[None]:
        """Listen, on a free port."""
        with serving(
            host,
            0,
            token=(lambda: token) if isinstance(token, str) else token,
            registry=self.metrics.registry,
            metrics=self.metrics.http,
            readiness=self.readiness,
            questions=self.questions,
            top=20,
            passing=self.passing,
        ) as self.port:
            yield

    def alive(self) -> bool:
        """Return whether it answers."""
        try:
            return self.get("/livez")[0] == 200
        except OSError:
            return False

    def connected(self, sent: bytes = b"") -> socket.socket:
        """Return a connection that has sent these bytes."""
        connection = socket.create_connection((self.host, self.port), timeout=10)
        connection.sendall(sent)
        return connection

    @contextmanager
    def answering(self, answer: Answer | Callable[[Question], Answer]) -> Iterator[list[Question]]:
        """Let a loop answer whoever asks, with the same or by the question; what it was asked."""
        self.questions.seconds = 10.0
        over, asked, woken = threading.Event(), list[Question](), threading.Event()
        self.questions.wake = woken.set

        def loop() -> None:
            while not over.is_set():
                woken.wait()
                woken.clear()
                for one in self.questions.take():
                    asked.append(one.question)
                    one.reply(answer(one.question) if callable(answer) else answer)

        thread = threading.Thread(target=loop)
        thread.start()
        try:
            yield asked
        finally:
            over.set()
            woken.set()
            thread.join()
