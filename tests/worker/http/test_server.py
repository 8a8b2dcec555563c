"""The HTTP server, asked over a real socket: metrics, health, and what the loop knows of a user."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from urllib.parse import quote

import numpy as np
import pytest

from worker.errors import SettingError
from worker.http.questions import Answer, Questions
from worker.http.readiness import LIVE_WITHIN_SECONDS, Readiness
from worker.http.server import serving
from worker.metrics import Metrics


class Server:
    """A server whose clock and whose loop are the test's."""

    def __init__(self) -> None:
        self.metrics = Metrics()
        self.seconds = 0.0
        self.readiness = Readiness(self.metrics.ready, lambda: self.seconds)
        self.questions = Questions(seconds=0.05)
        self.port = 0

    def get(self, path: str) -> tuple[int, str, str]:
        """Status, type and body."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.headers["Content-Type"], response.read().decode()
        finally:
            connection.close()

    @contextmanager
    def answering(self, answer: Answer) -> Iterator[list[str]]:
        """Let a loop answer whoever asks, with the same; whom it was asked about."""
        self.questions._seconds = 10.0
        over, asked = threading.Event(), list[str]()

        def known(user_id: str) -> Answer:
            asked.append(user_id)
            return answer

        def loop() -> None:
            while not over.is_set():
                self.questions.answer(known)

        thread = threading.Thread(target=loop)
        thread.start()
        yield asked
        over.set()
        thread.join()


@pytest.fixture
def server() -> Iterator[Server]:
    """One that listens."""
    one = Server()
    with serving(
        "127.0.0.1",
        0,
        registry=one.metrics.registry,
        readiness=one.readiness,
        questions=one.questions,
    ) as one.port:
        yield one


def test_metrics_are_those_of_the_worker(server: Server) -> None:
    """In the format of Prometheus."""
    server.metrics.clicks.inc(3)

    status, kind, body = server.get("/metrics")

    assert status == 200
    assert kind.startswith("text/plain; version=")
    assert "nextclick_clicks_total 3.0" in body


def test_a_worker_is_ready_when_there_is_no_reason_against_it(server: Server) -> None:
    """With a remark where there is one."""
    before = server.get("/readyz")
    server.readiness.ready()
    plain = server.get("/readyz")
    server.readiness.remark = "release 2 was refused"

    assert (before[0], before[2]) == (503, "starting\n")
    assert (plain[0], plain[2]) == (200, "ready\n")
    assert server.get("/readyz")[::2] == (200, "ready; release 2 was refused\n")


def test_who_asks_for_more_is_shown_the_notice(server: Server) -> None:
    """`?verbose` adds a line where there is something; a probe reads the same as ever."""
    server.readiness.ready()
    nothing = server.get("/readyz?verbose")
    server.readiness.notice = "600 of the last 1,000 records went to the dead letters"

    assert nothing[2] == server.get("/readyz")[2] == "ready\n"
    assert server.get("/readyz?verbose")[2] == f"ready\n{server.readiness.notice}\n"


def test_a_loop_that_does_not_come_round_is_not_alive(server: Server) -> None:
    """Though the server answers."""
    alive = server.get("/livez")
    server.seconds = LIVE_WITHIN_SECONDS + 1
    stuck = server.get("/livez")

    assert alive[::2] == (200, "live\n")
    assert stuck[::2] == (503, "the loop has not come round for 61 s\n")


def test_the_loop_is_asked_about_a_user(server: Server) -> None:
    """Under the id as it was meant, whatever characters it has; numbers may be NumPy's."""
    with server.answering((True, {"clicks": np.int32(2)})) as asked:
        status, kind, body = server.get(f"/v1/users/{quote('a/b ü', safe='')}")

    assert (status, kind, json.loads(body)) == (200, "application/json", {"clicks": 2})
    assert asked == ["a/b ü"]


def test_a_user_who_is_not_here_is_not_found(server: Server) -> None:
    """With what is here instead."""
    with server.answering((False, {"serves": [0, 1]})):
        status, _, body = server.get("/v1/users/eve")

    assert (status, json.loads(body)) == (404, {"serves": [0, 1]})


@pytest.mark.parametrize(("reason", "says"), [("no release", "no release"), ("", "the loop is busy")])
def test_a_loop_that_does_not_answer_is_said(server: Server, reason: str, says: str) -> None:
    """With the reason, where it is known."""
    server.readiness.not_ready(reason)

    status, _, body = server.get("/v1/users/ada")

    assert (status, json.loads(body)) == (503, {"error": f"no answer in time: {says}"})


def test_another_path_says_which_there_are(server: Server) -> None:
    """404."""
    assert server.get("/v1")[::2] == (404, "there are /metrics, /livez, /readyz and /v1/users/{user_id}\n")


def test_a_taken_port_is_said(server: Server) -> None:
    """With the key to change."""
    again = serving(
        "127.0.0.1",
        server.port,
        registry=server.metrics.registry,
        readiness=server.readiness,
        questions=server.questions,
    )

    with (
        pytest.raises(SettingError, match=rf"cannot listen on 127\.0\.0\.1:{server.port}.*Set http\.port"),
        again,
    ):
        pytest.fail("two servers on one port")


def test_a_server_that_is_closed_answers_nobody(server: Server) -> None:
    """The port is free again when the context ends."""
    one = Server()
    with serving(
        "127.0.0.1", 0, registry=one.metrics.registry, readiness=one.readiness, questions=one.questions
    ) as one.port:
        assert one.get("/livez")[0] == 200

    with pytest.raises(ConnectionRefusedError):
        one.get("/livez")
