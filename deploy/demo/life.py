"""The resources that the demo must release at its end: processes, a folder, signal handlers.

A signal does not interrupt the demo at once. It is recorded, and `pause`, which every wait of the demo calls,
raises Interrupted, so that clean-up finds a consistent state and no traceback is printed.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import FrameType, TracebackType
from typing import Final, Self

from deploy.demo.errors import DemoError, Interrupted
from deploy.java import tail

ROOT: Final = Path(__file__).resolve().parents[2]
"""The root folder of the repository."""

STOP_SECONDS: Final = 12.0
"""Time limit for a process to end after SIGTERM, in seconds; a worker needs at most 10."""

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_PATIENCE: Final = 3
"""Number of signals after which the demo is interrupted at once."""


class Process:
    """A started program, with its output."""

    def __init__(self, name: str, popen: subprocess.Popen[bytes], log: Path) -> None:
        self.name = name
        self._popen = popen
        self._log = log

    @property
    def exit_code(self) -> int | None:
        """The exit code; None while the process runs."""
        return self._popen.poll()

    @property
    def log(self) -> str:
        """The output of the program up to now."""
        return self._log.read_text(errors="replace")

    @property
    def first_line(self) -> str:
        """The first line of the output, or an empty text."""
        return self.log.strip().partition("\n")[0].strip()

    @property
    def last_line(self) -> str:
        """The last line of the output, or an empty text."""
        return self.log.strip().rpartition("\n")[2].strip()

    def lower_priority(self) -> None:
        """Lower the process's priority, for background work."""
        os.setpriority(os.PRIO_PROCESS, self._popen.pid, 15)

    def ask_to_stop(self) -> None:
        """Send SIGTERM if the process is still running."""
        if self.exit_code is None:
            self._popen.terminate()

    def end(self, seconds: float = STOP_SECONDS) -> None:
        """End the process by SIGTERM or, after `seconds`, kill it with all its child processes."""
        self.ask_to_stop()
        try:
            self._popen.wait(seconds)
        except subprocess.TimeoutExpired:
            os.killpg(self._popen.pid, signal.SIGKILL)
            self._popen.wait()


class Life:
    """The context in which the demo runs. Leaving it ends all started processes and removes `folder`."""

    def __enter__(self) -> Self:
        self._asked = 0
        self._ending = False
        self._processes: list[Process] = []
        self._watched: list[Process] = []
        self._before = {number: signal.signal(number, self._on_signal) for number in _SIGNALS}
        self.folder = Path(tempfile.mkdtemp(prefix="nextclick-demo-"))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        self.end_processes()
        shutil.rmtree(self.folder, ignore_errors=True)
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def start(
        self,
        name: str,
        command: Sequence[str],
        *,
        environment: Mapping[str, str] | None = None,
        lasting: bool = False,
    ) -> Process:
        """Start a program. `lasting`: whether it is an error if the program ends by itself.

        Raises DemoError if the program cannot be started.
        """
        path = self.folder / f"{len(self._processes)}.log"
        try:
            process = Process(name, _popen(command, environment, path), path)
        except OSError as error:
            raise DemoError(f"{name} cannot be started: {error}") from None
        self._processes.append(process)
        if lasting:
            self._watched.append(process)
        return process

    def pause(self, seconds: float = 0.05) -> None:
        """Wait. Raises Interrupted after a signal, DemoError if a lasting process has ended."""
        time.sleep(seconds)
        if self._asked:
            raise Interrupted
        for process in self._watched:
            if process.exit_code is not None:
                how = f"{process.name} ended by itself (exit code {process.exit_code})"
                raise DemoError(f"{how}. Its last output:\n{tail(process.log)}")

    def wait_for(self, done: Callable[[], object], *, seconds: float, what: str) -> None:
        """Wait until `done()` is true. Raises DemoError after `seconds`, and the errors of `pause`."""
        deadline = time.monotonic() + seconds
        while not done():
            if time.monotonic() > deadline:
                raise DemoError(f"{what} took longer than {seconds:g} s.{self.last_words()}")
            self.pause()

    def run(self, process: Process, *, seconds: float) -> str:
        """Wait until `process` ends; return its output. Raises DemoError if it fails or takes too long."""
        self.wait_for(lambda: process.exit_code is not None, seconds=seconds, what=process.name)
        if process.exit_code:
            wrote = f"\n{tail(process.log)}" if process.log else ""
            raise DemoError(f"{process.name} failed (exit code {process.exit_code}).{wrote}")
        return process.log

    def last_words(self) -> str:
        """Return the last output of the lasting processes, for an error message."""
        return "".join(f"\nOutput of {one.name}:\n{tail(one.log)}" for one in self._watched if one.log)

    def end_processes(self, *, keep: Process | None = None) -> None:
        """End all started processes except `keep`, the latest first."""
        self._ending = True
        ending = [process for process in self._processes if process is not keep]
        for process in reversed(ending):
            if process in self._watched:
                self._watched.remove(process)
            process.end()
        self._ending = False

    def retire(self, process: Process) -> None:
        """Ask a lasting process to stop; its end is no longer an error."""
        self._watched.remove(process)
        process.ask_to_stop()

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._asked += 1
        if self._asked >= _PATIENCE and not self._ending:
            raise Interrupted


def _popen(
    command: Sequence[str], environment: Mapping[str, str] | None, log: Path
) -> subprocess.Popen[bytes]:
    """Start a process in a new session, so that Ctrl-C reaches only the demo, which then ends it."""
    with log.open("wb") as file:
        return subprocess.Popen(
            command,
            cwd=ROOT,
            env=None if environment is None else dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
