"""Fixtures of the desk tests."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterator

import pytest
from structlog.testing import capture_logs
from structlog.typing import EventDict

from tests.worker.desk import GROUP
from worker.__main__ import main
from worker.core import blocks
from worker.kafka.memory import MemoryCluster

Command = Callable[..., tuple[int, str]]
"""`command(cluster, "user", "ada")` runs a command to its end: exit code and all that it wrote."""


@pytest.fixture
def logged() -> Iterator[list[EventDict]]:
    """All that is logged while the test runs: `{"event": ..., "log_level": ..., ...}`."""
    with capture_logs() as events:
        yield events


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of two rows, so that few users have many."""
    monkeypatch.setattr(blocks, "MAX_ROWS", 2)


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    """Run commands with the settings of a desk's worker `a`; `types` is what the person types."""
    monkeypatch.setenv("NEXTCLICK_GROUP", GROUP)
    monkeypatch.setenv("NEXTCLICK_WORKER_ID", "a")

    def run(cluster: MemoryCluster, *arguments: str, types: str = "") -> tuple[int, str]:
        monkeypatch.setattr(sys, "stdin", io.StringIO(types))
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(arguments, connection=cluster.connect())
        return int(ended.value.code or 0), "".join(capsys.readouterr())

    return run
