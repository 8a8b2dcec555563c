"""The HTTP server, asked over a real socket: metrics, health, and what the loop knows of a user."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from urllib.parse import quote

import numpy as np
import pytest

from tests.waiting import eventually
from worker.errors import SettingError
from worker.http.handlers import SAME_TEXT_SECONDS
from worker.http.questions import Answer, Questions
from worker.http.readiness import LIVE_WITHIN_SECONDS, Readiness
from worker.http.server import MAX_CONNECTIONS, serving
from worker.metrics import Metrics


class Server:
    """A server whose clock and whose loop are the test's."""

    def __init__(self) -> None:
        self.metrics = Metrics()
        self.seconds = 0.0
        self.readiness = Readiness(self.metrics.ready, lambda: self.seconds)
        self.questions = Questions(seconds=0.05)
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
    def listening(self, host: str = "127.0.0.1", token: str | None = None) -> Iterator[None]:
        """Listen, on a free port."""
        with serving(
            host,
            0,
            token=(lambda: token) if token else None,
            registry=self.metrics.registry,
            metrics=self.metrics.http,
            readiness=self.readiness,
            questions=self.questions,
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
    with one.listening():
        yield one


def test_metrics_are_those_of_the_worker(server: Server) -> None:
    """In the format of Prometheus."""
    server.metrics.evicted.labels("ttl").inc(3)

    status, kind, body = server.get("/metrics")

    assert status == 200
    assert kind.startswith("text/plain; version=")
    assert 'nextclick_evicted_users_total{reason="ttl"} 3.0' in body


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
    server.readiness.notice = "600 of the last 1,000 records are dead letters"

    assert nothing[2] == server.get("/readyz")[2] == "ready\n"
    assert server.get("/readyz?verbose")[2] == f"ready\n{server.readiness.notice}\n"


def test_a_loop_that_does_not_come_round_is_not_alive(server: Server) -> None:
    """Though the server answers."""
    alive = server.get("/livez")
    server.seconds = LIVE_WITHIN_SECONDS + 1
    stuck = server.get("/livez")

    assert alive[::2] == (200, "live\n")
    assert stuck[::2] == (503, "the loop has completed no round for 61 s\n")


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
    assert server.get("/v1")[::2] == (
        404,
        "not found; the paths are /metrics, /livez, /readyz and /v1/users/{user_id}\n",
    )


def test_a_taken_port_is_said(server: Server) -> None:
    """With the key to change."""
    again = serving(
        "127.0.0.1",
        server.port,
        token=None,
        registry=server.metrics.registry,
        metrics=server.metrics.http,
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
    with one.listening():
        assert one.get("/livez")[0] == 200

    with pytest.raises(ConnectionRefusedError):
        one.get("/livez")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "BREW"])
@pytest.mark.parametrize("path", ["/metrics", "/readyz", "/v1/users/ada", "/"])
def test_only_get_and_head_are_answered(server: Server, method: str, path: str) -> None:
    """405."""
    assert server.get(path, method=method)[0] == 405


@pytest.mark.parametrize("path", ["/metrics", "/readyz", "/livez"])
def test_head_is_get_without_a_body(server: Server, path: str) -> None:
    """The same status and type."""
    server.readiness.ready()

    assert server.get(path, method="HEAD") == (*server.get(path)[:2], "")


def test_scrapes_that_come_together_share_one_text(server: Server) -> None:
    """A moment later it is made again."""
    first = server.get("/metrics")[2]
    server.metrics.deleted.inc()
    same = server.get("/metrics")[2]
    server.seconds = SAME_TEXT_SECONDS

    assert same == first
    assert "nextclick_deleted_users_total 1.0" in server.get("/metrics")[2]


def test_the_text_of_a_scrape_is_in_the_format_that_is_asked_for(server: Server) -> None:
    """OpenMetrics for a Prometheus that takes it, though another just asked for plain text."""
    server.get("/metrics")

    _, kind, body = server.get("/metrics", Accept="application/openmetrics-text; version=1.0.0")

    assert kind.startswith("application/openmetrics-text")
    assert body.endswith("# EOF\n")


def test_a_client_cannot_have_texts_of_its_own(server: Server) -> None:
    """Whatever version it names, there are two texts; a version that is none is no fault either."""
    for version in ("9.9.1", "9.9.2", "x", ""):
        status, kind, _ = server.get("/metrics", Accept=f"application/openmetrics-text; version={version}")

        assert (status, kind.split(";")[0]) == (200, "application/openmetrics-text")
    status, kind, _ = server.get("/metrics", Accept="text/plain; version=x")

    assert (status, kind.split(";")[0]) == (200, "text/plain")


