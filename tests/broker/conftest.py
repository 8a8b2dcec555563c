"""Fixtures of the tests on a real Kafka: a foreign client, and workers that never outlive their test."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import pytest

from deploy.kafka.ports import free_port
from tests.broker.client import Client
from tests.broker.deployment import Deployment
from tests.broker.process import WorkerProcess, toml
from tests.conftest import TopicFactory


class CommandRunner(Protocol):
    """What the fixture `command` is."""

    def __call__(self, settings: Mapping[str, Any], name: str, *arguments: str) -> tuple[int, str]:
        """Run a command with these settings to its end; exit code and all that it wrote."""


class WorkerFactory(Protocol):
    """What the fixture `worker` is."""

    def __call__(
        self,
        settings: Mapping[str, Any],
        *,
        command: str = "run",
        arguments: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        ready: bool = True,
    ) -> WorkerProcess:
        """Start a worker with these settings (the TOML file's), and wait until it is ready if told to."""


@pytest.fixture
def client(kafka: str) -> Client:
    """A client of the shared Kafka: `client.send(topic, [Record(...)])`, `client.read(topic)`."""
    return Client(kafka)


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[WorkerFactory]:
    """Starts real workers: `worker({"kafka": {...}, ...})`. Their logs show when the test fails."""
    started: list[WorkerProcess] = []

    def start(
        settings: Mapping[str, Any],
        *,
        command: str = "run",
        arguments: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        ready: bool = True,
    ) -> WorkerProcess:
        http = {"port": free_port()} | dict(settings.get("http", {}))
        config = tmp_path / f"worker-{len(started)}.toml"
        config.write_text(toml(dict(settings) | {"http": http}))
        process = WorkerProcess(
            [command, "--config", str(config), *arguments],
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


@pytest.fixture
def command(worker: WorkerFactory) -> CommandRunner:
    """Runs other commands than `run`: `command(settings, "user", "ada")` gives exit code and output."""

    def run(settings: Mapping[str, Any], name: str, *arguments: str) -> tuple[int, str]:
        process = worker(settings, command=name, arguments=arguments, ready=False)
        return process.wait(60), process.log

    return run


@pytest.fixture
def deployment(kafka: str, topics: TopicFactory, unique: str) -> Deployment:
    """Topics of four partitions for a group of workers on the shared Kafka; no release is published yet."""
    return Deployment(
        kafka, f"group-{unique}", lambda name, count: topics(name, partitions=count), partitions=4
    )
