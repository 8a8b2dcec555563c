"""The HTTP server: one thread, one event loop, bounded connections.

The server reads the readiness that the loop sets, and asks the loop about users. Anyone who can reach the
port could slow down the processing of clicks. So the cost of a connection is small and bounded, simultaneous
scrapes share one response, and only a connection that asked for `/v1` stays open for another request.
Rejected: a thread per connection; with it, 80 idle connections raised the 99th percentile of a click's
latency from 13 to 152 ms.
"""

from __future__ import annotations

import asyncio
import logging
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from typing import Any, Final

from prometheus_client import CollectorRegistry
from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPMessageDelegate
from tornado.iostream import IOStream
from tornado.netutil import bind_sockets
from tornado.web import Application

from worker.errors import SettingError
from worker.http.handlers import (
    Access,
    Handler,
    LiveHandler,
    MetricsHandler,
    MetricsText,
    ReadyHandler,
    UserHandler,
)
from worker.http.lists import OpenApiHandler, RecommendationsHandler, SimilarHandler
from worker.http.passing import Passing
from worker.http.questions import Questions
from worker.http.readiness import Readiness
from worker.http.requests import (
    LIVE,
    METRICS,
    OPENAPI,
    READY,
    RECOMMENDATIONS,
    SIMILAR,
    USERS,
    HttpMetrics,
)

MAX_CONNECTIONS: Final = 512
"""Maximum number of open connections. A further connection closes the oldest one, because a client in good
faith is answered within milliseconds: idle connections in any number do not keep out the probes.
"""

HEADER_SECONDS: Final = 10.0
"""Maximum time until a connection has sent the complete header of its request."""

CONNECTION_SECONDS: Final = 15.0
"""Maximum time until a request is answered and the response is read: a client may never read it."""

MAX_HEADER_BYTES: Final = 8_192
"""Maximum size of a request's header, including its path."""

_LOOK_SECONDS: Final = 1.0
"""The interval at which old connections are closed."""

_Routes = list[tuple[str, type[Handler], dict[str, Any]]]


@contextmanager
def serving(
    host: str,
    port: int,
    *,
    token: Callable[[], str] | None,
    registry: CollectorRegistry,
    metrics: HttpMetrics,
    readiness: Readiness,
    questions: Questions,
    top: int = 20,
    passing: Passing | None = None,
) -> Iterator[int]:
    """Answer HTTP requests to a worker in a separate thread while the context is open; yield the port.

    `token` is called for every request of /v1. Without it, /v1 is served only if `host` is a loopback
    address. `top`: the number of items in a list if a request does not say it. `passing`: asks the other
    workers. Raises SettingError if the address cannot be used.
    """
    guarded = {"readiness": readiness, "questions": questions, "access": Access(token, host=host)}
    lists = {**guarded, "top": top}
    routes: _Routes = [
        (METRICS, MetricsHandler, {"metrics": MetricsText(registry, readiness.clock)}),
        (LIVE, LiveHandler, {"silent": lambda: readiness.silent_seconds}),
        (READY, ReadyHandler, {"readiness": readiness}),
        (f"{USERS}/(.+)", UserHandler, guarded),
        (f"{RECOMMENDATIONS}/(.+)", RecommendationsHandler, {**lists, "passing": passing}),
        (f"{SIMILAR}/(.+)", SimilarHandler, lists),
        (re.escape(OPENAPI), OpenApiHandler, {}),
    ]
    paths = [
        METRICS,
        LIVE,
        READY,
        f"{USERS}/{{user_id}}",
        f"{RECOMMENDATIONS}/{{user_id}}",
        f"{SIMILAR}/{{item_id}}",
        OPENAPI,
    ]
    helps = "Set http.port to a free port, or to 0 for any free port"
    with _listening(
        host, port, _application(routes, paths, metrics), metrics, setting="http", helps=helps
    ) as at:
        yield at


