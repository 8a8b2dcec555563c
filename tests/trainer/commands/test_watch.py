from __future__ import annotations

import signal
import socket

import pytest
from click.testing import CliRunner

from trainer.commands import watch
from trainer.commands.cli import cli
from worker.errors import KafkaAway, SettingError
from worker.kafka import client

NOBODY = ["watch", "--kafka", "localhost:9"]
"""The command, where no broker answers."""


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a client look for a broker for a moment, not for seconds."""
    monkeypatch.setattr(client, "BOOTSTRAP_TIMEOUT_MS", 100)


def test_a_port_that_is_taken_is_said_at_once() -> None:
    """Before Kafka is asked for anything, with what to do."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        words = [*NOBODY, "--metrics-port", str(port)]

        with pytest.raises(
            SettingError, match=rf"cannot listen on 127\.0\.0\.1:{port}: .*\. Name a free port"
        ):
            CliRunner().invoke(cli, words, catch_exceptions=False)


@pytest.mark.usefixtures("impatient")
def test_one_look_does_not_wait_for_kafka() -> None:
    """`--once` is an error where nothing answers: whoever called it decides when to try again."""
    with pytest.raises(KafkaAway, match="no program listens at localhost:9"):
        CliRunner().invoke(cli, [*NOBODY, "--once"], catch_exceptions=False)


@pytest.mark.usefixtures("impatient")
def test_a_watch_ends_in_order_when_asked_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """As `run` does: on SIGTERM with exit code 0, while Kafka is away too."""
    said: list[str] = []

    def asked_to_end(line: str) -> None:
        said.append(line)
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(watch, "_say", asked_to_end)
    before = signal.getsignal(signal.SIGTERM)

    done = CliRunner().invoke(cli, NOBODY)

    assert done.exit_code == 0
    assert said[0].endswith("retrying")
    assert signal.getsignal(signal.SIGTERM) is before
