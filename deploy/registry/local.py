"""One schema registry without Docker: Apicurio Registry, its data in memory, as a context manager.

Made for tests and trying things out: no security, loopback only.
"""

from __future__ import annotations

import signal
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from typing import Self

from deploy.java import Unavailable, find_java, tail
from deploy.kafka.local import Leash
from deploy.kafka.ports import HOST, free_port
from deploy.registry.install import fetch

START_SECONDS = 60.0
STOP_SECONDS = 20.0
API = "/apis/ccompat/v7"


class LocalRegistry:
    """One registry with a port of its own, as a context manager.

    `start` after `stop` listens on the same port again and knows nothing of before.
    """

    def __init__(self, *, port: int | None = None) -> None:
        self.port = port or free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._leash: Leash | None = None
        self._folder = tempfile.TemporaryDirectory(prefix="nextclick-registry-")
        self._log = Path(self._folder.name) / "registry.log"

    @property
    def url(self) -> str:
        """The address of Confluent's interface, as `registry.url` takes it."""
        return f"http://{HOST}:{self.port}{API}"

    def start(self) -> None:
        """Start the registry and return once it answers; raises Unavailable with the end of its log."""
        java, libs = find_java(), fetch()
        command = [
            java,
            "-Xmx512m",
            "-XX:+UseSerialGC",
            "-XX:TieredStopAtLevel=1",
            "-XX:-UsePerfData",
            f"-Dquarkus.http.host={HOST}",
            f"-Dquarkus.http.port={self.port}",
            f"-Djava.io.tmpdir={self._folder.name}",
            "-jar",
            str(next(libs.glob("*-runner.jar"))),
        ]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        self._leash = Leash(self._process.pid, (Path(self._folder.name),))
        try:
            self._wait_until_it_answers()
        except BaseException:
            self.stop()
            raise

    def suspend(self) -> None:
        """Freeze the registry (SIGSTOP): it accepts connections and answers nothing until `resume`."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Resume a suspended registry."""
        self._signal(signal.SIGCONT)

    def stop(self) -> None:
        """End the registry; its schemas are gone."""
        if self._process is None:
            return
        process, self._process = self._process, None
        process.terminate()
        process.send_signal(signal.SIGCONT)  # a suspended one would not hear the other signal
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if self._leash is not None:
            self._leash.release()

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self._folder.cleanup()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        self._folder.cleanup()

    def _wait_until_it_answers(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not registry_answers(self.url):
            written = tail(self._log.read_text(errors="replace"))
            if self._process is None or self._process.poll() is not None:
                raise Unavailable(f"The registry ended while starting on port {self.port}:\n{written}")
            if time.monotonic() > deadline:
                raise Unavailable(
                    f"The registry did not answer on port {self.port} in {START_SECONDS:.0f} s:\n{written}"
                )
            time.sleep(0.05)

    def _signal(self, number: signal.Signals) -> None:
        if self._process is None:
            raise RuntimeError("the registry is not running; start it first")
        self._process.send_signal(number)

    def wait(self) -> int:
        """Wait until the registry ends by itself; returns its exit code."""
        if self._process is None:
            raise RuntimeError("the registry is not running; start it first")
        return self._process.wait()


def registry_answers(url: str) -> bool:
    """Return whether a registry answers at `url`."""
    try:
        with urllib.request.urlopen(f"{url}/subjects", timeout=5) as answer:  # noqa: S310  # http, ours
            return bool(answer.status == HTTPStatus.OK)
    except (urllib.error.URLError, OSError):
        return False
