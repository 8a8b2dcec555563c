from __future__ import annotations

import socket
from urllib.request import urlopen

import pytest
from prometheus_client import CollectorRegistry, Counter

from deploy.kafka.ports import free_port
from trainer.prometheus import serving
from worker.errors import SettingError


def test_metrics_are_served_while_the_context_is_open() -> None:
    """Those of the registry, and no others; without a port nothing listens."""
    registry, port = CollectorRegistry(), free_port()
    Counter("lamps", "Lamps sold.", registry=registry).inc(3)

    with serving(registry, "127.0.0.1", None):
        pass
    with serving(registry, "127.0.0.1", port), urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        assert "lamps_total 3.0" in answer.read().decode().splitlines()


def test_a_port_that_is_taken_is_said() -> None:
    """The message names it."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        with (
            pytest.raises(SettingError, match=f"cannot listen on 127.0.0.1:{port}"),
            serving(CollectorRegistry(), "127.0.0.1", port),
        ):
            pass
