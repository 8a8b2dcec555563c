"""A schema registry without Docker: Apicurio Registry with data in memory, as a context manager.

For tests and experiments: no security, loopback only.
"""

from __future__ import annotations

import tempfile
import urllib.error
import urllib.request
from http import HTTPStatus
from pathlib import Path

from deploy.java import find_java
from deploy.kafka.ports import HOST, free_port
from deploy.registry.install import fetch
from deploy.server import Server

API = "/apis/ccompat/v7"


class LocalRegistry(Server):
    """A registry with its own port, as a context manager.

    `start` after `stop` listens on the same port again, without the earlier schemas.
    """

    name = "The registry"

    def __init__(self, *, port: int | None = None) -> None:
        self.port = port or free_port()
        self.address = f"{HOST}:{self.port}"
        self._folder = tempfile.TemporaryDirectory(prefix="nextclick-registry-")
        self.log_path = Path(self._folder.name) / "registry.log"

    @property
    def url(self) -> str:
        """The URL of the Confluent-compatible API, for the setting `registry.url`."""
        return f"http://{self.address}{API}"

    def start(self) -> None:
        """Start the registry and wait until it answers. Raises Unavailable with the end of its log."""
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
        self._launch(command, removed=(Path(self._folder.name),))

    def close(self) -> None:
        """Stop the registry if it runs, and remove its log."""
        self.stop()
        self._folder.cleanup()

    def is_ready(self) -> bool:
        """Return whether the registry answers."""
        return registry_answers(self.url)


def registry_answers(url: str) -> bool:
    """Return whether a registry answers at `url`."""
    try:
        with urllib.request.urlopen(f"{url}/subjects", timeout=5) as answer:  # noqa: S310  # http, ours
            return bool(answer.status == HTTPStatus.OK)
    except (urllib.error.URLError, OSError):
        return False
