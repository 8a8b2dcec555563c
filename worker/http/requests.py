"""Metrics of an HTTP server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge

OTHER: Final = "other"
"""The label of all paths that do not exist, so that labels have few values."""

METRICS: Final = "/metrics"
LIVE: Final = "/livez"
READY: Final = "/readyz"
USERS: Final = "/v1/users"

OF_WORKER: Final[Mapping[str, Sequence[int]]] = {
    METRICS: (200,),
    LIVE: (200, 503),
    READY: (200, 503),
    USERS: (200, 401, 403, 404, 503),
    OTHER: (404,),
}
"""The paths of a worker with the statuses of their answers; any path may also be answered with 405."""

OF_TRAINER: Final[Mapping[str, Sequence[int]]] = {METRICS: (200,), LIVE: (200,), OTHER: (404,)}
"""The same for a trainer."""


class HttpMetrics:
    """The metrics of one server. `paths`: the statuses of each path, whose counters exist from the start."""

    def __init__(self, registry: CollectorRegistry, paths: Mapping[str, Sequence[int]]) -> None:
        self._requests = Counter(
            "nextclick_http_requests",
            f"HTTP requests, by path (`{OTHER}`: paths that do not exist) and status.",
            ["path", "status"],
            registry=registry,
        )
        self.connections = Gauge("nextclick_http_connections", "Open HTTP connections.", registry=registry)
        self.refused = Counter(
            "nextclick_http_refused_connections",
            "HTTP connections closed because too many were open.",
            registry=registry,
        )
        for path, statuses in paths.items():
            for status in (*statuses, 405):
                self._requests.labels(path, status)

    def count(self, path: str, status: int) -> None:
        """Count an answered request."""
        self._requests.labels(path, status).inc()
