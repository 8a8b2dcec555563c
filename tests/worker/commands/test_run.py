"""`run`: the worker as a process, from its settings to its exit code. Kafka is in the same process."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from deploy.kafka.ports import free_port
from tests.broker.process import WorkerProcess, toml
from tests.waiting import eventually

SETTINGS: Mapping[str, Any] = {
    "group": "desk",
    "worker_id": "a",
    "recommend": {"publish": "every", "publish_max_age_seconds": 0},
    "log": {"format": "json"},
}


@pytest.fixture
def process(tmp_path: Path) -> Iterator[WorkerProcess]:
    """A worker that has just been started."""
    port, config = free_port(), tmp_path / "worker.toml"
    config.write_text(toml({**SETTINGS, "http": {"port": port}}))
    one = WorkerProcess(
        ["run", "--config", str(config)],
        log_path=tmp_path / "worker.log",
        http_port=port,
        module="tests.worker.commands.alone",
    )
    yield one
    one.end()


def test_a_worker_serves_until_it_is_told_to_stop(process: WorkerProcess) -> None:
    """Settings, signals, HTTP, followers in threads of their own and the loop, together; exit code 0."""
    process.wait_until_ready()
    eventually(lambda: process.metric("nextclick_checkpoints_total", outcome="committed"), what="a commit")
    found = process.http("/v1/users/ada")
    process.terminate()

    assert process.wait(15) == 0
    assert found[0] == 200
    assert "answers: 1, committed: {0: 1}" in process.log
    assert '"event": "started"' in process.log
    assert "Traceback" not in process.log
