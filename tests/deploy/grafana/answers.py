"""The panels of the committed dashboards, and what a Prometheus answers to their queries."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from deploy.grafana.files import FOLDER
from tests.deploy.prometheus.local import LocalPrometheus, Series

VARIABLES: Final = {"$group": ".*", "$instance": ".*", "$__rate_interval": "15s"}
"""The variables of Grafana with all groups and workers chosen. A scrape each second suits the interval."""

Dashboard = dict[str, Any]


class Line(NamedTuple):
    """A series of a panel: its name in the legend and its values by time."""

    name: str
    points: list[tuple[float, float]]


class Panel(NamedTuple):
    """A panel of a dashboard as Grafana reads it."""

    dashboard: str
    row: str
    document: dict[str, Any]

    @property
    def title(self) -> str:
        """Its heading."""
        return str(self.document["title"])

    @property
    def is_stat(self) -> bool:
        """Whether it shows one number, not lines."""
        return bool(self.document["type"] == "stat")

    @property
    def queries(self) -> list[tuple[str, str]]:
        """The expressions with all variables replaced, and the names of their series."""
        return [(replaced(one["expr"]), one.get("legendFormat", "")) for one in self.document["targets"]]

    def __str__(self) -> str:
        return f"{self.dashboard}: {self.title}"


def replaced(expr: str) -> str:
    """Return an expression without variables, as Grafana sends it."""
    for variable, value in VARIABLES.items():
        expr = expr.replace(variable, value)
    return expr


def dashboards() -> dict[str, Dashboard]:
    """Return the committed dashboards by the names of their files."""
    return {path.stem: json.loads(path.read_text("utf-8")) for path in sorted(FOLDER.glob("*.json"))}


def panels() -> Iterator[Panel]:
    """Yield all panels with queries."""
    for name, dashboard in dashboards().items():
        row = ""
        for document in dashboard["panels"]:
            if document["type"] == "row":
                row = document["title"]
            else:
                yield Panel(name, row, document)


def asked(panel: Panel, prometheus: LocalPrometheus, begin: float, end: float) -> list[list[Line]]:
    """Return the lines of each query of a panel, asked for as Grafana does; only values that are numbers."""
    found = []
    for expr, legend in panel.queries:
        step = max(1.0, (end - begin) / 150)
        answer = (
            prometheus.now(expr) if panel.is_stat else prometheus.over(expr, begin=begin, end=end, step=step)
        )
        lines = [Line(_named(legend, series), _numbers(series)) for series in answer]
        found.append([line for line in lines if line.points])
    return found


def _named(legend: str, series: Series) -> str:
    return re.sub(r"{{(\w+)}}", lambda label: series.labels.get(label[1], ""), legend)


def _numbers(series: Series) -> list[tuple[float, float]]:
    return [(time, value) for time, value in series.points if math.isfinite(value)]
