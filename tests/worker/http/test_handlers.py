"""What the HTTP server answers: metrics, health, and the states of users."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest
from prometheus_client.core import Metric
from prometheus_client.registry import Collector
from structlog.typing import EventDict

from tests.worker.http.asking import Server
from worker.http.handlers import SAME_TEXT_SECONDS
from worker.http.questions import AboutUser
from worker.http.readiness import LIVE_WITHIN_SECONDS
from worker.settings.secrets import Secret


class Failing(Collector):
    """Fails."""

    def collect(self) -> Iterator[Metric]:
        """Raise in the server's thread."""
        if threading.current_thread() is not threading.main_thread():
            raise ValueError("no figure")
        yield from ()


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

    server.readiness.remarks["items"] = "the items are not up to date"

    assert server.get("/readyz")[2] == "ready; release 2 was refused; the items are not up to date\n"


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
    with server.answering((200, {"clicks": np.int32(2)})) as asked:
        status, kind, body = server.get(f"/v1/users/{quote('a/b ü', safe='')}")

    assert (status, kind, json.loads(body)) == (200, "application/json", {"clicks": 2})
    assert asked == [AboutUser("a/b ü")]


def test_a_user_who_is_not_here_is_not_found(server: Server) -> None:
    """With what is here instead."""
    with server.answering((404, {"serves": [0, 1]})):
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
        (
            "not found; the paths are /metrics, /livez, /readyz, /v1/users/{user_id}, "
            "/v1/recommendations/{user_id}, /v1/similar/{item_id} and /v1/openapi.json\n"
        ),
    )


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


def test_a_failure_of_the_worker_is_logged(server: Server, logged: list[EventDict]) -> None:
    """500, and the reason in the log."""
    server.metrics.registry.register(Failing())

    assert server.get("/metrics")[::2] == (500, "Internal Server Error\n")
    assert [(one["event"], one["path"], one["error"]) for one in logged] == [
        ("a request failed", "/metrics", "ValueError('no figure')")
    ]


@pytest.mark.parametrize(
    ("given", "status"),
    [
        ("Bearer a-token-of-the-test", 200),
        ("bearer a-token-of-the-test", 200),
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
    with one.listening(token="a-token-of-the-test"), one.answering((200, {})):
        assert one.get("/v1/users/ada", **headers)[0] == status
        assert one.get("/metrics")[0] == one.get("/livez")[0] == 200


def test_a_token_may_have_letters_of_any_language() -> None:
    """A client sends them as UTF-8."""
    server, token = Server(), "ключ-от-всех-дверей"
    sent = f"Bearer {token}".encode().decode("latin-1")

    with server.listening(token=token), server.answering((200, {})):
        assert server.get("/v1/users/ada", Authorization=sent)[0] == 200


def test_a_token_in_a_file_is_read_at_every_request(tmp_path: Path) -> None:
    """A new one needs no restart; without the file, nobody is let in."""
    file, server = tmp_path / "token", Server()
    file.write_text("first")
    secret = Secret(file=file, key="http.token_file")

    def status(token: str) -> int:
        return server.get("/v1/users/ada", Authorization=f"Bearer {token}")[0]

    with server.listening(token=secret.read), server.answering((200, {})):
        before = status("first")
        file.write_text("second")
        after = status("first"), status("second")
        file.unlink()
        gone = status("second")

    assert (before, after, gone) == (200, (401, 200), 503)


def test_without_a_token_users_are_shown_on_this_machine_only() -> None:
    """An address that others may reach needs one; the answer says so."""
    one = Server()
    with one.listening("0.0.0.0"):  # that is the case in question
        status, _, body = one.get("/v1/users/ada")

    assert (status, "set http.token" in body) == (403, True)
