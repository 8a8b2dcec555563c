"""Connections to the HTTP server: few, short and cheap, whoever opens them."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from structlog.typing import EventDict

from tests.waiting import eventually
from tests.worker.http.asking import Server
from worker.errors import SettingError
from worker.http.server import HEADER_SECONDS, MAX_CONNECTIONS, serving


class Large(Collector):
    """More than the buffers of a connection hold."""

    def collect(self) -> Iterator[Metric]:
        """Yield one metric with a label of 10 MB."""
        metric = GaugeMetricFamily("large", "Large.", labels=["label"])
        metric.add_metric(["x" * 10_000_000], 1)
        yield metric


def cut_off(connection: socket.socket) -> bool:
    """Return whether the other side has closed a connection from which nobody reads."""
    try:
        connection.sendall(b"x")
    except OSError:
        return True
    return False


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


def test_a_host_that_is_no_name_is_said() -> None:
    """Not as a failure of the encoding of names."""
    with pytest.raises(SettingError, match=r"cannot listen on a\.\.b:0: it is no host name"):
        Server().listening("a..b").__enter__()


def test_a_server_that_is_closed_answers_nobody(server: Server) -> None:
    """The port is free again when the context ends."""
    one = Server()
    with one.listening():
        assert one.get("/livez")[0] == 200

    with pytest.raises(ConnectionRefusedError):
        one.get("/livez")


def test_idle_connections_neither_keep_out_others_nor_pile_up(server: Server) -> None:
    """Beyond the limit, the oldest connection is closed: a probe is always answered."""
    idle = [server.connected(b"GET /metr") for _ in range(MAX_CONNECTIONS)]
    answers = [server.alive() for _ in range(5)]
    idle[0].settimeout(HEADER_SECONDS / 2)  # after all of it, every idle connection is closed
    closed = idle[0].recv(1)
    idle[1].sendall(b"ics HTTP/1.1\r\nHost: a\r\n\r\n")

    assert answers == [True] * 5
    assert closed == b""
    assert idle[1].recv(12) == b"HTTP/1.1 200"
    for connection in idle:
        connection.close()


def test_who_never_reads_the_response_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Such a client would hold its connection for ever."""
    monkeypatch.setattr("worker.http.server.CONNECTION_SECONDS", 0.2)
    monkeypatch.setattr("worker.http.server._LOOK_SECONDS", 0.01)
    one = Server()
    one.metrics.registry.register(Large())
    with one.listening():
        deaf = one.connected(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n")
        eventually(lambda: cut_off(deaf), what="the end of the connection")
        deaf.close()

        assert one.alive()


def test_a_connection_has_one_request(server: Server) -> None:
    """What is sent after it is not answered."""
    connection = server.connected(b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n" * 20)
    answer = connection.makefile("rb").read(10_000)

    assert answer.count(b"HTTP/1.1 200") == 1
    assert b"Connection: close" in answer
    connection.close()


@pytest.mark.parametrize(
    "sent",
    [
        bytes(range(128, 256)),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET /livez\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nHost: a\r\nContent-Length: 99\r\n\r\n",
        b"GET /v1/users/%ff HTTP/1.1\r\nHost: a\r\n\r\n",
    ],
    ids=["garbage", "TLS", "HTTP/2", "HTTP/0.9", "two lengths", "body", "no UTF-8"],
)
def test_what_is_no_good_request_is_refused_without_a_log(
    server: Server, sent: bytes, logged: list[EventDict], capfd: pytest.CaptureFixture[str]
) -> None:
    """Anybody could fill the log."""
    connection = server.connected(sent + b"\r\n\r\n")

    assert connection.recv(12) in (b"", b"HTTP/1.1 400")
    assert server.alive()
    assert (logged, capfd.readouterr().err) == ([], "")
    connection.close()


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


def test_ipv6_is_served() -> None:
    """With users, as on 127.0.0.1."""
    one = Server()
    one.host = "::1"
    try:
        with one.listening("::1"), one.answering((200, {})):
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
    with server.answering((200, {})):
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
    """Those that are open, and those that were closed because there were too many."""
    monkeypatch.setattr("worker.http.server.MAX_CONNECTIONS", 1)
    registry = server.metrics.registry
    kept = server.connected()
    eventually(lambda: registry.get_sample_value("nextclick_http_connections") == 1, what="the connection")
    newer = server.connected()

    assert kept.recv(1) == b""
    assert registry.get_sample_value("nextclick_http_refused_connections_total") == 1
    for connection in (kept, newer):
        connection.close()
