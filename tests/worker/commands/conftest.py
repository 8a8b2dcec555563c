"""The commands as a person runs them, on the cluster in memory of a desk."""

from __future__ import annotations

import io
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from tests.worker.desk import GROUP, Desk
from worker.__main__ import main
from worker.kafka.memory import MemoryCluster

Command = Callable[..., tuple[int, str]]
"""`command(cluster, "user", "ada")` runs a command to its end: exit code and all that it wrote."""


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


@contextmanager
def stepping(desk: Desk) -> Iterator[None]:
    """Let the workers go round in a thread of their own while the context is open."""
    over = threading.Event()

    def step() -> None:
        while not over.is_set():
            desk.step()

    with ThreadPoolExecutor(1) as threads:
        stepped = threads.submit(step)
        try:
            yield
        finally:
            over.set()
        stepped.result()
