"""A connection of kafka-python, without a broker."""

from __future__ import annotations

import socket
import threading
import time

import pytest

from deploy.kafka.ports import free_port
from tests.waiting import eventually
from worker.kafka import connection, probe
from worker.kafka.connection import KafkaConnection


def test_the_search_for_a_reason_has_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever it waits for. Without a reason, the client's own error has to do."""
    monkeypatch.setattr(connection, "REFUSAL_SECONDS", 0.1)
    before = set(threading.enumerate())
    with socket.create_server(("127.0.0.1", 0)) as frozen:
        began = time.monotonic()
        assert KafkaConnection(f"127.0.0.1:{frozen.getsockname()[1]}").refusal() is None
        assert time.monotonic() - began < probe.STEP_SECONDS / 2

    eventually(lambda: set(threading.enumerate()) <= before, what="the search to end")


def test_a_reason_names_the_place_of_the_address() -> None:
    """The setting, and where it was set."""
    address = f"127.0.0.1:{free_port()}"

    assert "fix the address in kafka.bootstrap_servers (--kafka)" in str(
        KafkaConnection(address, origin="--kafka").refusal()
    )
