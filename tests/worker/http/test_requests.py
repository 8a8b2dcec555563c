from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry

from worker.http.requests import OF_TRAINER, OF_WORKER, OTHER, HttpMetrics


def count(registry: CollectorRegistry, path: str, status: int) -> float | None:
    """How often this path was answered so; None without a series."""
    return registry.get_sample_value("nextclick_http_requests_total", {"path": path, "status": str(status)})


@pytest.mark.parametrize("paths", [OF_WORKER, OF_TRAINER])
def test_every_answer_that_can_be_is_counted_from_0(paths: dict[str, tuple[int, ...]]) -> None:
    """Also a method that no path has."""
    registry = CollectorRegistry()
    HttpMetrics(registry, paths)

    for path, statuses in paths.items():
        assert [count(registry, path, status) for status in (*statuses, 405)] == [0] * (len(statuses) + 1)


def test_an_answered_request_is_counted_once() -> None:
    """Under its own path and status."""
    registry = CollectorRegistry()
    metrics = HttpMetrics(registry, OF_TRAINER)
    metrics.count(OTHER, 404)

    assert count(registry, OTHER, 404) == 1
    assert count(registry, OTHER, 405) == 0
