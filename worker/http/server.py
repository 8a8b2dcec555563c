"""The HTTP server: one thread, one event loop, bounded connections.

The server reads the readiness that the loop sets, and asks the loop about users. Anyone who can reach the
port could slow down the processing of clicks. So the cost of a connection is small and bounded, and
simultaneous scrapes share one response. Rejected: a thread per connection; with it, 80 idle connections
raised the 99th percentile of a click's latency from 13 to 152 ms.
"""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import logging
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any, Final

import orjson
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from tornado.httpserver import HTTPServer
from tornado.iostream import IOStream
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler

from worker.errors import SettingError
from worker.http.questions import Questions
from worker.http.readiness import LIVE_WITHIN_SECONDS, Readiness

MAX_CONNECTIONS: Final = 512
"""Maximum number of open connections; further connections are closed at once."""

HEADER_SECONDS: Final = 10.0
"""Maximum time until a connection has sent the complete header of its next request."""

MAX_HEADER_BYTES: Final = 8_192
"""Maximum size of a request's header, including its path."""

SAME_TEXT_SECONDS: Final = 0.25
"""Scrapes within this time share a response, because a response costs about as much as 50 clicks."""

PLAIN: Final = "text/plain"
OPENMETRICS: Final = "application/openmetrics-text"
_VERSIONS: Final = {PLAIN: "0.0.4", OPENMETRICS: "1.0.0"}

_PATHS: Final = "not found; the paths are /metrics, /livez, /readyz and /v1/users/{user_id}"


@contextmanager
def serving(
    host: str,
    port: int,
    *,
    token: str | None,
    registry: CollectorRegistry,
    readiness: Readiness,
    questions: Questions,
) -> Iterator[int]:
    """Answer HTTP requests in a separate thread while the context is open; yield the port.

    Without a `token`, /v1 is served only if `host` is a loopback address. Raises SettingError if the
    address cannot be used.
    """
    try:
        sockets = bind_sockets(port, host)
    except OSError as error:
        raise SettingError(
            f"http: cannot listen on {host}:{port}: {error.strerror}. Set http.port to a free port, or to 0 "
            "for any free port"
        ) from None
    # Data that is not HTTP is common on a reachable port; do not log it.
    logging.getLogger("tornado").setLevel(logging.CRITICAL)
    access = _Access(token, open=token is None and _is_loopback(host))
    application = _application(_Metrics(registry, readiness.clock), readiness, questions, access)
    started: Future[Callable[[], object]] = Future()
    thread = threading.Thread(
        target=lambda: asyncio.run(_serve(sockets, application, started)), name="nextclick-http", daemon=True
    )
    thread.start()
    stop = started.result()
    try:
        yield sockets[0].getsockname()[1]
    finally:
        stop()
        thread.join()


async def _serve(
    sockets: list[socket.socket], application: Application, started: Future[Callable[[], object]]
) -> None:
    loop, over = asyncio.get_running_loop(), asyncio.Event()
    server = _Server(
        application,
        max_header_size=MAX_HEADER_BYTES,
        max_body_size=1,
        idle_connection_timeout=HEADER_SECONDS,
        body_timeout=HEADER_SECONDS,
    )
    server.add_sockets(sockets)
    started.set_result(lambda: loop.call_soon_threadsafe(over.set))
    await over.wait()
    server.stop()
    await server.close_all_connections()


class _Server(HTTPServer):
    def handle_stream(self, stream: IOStream, address: tuple[Any, ...]) -> None:
        """Accept a new connection, or close it if there are too many."""
        if len(self._connections) >= MAX_CONNECTIONS:
            stream.close()
        else:
            super().handle_stream(stream, address)


