"""The address where Prometheus reads the metrics of a long-running command."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, start_http_server

from worker.errors import SettingError


@contextmanager
def serving(registry: CollectorRegistry, host: str, port: int | None) -> Iterator[None]:
    """Answer /metrics while the context is open; do nothing without a port. Raises SettingError."""
    if port is None:
        yield
        return
    try:
        server, _ = start_http_server(port, host, registry)
    except OSError as error:
        raise SettingError(
            f"metrics.port: cannot listen on {host}:{port}: {error.strerror}. Name a free one"
        ) from None
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
