"""The HTTP endpoint where Prometheus reads the metrics of a long-running command."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, start_http_server

from worker.errors import SettingError


@contextmanager
def serving(registry: CollectorRegistry, host: str, port: int | None) -> Iterator[None]:
    """Serve /metrics while the context is open; without a `port`, do nothing.

    Raises SettingError if the server cannot listen on this address.
    """
    if port is None:
        yield
        return
    try:
        server, _ = start_http_server(port, host, registry)
    except OSError as error:
        raise SettingError(
            f"metrics.port: cannot listen on {host}:{port}: {error.strerror}; name a free port"
        ) from None
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
