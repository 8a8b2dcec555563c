"""A real Prometheus on this machine, for tests and pictures of the dashboards."""

from __future__ import annotations

import tempfile
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final, NamedTuple

import orjson
import yaml

from deploy.kafka.ports import HOST, free_port
from deploy.server import Server
from tests.deploy.tools import tool
from tests.documents import ROOT

FOLDER: Final = ROOT / "deploy/prometheus"


class Series(NamedTuple):
    """A series of an answer: its labels, and its values by time, in seconds."""

    labels: dict[str, str]
    points: list[tuple[float, float]]


class LocalPrometheus(Server):
    """The Prometheus of deploy/compose.yaml, but it scrapes other `targets`, each second.

    `targets`: by job, the names of the instances and where they listen.
    """

    name = "Prometheus"

    def __init__(self, targets: Mapping[str, Mapping[str, str]]) -> None:
        self.port = free_port()
        self.address = f"{HOST}:{self.port}"
        self._targets = targets
        self._folder = tempfile.TemporaryDirectory(prefix="nextclick-prometheus-")
        self.log_path = Path(self._folder.name) / "prometheus.log"

    def start(self) -> None:
        """Start it and wait until it answers. Raises Unavailable with the end of its log."""
        program, folder = tool("prometheus"), Path(self._folder.name)
        config = folder / "prometheus.yaml"
        config.write_text(yaml.safe_dump(self._config()))
        storage = ["--storage.tsdb.path", str(folder / "data")]
        command = [program, "--config.file", str(config), "--web.listen-address", self.address, *storage]
        self._launch(command, removed=(folder,))

    def close(self) -> None:
        """Stop it if it runs, and remove its data."""
        self.stop()
        self._folder.cleanup()

    def is_ready(self) -> bool:
        """Return whether it answers."""
        try:
            with urllib.request.urlopen(f"http://{self.address}/-/ready", timeout=5) as answer:
                return bool(answer.status == HTTPStatus.OK)
        except (urllib.error.URLError, OSError):
            return False

    def now(self, expr: str) -> list[Series]:
        """Return the current value of an expression."""
        found = self._get("query", query=expr)["result"]
        return [Series(one["metric"], _points([one["value"]])) for one in found]

    def over(self, expr: str, *, begin: float, end: float, step: float) -> list[Series]:
        """Return the values of an expression between two times, in seconds since the epoch."""
        found = self._get("query_range", query=expr, start=begin, end=end, step=step)["result"]
        return [Series(one["metric"], _points(one["values"])) for one in found]

    def rules(self) -> list[dict[str, Any]]:
        """Return the state of every rule."""
        return [rule for rules in self.groups().values() for rule in rules]

    def groups(self) -> dict[str, list[dict[str, Any]]]:
        """Return the states of the rules, by group."""
        return {group["name"]: group["rules"] for group in self._get("rules")["groups"]}

    def _get(self, what: str, **parameters: object) -> dict[str, Any]:
        query = urllib.parse.urlencode(parameters)
        try:
            with urllib.request.urlopen(f"http://{self.address}/api/v1/{what}?{query}", timeout=30) as answer:
                data: dict[str, Any] = orjson.loads(answer.read())["data"]
                return data
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{parameters}: {error.read().decode()}") from None

    def _config(self) -> dict[str, Any]:
        config: dict[str, Any] = yaml.safe_load((FOLDER / "prometheus.yaml").read_text())
        config["global"] = {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}
        config["rule_files"] = [str(FOLDER / name) for name in config["rule_files"]]
        for scrape in config["scrape_configs"]:
            (found,) = scrape["static_configs"]
            scrape["static_configs"] = [
                {"targets": [address], "labels": found["labels"] | {"instance": name}}
                for name, address in self._targets[scrape["job_name"]].items()
            ]
        return config


def _points(values: Sequence[tuple[float, str]]) -> list[tuple[float, float]]:
    return [(time, float(value)) for time, value in values]
