"""A worker as a process of its own: started as a user starts it, watched from outside, killed at will."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

from deploy.server import Leash
from tests.waiting import eventually

ROOT = Path(__file__).resolve().parents[2]


class WorkerProcess:
    """One `python -m worker ...`, or another `program`, and what can be done to it."""

    def __init__(
        self,
        arguments: Sequence[str],
        *,
        log_path: Path,
        http_port: int,
        environment: Mapping[str, str] | None = None,
        module: str = "worker",
        program: Sequence[str] = (),
        folder: Path = ROOT,
    ) -> None:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("NEXTCLICK_")}
        self.log_path = log_path
        self.http_port = http_port
        with log_path.open("wb") as log:
            self._process = subprocess.Popen(
                [*(program or (sys.executable, "-m", module)), *arguments],
                cwd=folder,
                env=inherited | {"PYTHONUNBUFFERED": "1"} | dict(environment or {}),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._leash = Leash(self._process.pid, ())  # a test run that is killed leaves no workers behind

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def log(self) -> str:
        """All it wrote so far, standard output and error together."""
        return self.log_path.read_text(errors="replace")

    @property
    def exit_code(self) -> int | None:
        """How it ended; None while it runs, negative for a signal."""
        code = self._process.poll()
        if code is not None:
            self._leash.release()
        return code

    def http(self, path: str) -> tuple[int, str]:
        """GET from its HTTP port: status and body; status 0 and the reason when nothing answers."""
        connection = HTTPConnection("127.0.0.1", self.http_port, timeout=5)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read().decode()
        except (OSError, HTTPException) as error:
            return 0, repr(error)
        finally:
            connection.close()

    def metric(self, name: str, **labels: str) -> float:
        """The sum of one metric's samples that have all of `labels`; 0.0 when there is none."""
        wanted = [f'{label}="{value}"' for label, value in labels.items()]
        lines = self.http("/metrics")[1].splitlines()
        samples = (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
        return sum(
            float(value)
            for series, value in samples
            if series.split("{")[0] == name and all(label in series for label in wanted)
        )

    def wait_until_ready(self, timeout_seconds: float = 30.0) -> None:
        """Return once /readyz says 200; AssertionError with its log when it ends before, or is late."""
        eventually(self._ready_or_ended, timeout_seconds, f"the worker to be ready; its log:\n{self.log}")

    def wait(self, timeout_seconds: float = 30.0) -> int:
        """Its exit code, once it has ended by itself; AssertionError with its log when it is late."""
        try:
            code = self._process.wait(timeout_seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still runs after {timeout_seconds:g} s; its log:\n{self.log}") from None
        self._leash.release()
        return code

    def terminate(self) -> None:
        """Ask it to stop (SIGTERM)."""
        self._process.terminate()

    def kill9(self) -> None:
        """End it at once (SIGKILL) and wait until it is gone."""
        self._process.kill()
        self._process.wait()
        self._leash.release()

    def sigstop(self) -> None:
        """Freeze it; returns when it stands still, or has ended by itself before."""
        self._process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)

    def sigcont(self) -> None:
        """Let it go on."""
        self._process.send_signal(signal.SIGCONT)

    def end(self) -> None:
        """Make sure that nothing of it is left, whatever state it is in."""
        if self.exit_code is None:
            os.killpg(self.pid, signal.SIGKILL)
            self._process.wait()
        self._leash.release()

    def _ready_or_ended(self) -> bool:
        assert self.exit_code is None, f"the worker ended: {self.exit_code}; its log:\n{self.log}"
        return self.http("/readyz")[0] == 200


def toml(settings: Mapping[str, Any]) -> str:
    """Nested settings as TOML: plain values first, then each mapping as a table."""
    return "\n".join(_lines(settings, ())) + "\n"


def _lines(table: Mapping[str, Any], path: tuple[str, ...]) -> list[str]:
    plain = [f"{key} = {json.dumps(value)}" for key, value in table.items() if not isinstance(value, Mapping)]
    tables = [(key, value) for key, value in table.items() if isinstance(value, Mapping)]
    nested = [line for key, value in tables for line in _lines(value, (*path, key))]
    return ([f"[{'.'.join(path)}]"] if path and plain else []) + plain + nested