@contextmanager
def serving_metrics(
    host: str, port: int, *, registry: CollectorRegistry, metrics: HttpMetrics
) -> Iterator[int]:
    """Answer requests for /metrics and /livez in a separate thread while the context is open; yield the port.

    /livez says that the process answers. Raises SettingError if the address cannot be used.
    """
    routes: _Routes = [
        (METRICS, MetricsHandler, {"metrics": MetricsText(registry, time.monotonic)}),
        (LIVE, LiveHandler, {"silent": lambda: 0.0}),
    ]
    application = _application(routes, [METRICS, LIVE], metrics)
    with _listening(host, port, application, metrics, setting="metrics.port", helps="Name a free port") as at:
        yield at


def _application(routes: _Routes, paths: list[str], metrics: HttpMetrics) -> Application:
    def count(handler: Any) -> None:
        metrics.count(handler.label, handler.get_status(), handler.request.request_time())

    return Application(routes, default_handler_class=Handler, log_function=count, paths=paths)


@contextmanager
def _listening(
    host: str, port: int, application: Application, metrics: HttpMetrics, *, setting: str, helps: str
) -> Iterator[int]:
    try:
        sockets = bind_sockets(port, host)
    except (OSError, UnicodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no host name"
        raise SettingError(f"{setting}: cannot listen on {host}:{port}: {why}. {helps}") from None
    # Do not log data that is not HTTP: anyone could fill the log. `Handler` logs failures of the worker.
    logging.getLogger("tornado").setLevel(logging.CRITICAL)
    started: Future[Callable[[], object]] = Future()
    thread = threading.Thread(
        target=lambda: asyncio.run(_serve(sockets, application, metrics, started)),
        name="nextclick-http",
        daemon=True,
    )
    thread.start()
    stop = started.result()
    try:
        yield sockets[0].getsockname()[1]
    finally:
        stop()
        thread.join()


async def _serve(
    sockets: list[socket.socket],
    application: Application,
    metrics: HttpMetrics,
    started: Future[Callable[[], object]],
) -> None:
    loop, over = asyncio.get_running_loop(), asyncio.Event()
    server = _Server(
        application,
        max_header_size=MAX_HEADER_BYTES,
        max_body_size=1,
        idle_connection_timeout=HEADER_SECONDS,
        body_timeout=HEADER_SECONDS,
    )
    server.metrics = metrics
    metrics.connections.set_function(lambda: len(server._connections))  # noqa: SLF001  # of our own class
    server.add_sockets(sockets)
    started.set_result(lambda: loop.call_soon_threadsafe(over.set))
    while not over.is_set():
        server.close_old()
        with suppress(TimeoutError):
            await asyncio.wait_for(over.wait(), _LOOK_SECONDS)
    server.stop()
    await server.close_all_connections()


class _Server(HTTPServer):
    """Bounds the number and the life of connections."""

    metrics: HttpMetrics

    def initialize(self, *arguments: Any, **options: Any) -> None:
        super().initialize(*arguments, **options)
        self._since: dict[IOStream, float] = {}
        """By connection: when it was opened, or its last response was sent. The oldest come first; some are
        closed.
        """

    def handle_stream(self, stream: IOStream, address: tuple[Any, ...]) -> None:
        """Accept a new connection; close the oldest one if there are too many."""
        self._since[stream] = time.monotonic()
        if len(self._since) > MAX_CONNECTIONS:
            self._since = {one: since for one, since in self._since.items() if not one.closed()}
            if len(self._since) > MAX_CONNECTIONS:
                self.metrics.refused.inc()
                self._close_oldest()
        super().handle_stream(stream, address)

    def start_request(self, server_conn: object, request_conn: Any) -> HTTPMessageDelegate:
        """Begin to wait for the next request of a connection."""
        stream = request_conn.stream
        if self._since.pop(stream, None):
            self._since[stream] = time.monotonic()
        return super().start_request(server_conn, request_conn)

    def close_old(self) -> None:
        """Close the connections that have been idle, or have not read a response, for too long."""
        before = time.monotonic() - CONNECTION_SECONDS
        while self._since and next(iter(self._since.values())) < before:
            self._close_oldest()

    def _close_oldest(self) -> None:
        stream = next(iter(self._since))
        del self._since[stream]
        stream.close()
