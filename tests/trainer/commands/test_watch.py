from __future__ import annotations

import socket
import subprocess
import sys

import pytest
from click.testing import CliRunner

from tests.trainer.test_main import trainer
from trainer.commands.cli import cli
from worker.errors import SettingError


def test_a_port_that_is_taken_is_said_at_once() -> None:
    """Before Kafka is asked for anything, with what to do."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        words = ["watch", "--kafka", "localhost:9", "--metrics-port", str(port)]

        with pytest.raises(SettingError, match=rf"cannot listen on 127\.0\.0\.1:{port}: .* Name a free one"):
            CliRunner().invoke(cli, words, catch_exceptions=False)


def test_one_look_does_not_wait_for_kafka() -> None:
    """`--once` is an error where nothing answers: whoever called it decides when to try again."""
    done = trainer("watch", "--kafka", "localhost:9", "--once")

    assert done.returncode == 2
    assert "Is a broker running at localhost:9" in done.stderr


def test_a_watch_ends_in_order_when_asked_to() -> None:
    """As `run` does: on SIGTERM with exit code 0, while Kafka is away too."""
    words = [sys.executable, "-u", "-m", "trainer", "watch", "--kafka", "localhost:9"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as watch:
        assert watch.stdout
        assert "trying again" in watch.stdout.readline()
        watch.terminate()

        assert watch.wait(10) == 0
