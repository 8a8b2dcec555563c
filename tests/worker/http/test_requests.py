"""Metrics of an HTTP server, counted by hand; test_server.py counts requests over a socket."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry

from worker.http.requests import OF_TRAINER, OF_WORKER, HttpMetrics


def counts(registry: CollectorRegistry) -> dict[tuple[str, str], float]:
    """Return the number of requests by path and status."""
    samples = (one for metric in registry.collect() for one in metric.samples)
    return {
        (one.labels["path"], one.labels["status"]): one.value
        for one in samples
        if one.name == "nextclick_http_requests_total"
    }


@pytest.mark.parametrize("paths", [OF_WORKER, OF_TRAINER])
def test_every_answer_that_is_possible_is_0_from_the_start(paths: dict[str, tuple[int, ...]]) -> None:
    """So that `increase()` sees the first one."""
    registry = CollectorRegistry()
    HttpMetrics(registry, paths)

    assert counts(registry) == {
        (path, str(status)): 0.0 for path, statuses in paths.items() for status in (*statuses, 405)
    }


def test_a_request_is_counted_by_path_and_status() -> None:
    """Also with a status that nobody expected."""
    registry = CollectorRegistry()
    metrics = HttpMetrics(registry, OF_TRAINER)

    metrics.count("/metrics", 200)
    metrics.count("/metrics", 500)

    assert counts(registry)["/metrics", "200"] == counts(registry)["/metrics", "500"] == 1
