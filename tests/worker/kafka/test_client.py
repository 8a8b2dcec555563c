"""The clients of kafka-python, without a broker."""

from __future__ import annotations

import gc
import logging
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from deploy.kafka.ports import free_port
from worker.errors import KafkaAway
from worker.kafka import client
from worker.kafka.client import Endpoint


def opened() -> tuple[int, int]:
    """The threads and the open files of this process, without those that only wait for the collector."""
    gc.collect()
    return threading.active_count(), len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="counts open files as Linux shows them")
@pytest.mark.parametrize("frozen", [False, True], ids=["away", "frozen"])
def test_attempts_without_a_broker_leave_nothing_open(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, *, frozen: bool
) -> None:
    """Or an outage of minutes would end in "Too many open files"."""
    # As in a worker: kept log records would keep the sockets that they name.
    caplog.set_level(logging.CRITICAL, logger="kafka")
    monkeypatch.setattr(client, "BOOTSTRAP_TIMEOUT_MS", 200)
    with socket.create_server(("127.0.0.1", 0)) as server:
        endpoint = Endpoint(f"127.0.0.1:{server.getsockname()[1] if frozen else free_port()}")
        attempts: list[Callable[[], object]] = [
            lambda: endpoint.consumer("a", group="b"),
            lambda: endpoint.producer("a"),
            lambda: endpoint.transactional_producer("a", timeout_ms=1_000, max_request_bytes=1_000),
            endpoint.admin_client,
        ]
        before = opened()

        for attempt in attempts:
            with pytest.raises(KafkaAway), endpoint.errors("connect"):
                attempt()

        assert opened() == before
