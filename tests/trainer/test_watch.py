from __future__ import annotations

import socket

import pytest
from click.testing import CliRunner

from tests.trainer.test_main import trainer
from trainer.__main__ import cli
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
