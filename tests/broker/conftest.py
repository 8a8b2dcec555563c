"""Fixtures of the tests on a real Kafka: a foreign client, and worker processes that never outlive their test."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import pytest

from deploy.kafka.local import free_port
from tests.broker.client import Client
from tests.broker.process import WorkerProcess, toml


class WorkerFactory(Protocol):
    """Starts a worker process with these settings; waits until it is ready unless `ready` is False."""

    def __call__(
        self,
        settings: Mapping[str, Any],
        *,
        command: str = "run",
        environment: Mapping[str, str] | None = None,
        ready: bool = True,
    ) -> WorkerProcess: ...


@pytest.fixture
def client(kafka: str) -> Client:
    """librdkafka on the shared Kafka: `client.send(topic, [Record(...)])`, `client.read(topic, isolation=...)`."""
    return Client(kafka)


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[WorkerFactory]:
    """Starts real workers: `worker(settings)`, settings as in the TOML file. Their logs show when the test fails."""
    started: list[WorkerProcess] = []

    def start(
        settings: Mapping[str, Any],
        *,
        command: str = "run",
        environment: Mapping[str, str] | None = None,
        ready: bool = True,
    ) -> WorkerProcess:
        http = {"port": free_port()} | dict(settings.get("http", {}))
        config = tmp_path / f"worker-{len(started)}.toml"
        config.write_text(toml(dict(settings) | {"http": http}))
        process = WorkerProcess(
            [command, "--config", str(config)],
            log_path=config.with_suffix(".log"),
            http_port=http["port"],
            environment=environment,
        )
        started.append(process)
        if ready:
            process.wait_until_ready()
        return process

    yield start
    for process in started:
        process.end()
        print(f"--- log of worker {process.pid}, exit code {process.exit_code}\n{process.log}")
