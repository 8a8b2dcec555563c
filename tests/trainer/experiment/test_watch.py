from __future__ import annotations

import socket
import subprocess
import sys

import pytest
from click.testing import CliRunner

from tests.trainer.test_main import trainer
from trainer.commands.cli import cli
from trainer.experiment.watch import _pause
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


def test_after_failures_the_next_look_is_at_a_moment_of_chance() -> None:
    """Later and later, up to a minute, or as often as without failures: two never go on in step."""
    for every_seconds, failures, longest in [(0.1, 1, 0.2), (0.1, 3, 0.8), (10, 10_000, 60), (90, 5, 90)]:
        pauses = [_pause(every_seconds, failures) for _ in range(50)]

        assert 0 <= min(pauses) < max(pauses) <= longest
        assert max(pauses) > longest / 2
