"""Metrics of an HTTP server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

OTHER: Final = "other"
"""The label of all paths that do not exist, so that labels have few values."""

METRICS: Final = "/metrics"
LIVE: Final = "/livez"
READY: Final = "/readyz"
USERS: Final = "/v1/users"
RECOMMENDATIONS: Final = "/v1/recommendations"
SIMILAR: Final = "/v1/similar"
OPENAPI: Final = "/v1/openapi.json"

OF_WORKER: Final[Mapping[str, Sequence[int]]] = {
    METRICS: (200,),
    LIVE: (200, 503),
    READY: (200, 503),
    USERS: (200, 401, 403, 404, 503),
    RECOMMENDATIONS: (200, 400, 401, 403, 404, 409, 500, 503),
    SIMILAR: (200, 400, 401, 403, 404, 500, 503),
    OPENAPI: (200,),
    OTHER: (404,),
}
"""The paths of a worker with the statuses of their answers; any path may also be answered with 405."""

TIMED: Final = (RECOMMENDATIONS, SIMILAR)
"""The paths whose answers are timed."""

_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)

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
        timed = [path for path in TIMED if path in paths]
        if timed:
            self._seconds = Histogram(
                "nextclick_http_answer_seconds",
                "Time to answer a request for a list, from its last byte to the response, by path.",
                ["path"],
                buckets=_SECONDS,
                registry=registry,
            )
        self._timed = {path: self._seconds.labels(path) for path in timed}
        for path, statuses in paths.items():
            for status in (*statuses, 405):
                self._requests.labels(path, status)

    def count(self, path: str, status: int, seconds: float = 0.0) -> None:
        """Count an answered request, which took some seconds."""
        self._requests.labels(path, status).inc()
        if timed := self._timed.get(path):
            timed.observe(seconds)
