from __future__ import annotations

import subprocess
import sys

import pytest

from deploy.kafka import ports
from deploy.kafka.ports import free_port
from tests.broker.process import ROOT

HOLDER = "from deploy.kafka.ports import free_port; print(free_port(), flush=True); input()"


class Chosen:
    """A random source that proposes these ports."""

    def __init__(self, *proposed: int) -> None:
        self._proposed = proposed

    def sample(self, population: range, count: int) -> list[int]:
        """Return them."""
        return [*self._proposed]


def test_no_port_is_given_twice() -> None:
    """Though nobody listens on any of them yet."""
    assert len({free_port() for _ in range(50)}) == 50


def test_a_port_that_another_process_was_given_is_free_when_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes of one test run are given different ports, whatever their random numbers are."""
    words = [sys.executable, "-c", HOLDER]
    with subprocess.Popen(
        words, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        port, other = int(process.stdout.readline()), free_port() - 10_000
        monkeypatch.setattr(ports, "_random", Chosen(port, other))
        meanwhile = free_port()
        process.communicate("\n")

    assert meanwhile == other
    assert free_port() == port
