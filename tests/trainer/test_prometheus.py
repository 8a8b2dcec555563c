from __future__ import annotations

import socket
from functools import partial
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

import pytest
from prometheus_client import Counter, generate_latest

from deploy.kafka.ports import free_port
from trainer.prometheus import ProgramMetrics, serving
from worker.errors import SettingError


def test_metrics_are_served_while_the_context_is_open() -> None:
    """Those of the registry, and no others; without a port nothing listens."""
    metrics, port = ProgramMetrics(), free_port()
    Counter("lamps", "Lamps sold.", registry=metrics.registry).inc(3)

    with serving(metrics, "127.0.0.1", None), pytest.raises(URLError):
        urlopen(f"http://127.0.0.1:{port}/metrics")
    with serving(metrics, "127.0.0.1", port), urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        assert "lamps_total 3.0" in answer.read().decode().splitlines()


def test_a_command_that_answers_is_alive() -> None:
    """There are no other paths, and the answer says so; all answers are counted."""
    metrics, port = ProgramMetrics(), free_port()
    with serving(metrics, "127.0.0.1", port):
        with urlopen(f"http://127.0.0.1:{port}/livez") as answer:
            assert answer.read() == b"live\n"
        with pytest.raises(HTTPError) as refused:
            urlopen(f"http://127.0.0.1:{port}/readyz")

    assert refused.value.read() == b"not found; the paths are /metrics and /livez\n"
    counted = partial(metrics.registry.get_sample_value, "nextclick_http_requests_total")
    assert counted({"path": "/livez", "status": "200"}) == 1
    assert counted({"path": "other", "status": "404"}) == 1
    assert counted({"path": "/metrics", "status": "200"}) == 0


def test_every_command_exports_its_process_and_its_build() -> None:
    """Memory, garbage collection and versions."""
    found = generate_latest(ProgramMetrics().registry).decode()

    for name in ("process_resident_memory_bytes ", "python_gc_collections_total{", "nextclick_build_info{"):
        assert f"\n{name}" in found


def test_a_port_that_is_taken_is_said() -> None:
    """The message names it."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        with (
            pytest.raises(SettingError, match=f"cannot listen on 127.0.0.1:{port}"),
            serving(ProgramMetrics(), "127.0.0.1", port),
        ):
            pass
