"""`run`: the worker as a process, from its settings to its exit code. Kafka is in the same process."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Protocol

import orjson
import pytest

from deploy.kafka.ports import free_port
from tests.broker.process import WorkerProcess, toml
from tests.waiting import eventually

SETTINGS: Mapping[str, Any] = {
    "group": "desk",
    "worker_id": "a",
    "recommend": {"publish": "every", "publish_max_age": 0},
    "log": {"format": "json"},
}


class Start(Protocol):
    """What the fixture `start` is."""

    def __call__(self, **sections: Mapping[str, Any]) -> WorkerProcess:
        """Start a worker with these settings on top."""


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a worker, which ends with the test."""
    with ExitStack() as life:

        def started(**sections: Mapping[str, Any]) -> WorkerProcess:
            port, config = free_port(), tmp_path / "worker.toml"
            config.write_text(toml({**SETTINGS, "http": {"port": port}, **sections}))
            one = WorkerProcess(
                ["run", "--config", str(config)],
                log_path=tmp_path / "worker.log",
                http_port=port,
                module="tests.worker.commands.alone",
            )
            life.callback(one.end)
            return one

        yield started


def test_a_worker_serves_until_it_is_told_to_stop(start: Start) -> None:
    """Settings, signals, HTTP, followers in threads of their own and the loop, together; exit code 0."""
    process = start()
    process.wait_until_ready()
    eventually(lambda: process.metric("nextclick_checkpoints_total", outcome="committed"), what="a commit")
    found = process.http("/v1/users/ada")
    process.terminate()

    assert process.wait(15) == 0
    assert found[0] == 200
    assert "answers: 1, committed: {0: 1}" in process.log
    assert '"event": "started"' in process.log
    assert "Traceback" not in process.log


def test_a_worker_that_cannot_serve_says_what_to_do(start: Start) -> None:
    """Exit code 2, and the last line of the log instead of a traceback; every line is JSON."""
    process = start(topics={"clicks": "nowhere"})

    assert process.wait() == 2
    *lines, _ = process.log.splitlines()  # the last one is of the process of the test
    last = [orjson.loads(line) for line in lines][-1]
    assert (last["event"], last["level"], last["exit_code"]) == ("ended", "error", 2)
    assert last["error"].startswith(
        "topic nowhere does not exist, nor does nowhere.dead-letter. "
        "Run `nextclick-worker topics --create-clicks`"
    )


def test_a_port_that_is_taken_is_in_the_log_too(start: Start) -> None:
    """As every reason for which a worker ends; every line is JSON."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        process = start(http={"port": taken.getsockname()[1]})
        code = process.wait()

    *lines, _ = process.log.splitlines()
    last = [orjson.loads(line) for line in lines][-1]
    assert (code, last["event"]) == (2, "ended")
    assert "cannot listen on" in last["error"]


def test_on_a_console_the_reason_stands_alone(start: Start) -> None:
    """As every command says it."""
    process = start(topics={"clicks": "nowhere"}, log={"format": "console"})

    assert process.wait() == 2
    assert process.log.splitlines()[-2].startswith("nextclick-worker: topic nowhere does not exist")
