"""A server program on this machine: it can be started, frozen, stopped and killed, and is not left behind.

Kafka and the schema registry are such servers. Uses only the standard library of Python 3.11.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from deploy.java import Unavailable, tail

START_SECONDS = 60.0
STOP_SECONDS = 20.0


class Started(ABC):
    """A context manager that starts something on entry and closes it on exit, or if the start fails."""

    @abstractmethod
    def start(self) -> None:
        """Start it, and wait until it can be used. Raises Unavailable with the end of its log."""

    @abstractmethod
    def close(self) -> None:
        """Stop it if it runs, and remove what it leaves."""

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Server(Started):
    """A server with its own folder, as a context manager. Its output goes to `log_path`."""

    name: str
    """The name of the program in messages."""
    address: str
    """The address that clients connect to."""
    log_path: Path

    _process: subprocess.Popen[bytes] | None = None
    _leash: Leash | None = None

    @abstractmethod
    def is_ready(self) -> bool:
        """Return whether the server answers."""

    @property
    def log(self) -> str:
        """The complete log, over all starts."""
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def stop(self) -> None:
        """Shut the server down cleanly, or kill it if that takes over 20 seconds."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Kill the server at once (SIGKILL)."""
        self._end(signal.SIGKILL)

    def suspend(self) -> None:
        """Freeze the server (SIGSTOP): connections stay open, but nothing is answered until `resume`."""
        self.process.send_signal(signal.SIGSTOP)
        # On a busy machine its threads run on for a while. This returns when the last of them has stopped.
        os.waitpid(self.process.pid, os.WUNTRACED)

    def resume(self) -> None:
        """Resume a suspended server."""
        self.process.send_signal(signal.SIGCONT)

    def wait(self) -> int:
        """Wait until the server ends by itself; return its exit code."""
        return self.process.wait()

    @property
    def running(self) -> bool:
        """Whether the server was started, and has not ended since."""
        return self._process is not None and self._process.poll() is None

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The process of the running server. Raises RuntimeError if it does not run."""
        if self._process is None:
            raise RuntimeError(f"{self.name} on {self.address} is not running; start it first")
        return self._process

    def _launch(self, command: Sequence[str], *, removed: Sequence[Path]) -> None:
        """Run `command` and wait until the server answers.

        If this program ends without stopping the server, the server is killed and `removed` is deleted.
        """
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C must reach only this program, which stops the server
            )
        self._leash = Leash(self._process.pid, removed)
        try:
            self._wait_until_ready()
        except BaseException:
            self.kill()
            raise

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not self.is_ready():
            if self._process is None or self._process.poll() is not None:
                raise Unavailable(f"{self.name} ended while starting on {self.address}:\n{tail(self.log)}")
            if time.monotonic() > deadline:
                late = f"did not answer on {self.address} within {START_SECONDS:.0f} s"
                raise Unavailable(f"{self.name} {late}:\n{tail(self.log)}")
            time.sleep(0.05)

    def _end(self, number: signal.Signals) -> None:
        if self._process is None:
            return
        process, self._process = self._process, None
        process.send_signal(number)
        process.send_signal(signal.SIGCONT)  # a suspended server would not receive the first signal
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if self._leash is not None:
            self._leash.release()


class Leash:
    """A guard that kills a process and removes its folders if this program ends without doing so.

    A shell waits at the other end of a pipe, which the kernel closes when this program ends, even by SIGKILL.
    """

    def __init__(self, pid: int, folders: Sequence[Path]) -> None:
        self._shell = subprocess.Popen(
            ["/bin/sh", "-c", 'read -r _; kill -9 "$0"; rm -rf "$@"', str(pid), *map(str, folders)],
            stdin=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # must survive Ctrl-C
        )

    def release(self) -> None:
        """End the guard after its process has ended. A second call does nothing."""
        self._shell.kill()
        self._shell.communicate()


def in_foreground(action: Callable[[], int]) -> int:
    """Do `action` until it ends or a signal (Ctrl-C, SIGTERM) stops it; return the exit code.

    The message of an Unavailable error is printed without a traceback.
    """
    for number in (signal.SIGINT, signal.SIGTERM):  # a shell's background jobs start with SIGINT ignored
        signal.signal(number, signal.default_int_handler)
    try:
        return action()
    except Unavailable as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 0