def test_idle_connections_neither_hinder_scrapes_nor_pile_up(server: Server) -> None:
    """Beyond the limit a new connection is closed at once, and those that close make room."""
    idle = [server.connected(b"GET /metr") for _ in range(MAX_CONNECTIONS - 1)]
    eventually(server.alive, what="the answer to the last connection")

    def full() -> bool:
        idle.append(server.connected())
        return not server.alive()

    eventually(full, what="no more room")
    for connection in idle:
        connection.close()

    eventually(server.alive, what="room for another connection")


def test_a_connection_that_takes_its_time_is_closed(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Idle or slow, before the first request or after one."""
    monkeypatch.setattr("worker.http.server.HEADER_SECONDS", 0.05)
    one = Server()
    with one.listening():
        idle, slow = one.connected(), one.connected(b"GET /livez HTTP/1.1\r\nHost:")
        kept = one.connected(b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n")
        answer = kept.makefile("rb").read()

        assert idle.recv(1) == slow.recv(1) == b""
        assert answer.startswith(b"HTTP/1.1 200")
    for connection in (idle, slow, kept):
        connection.close()


def test_a_head_that_is_too_large_is_refused(server: Server) -> None:
    """Whether path or headers make it so: the connection is closed without an answer that costs anything."""
    for sent in (b"GET /" + b"a" * 9_000, b"GET / HTTP/1.1\r\nA: " + b"a" * 9_000):
        connection = server.connected(sent + b"\r\n\r\n")

        assert not connection.recv(100).startswith(b"HTTP/1.1 200")
        connection.close()
    assert server.get("/livez")[0] == 200


@pytest.mark.parametrize(
    ("given", "status"),
    [
        ("Bearer a-token-of-the-test", 200),
        ("Bearer another-token-here", 401),
        ("a-token-of-the-test", 401),
        ("Bearer a-token-of-the-tesť", 401),
        ("", 401),
    ],
)
def test_a_token_guards_users_and_nothing_else(given: str, status: int) -> None:
    """Metrics and health stay open."""
    one = Server()
    headers = {"Authorization": given.encode().decode("latin-1")} if given else {}
    with one.listening(token="a-token-of-the-test"), one.answering((True, {})):
        assert one.get("/v1/users/ada", **headers)[0] == status
        assert one.get("/metrics")[0] == one.get("/livez")[0] == 200


def test_without_a_token_users_are_shown_on_this_machine_only() -> None:
    """An address that others may reach needs one; the answer says so."""
    one = Server()
    with one.listening("0.0.0.0"):  # that is the case in question
        status, _, body = one.get("/v1/users/ada")

    assert (status, "set http.token" in body) == (403, True)


def test_ipv6_is_served() -> None:
    """With users, as on 127.0.0.1."""
    one = Server()
    one.host = "::1"
    try:
        with one.listening("::1"), one.answering((True, {})):
            assert one.get("/v1/users/ada")[0] == 200
    except SettingError as error:
        pytest.skip(str(error))


def counted(server: Server, path: str, status: int) -> float | None:
    """The number of requests that were answered so."""
    labels = {"path": path, "status": str(status)}
    return server.metrics.registry.get_sample_value("nextclick_http_requests_total", labels)


def test_requests_are_counted_by_path_and_status(server: Server) -> None:
    """Whatever follows /v1/users, and whatever path does not exist, is one label."""
    before = counted(server, "/v1/users", 200)
    with server.answering((True, {})):
        for path in ("/v1/users/ada", "/v1/users/eve", "/livez", "/readyz", "/readyz?verbose"):
            server.get(path)
    for path in ("/", "/admin", "/v1"):
        server.get(path)
    server.get("/livez", method="POST")

    assert before == 0
    assert counted(server, "/v1/users", 200) == 2
    assert counted(server, "/livez", 200) == 1
    assert counted(server, "/readyz", 503) == 2
    assert counted(server, "other", 404) == 3
    assert counted(server, "/livez", 405) == 1


def test_connections_are_counted(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that are open, and those that were refused."""
    monkeypatch.setattr("worker.http.server.MAX_CONNECTIONS", 1)
    registry = server.metrics.registry
    kept = server.connected()
    eventually(lambda: registry.get_sample_value("nextclick_http_connections") == 1, what="the connection")
    refused = server.connected()

    assert refused.recv(1) == b""
    assert registry.get_sample_value("nextclick_http_refused_connections_total") == 1
    for connection in (kept, refused):
        connection.close()
