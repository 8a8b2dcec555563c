"""A small WSGI server in threads of its own. It reads what the loop has noted, and asks it about users.

Four paths need no framework: a dependency less in every worker.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING, Any, Final
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import orjson
from prometheus_client import CollectorRegistry, make_wsgi_app

from worker.errors import SettingError
from worker.http.questions import Questions
from worker.http.readiness import LIVE_WITHIN_SECONDS, Readiness

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment


_USERS: Final = "/v1/users/"


@contextmanager
def serving(
    host: str, port: int, *, registry: CollectorRegistry, readiness: Readiness, questions: Questions
) -> Iterator[int]:
    """Answer HTTP requests in threads of their own while the context is open; gives the port.

    Raises SettingError if the address cannot be used.
    """
    try:
        server = make_server(host, port, _application(registry, readiness, questions), _Server, _Handler)
    except OSError as error:
        raise SettingError(
            f"http: cannot listen on {host}:{port}: {error.strerror}. "
            "Set http.port to a free port, or to 0 for any"
        ) from None
    with server:
        threading.Thread(target=server.serve_forever, name="nextclick-http", daemon=True).start()
        yield server.server_port
        server.shutdown()


def _application(registry: CollectorRegistry, readiness: Readiness, questions: Questions) -> WSGIApplication:
    metrics = make_wsgi_app(registry)

    def answer(environment: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path = environment["PATH_INFO"]
        if path == "/metrics":
            return metrics(environment, start_response)
        if path.startswith(_USERS):
            # WSGI has the path's bytes as Latin-1 (PEP 3333).
            user_id = path.removeprefix(_USERS).encode("latin-1").decode(errors="replace")
            status, document = _user(user_id, readiness, questions)
            start_response(status, [("Content-Type", "application/json")])
            return [orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_APPEND_NEWLINE)]
        status, text = _health(path, readiness)
        if path == "/readyz" and "verbose" in environment.get("QUERY_STRING", "") and readiness.notice:
            text = f"{text}\n{readiness.notice}"
        start_response(status, [("Content-Type", "text/plain; charset=utf-8")])
        return [f"{text}\n".encode()]

    return answer


def _user(user_id: str, readiness: Readiness, questions: Questions) -> tuple[str, dict[str, Any]]:
    try:
        here, document = questions.ask(user_id)
    except TimeoutError:
        reason = readiness.reason or "the loop is busy"
        return "503 Service Unavailable", {"error": f"no answer in time: {reason}"}
    return "200 OK" if here else "404 Not Found", document


def _health(path: str, readiness: Readiness) -> tuple[str, str]:
    if path == "/livez":
        silent = readiness.silent_seconds
        if silent > LIVE_WITHIN_SECONDS:
            return "503 Service Unavailable", f"the loop has not come round for {silent:.0f} s"
        return "200 OK", "live"
    if path == "/readyz":
        reason = readiness.reason
        if reason:
            return "503 Service Unavailable", reason
        return "200 OK", f"ready; {readiness.remark}" if readiness.remark else "ready"
    return "404 Not Found", "there are /metrics, /livez, /readyz and /v1/users/{user_id}"


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Handler(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Log nothing: scrapes and probes are routine."""