class _Access:
    """Access control by token, for questions about users."""

    def __init__(self, token: str | None, *, open: bool) -> None:
        self._header = f"Bearer {token}".encode() if token else b""
        self._open = open

    def refusal(self, header: str) -> tuple[int, str] | None:
        """Return status and reason if a request with this Authorization header is refused, else None."""
        if self._open:
            return None
        if not self._header:
            return 403, "http.host is not a loopback address; set http.token, and send it as a bearer token"
        if hmac.compare_digest(header.encode(), self._header):
            return None
        return 401, "send http.token in the header `Authorization: Bearer ...`"


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class _Metrics:
    """The response of a scrape, in either format; it is made once for simultaneous scrapes."""

    def __init__(self, registry: CollectorRegistry, clock: Callable[[], float]) -> None:
        self._registry = registry
        self._clock = clock
        self._made: dict[str, tuple[float, str, bytes]] = {}

    def text(self, accept: str) -> tuple[str, bytes]:
        """Return the content type that suits the Accept header, and the response."""
        # Only the name counts: a version that the client chose would be a response of its own.
        name = OPENMETRICS if OPENMETRICS in accept else PLAIN
        at, kind, text = self._made.get(name, (0.0, "", b""))
        if not text or self._clock() >= at + SAME_TEXT_SECONDS:
            encode, kind = choose_encoder(f"{name}; version={_VERSIONS[name]}")
            text = encode(self._registry)
            self._made[name] = self._clock(), kind, text
        return kind, text


def _application(
    metrics: _Metrics, readiness: Readiness, questions: Questions, access: _Access
) -> Application:
    return Application(
        [
            ("/metrics", _MetricsHandler, {"metrics": metrics}),
            ("/livez", _LiveHandler, {"readiness": readiness}),
            ("/readyz", _ReadyHandler, {"readiness": readiness}),
            (
                "/v1/users/(.+)",
                _UserHandler,
                {"readiness": readiness, "questions": questions, "access": access},
            ),
        ],
        default_handler_class=_Handler,
        log_function=lambda _: None,
    )


class _Handler(RequestHandler):
    """Answers GET and HEAD; any other method gets 405, any other path 404."""

    SUPPORTED_METHODS = ("GET", "HEAD")

    async def get(self, *arguments: str) -> None:
        """Answer 404 with a list of the existing paths."""
        self.say(404, _PATHS)

    async def head(self, *arguments: str) -> None:
        """Answer like GET; the server omits the body."""
        await self.get(*arguments)

    def compute_etag(self) -> None:
        """Omit the ETag: responses are never cached."""

    def say(self, status: int, text: str) -> None:
        """Answer with a line of text."""
        self.set_status(status)
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.finish(f"{text}\n")

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Answer an error as plain text instead of HTML."""
        self.say(status_code, self._reason)


class _MetricsHandler(_Handler):
    def initialize(self, metrics: _Metrics) -> None:
        self._metrics = metrics

    async def get(self, *arguments: str) -> None:
        kind, text = self._metrics.text(self.request.headers.get("Accept", ""))
        self.set_header("Content-Type", kind)
        self.finish(text)


class _LiveHandler(_Handler):
    def initialize(self, readiness: Readiness) -> None:
        self._readiness = readiness

    async def get(self, *arguments: str) -> None:
        silent = self._readiness.silent_seconds
        if silent > LIVE_WITHIN_SECONDS:
            self.say(503, f"the loop has completed no round for {silent:.0f} s")
        else:
            self.say(200, "live")


class _ReadyHandler(_Handler):
    def initialize(self, readiness: Readiness) -> None:
        self._readiness = readiness

    async def get(self, *arguments: str) -> None:
        reason, remark = self._readiness.reason, self._readiness.remark
        text = reason or (f"ready; {remark}" if remark else "ready")
        if self._readiness.notice and "verbose" in self.request.query:
            text += f"\n{self._readiness.notice}"
        self.say(503 if reason else 200, text)


class _UserHandler(_Handler):
    def initialize(self, readiness: Readiness, questions: Questions, access: _Access) -> None:
        self._readiness = readiness
        self._questions = questions
        self._access = access

    async def get(self, *arguments: str) -> None:
        if refusal := self._access.refusal(self.request.headers.get("Authorization", "")):
            return self._json(refusal[0], {"error": refusal[1]})
        try:
            here, document = await self._questions.ask(arguments[0])
        except TimeoutError:
            reason = self._readiness.reason or "the loop is busy"
            return self._json(503, {"error": f"no answer in time: {reason}"})
        return self._json(200 if here else 404, document)

    def _json(self, status: int, document: dict[str, Any]) -> None:
        self.set_status(status)
        if status == 401:
            self.set_header("WWW-Authenticate", "Bearer")
        self.set_header("Content-Type", "application/json")
        self.finish(orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_APPEND_NEWLINE))
