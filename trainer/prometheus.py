"""The metrics that every long-running command exports, and their HTTP endpoint."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry

from worker.http.registry import program_registry
from worker.http.requests import OF_TRAINER, HttpMetrics
from worker.http.server import serving_metrics


class ProgramMetrics:
    """The registry of one command: process, Python, build and HTTP. Subclasses add to it."""

    def __init__(self) -> None:
        self.registry: CollectorRegistry = program_registry()
        self.http = HttpMetrics(self.registry, OF_TRAINER)


@contextmanager
def serving(metrics: ProgramMetrics, host: str, port: int | None) -> Iterator[None]:
    """Serve /metrics and /livez while the context is open; without a `port`, do nothing.

    Raises SettingError if the server cannot listen on this address.
    """
    if port is None:
        yield
        return
    with serving_metrics(host, port, registry=metrics.registry, metrics=metrics.http):
        yield
