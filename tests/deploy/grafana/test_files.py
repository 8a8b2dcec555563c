"""The committed dashboards: made by the code, and about metrics that worker and trainer have."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from deploy.grafana.files import FOLDER, files
from tests.deploy.grafana.answers import Panel, dashboards, panels
from tests.deploy.prometheus.test_rules import labels_of, rules, used
from tests.deploy.tools import run, tool
from tests.documents import ROOT
from tests.worker.desk import Desk
from trainer.continuous.metrics import TrainingMetrics
from trainer.experiment.metrics import ExperimentMetrics
from trainer.experiment.sequential import Experiment, Rules
from worker.clock import Clock

PANELS: Final = list(panels())

OF_SCRAPES: Final = {"job": set[str](), "group": set[str](), "instance": set[str]()}
"""The labels that every scrape adds."""

OF_PROMETHEUS: Final[dict[str, dict[str, set[str]]]] = {
    "up": {},
    "ALERTS": {"alertname": set(), "alertstate": {"pending", "firing"}, "severity": {"warning", "critical"}},
}
"""The series that Prometheus itself makes, with their labels and their values."""

SELECTOR: Final = re.compile(r"\b([a-zA-Z_:][\w:]*)\{([^}]*)\}")
MATCHER: Final = re.compile(r'(\w+)\s*(=~|=)\s*"([^"]*)"')

every_panel = pytest.mark.parametrize("panel", PANELS, ids=str)


@functools.cache
def exposed() -> dict[str, dict[str, set[str]]]:
    """Return what is scraped from worker, trainer and `watch`: series with labels and their values."""
    desk = Desk()
    worker = desk.serving()
    desk.click("ada")
    desk.settle()
    training, watching = TrainingMetrics(lambda: True, Clock()), ExperimentMetrics(Clock())
    with training.stage("collect"):
        watching.observe(None, Experiment(Rules()))
    found = {name: dict(labels) for name, labels in OF_PROMETHEUS.items()}
    for registry in (worker.process.metrics.registry, training.registry, watching.registry):
        for family in text_string_to_metric_families(generate_latest(registry).decode()):
            for sample in family.samples:
                labels = found.setdefault(sample.name, {})
                for label, value in sample.labels.items():
                    labels.setdefault(label, set()).add(value)
    return {name: labels | OF_SCRAPES for name, labels in found.items()}


def unknown(expr: str) -> Iterator[str]:
    """Yield the series, labels and values of labels in an expression that nobody exposes."""
    selectors = SELECTOR.findall(expr)
    names = {name for name, _ in selectors}
    yield from {*used(expr)} - names
    yield from names - exposed().keys()
    known = {label for name in names for label in exposed().get(name, {})}
    yield from labels_of(expr) - known
    yield from unselected(expr)


def unselected(expr: str) -> Iterator[str]:
    """Yield the labels and values of labels in the selectors of an expression that nobody exposes."""
    for name, matchers in SELECTOR.findall(expr):
        labels = exposed().get(name, {})
        for label, _, value in MATCHER.findall(matchers):
            if label not in labels:
                yield f"{name}{{{label}}}"
            elif label not in OF_SCRAPES and (words := set(re.findall(r"^[\w|]+$", value))):
                yield from {one for word in words for one in word.split("|")} - labels[label]


def test_the_files_are_those_of_the_code() -> None:
    """`make dashboards` writes them again."""
    committed = {path.name: path.read_text("utf-8") for path in FOLDER.iterdir()}

    assert committed == files()


@every_panel
def test_a_panel_shows_only_what_is_exposed(panel: Panel) -> None:
    """Each metric, each label and each value of a label; a counter that has not counted yet is there at 0."""
    for expr, _ in panel.queries:
        assert [*unknown(expr)] == [], expr


@pytest.mark.parametrize(
    ("expr", "found"),
    [
        ('rate(nextclick_records_total{became="dead_letter"}[5m])', []),
        ('rate(nextclick_records_total{became="dead_letters"}[5m])', ["dead_letters"]),
        ('nextclick_records_total{outcome="clicks"}', ["outcome", "nextclick_records_total{outcome}"]),
        ("sum by (reason) (nextclick_records_total{})", ["reason"]),
        ("sum(nextclick_record_total{})", ["nextclick_record_total"]),
        ("sum(nextclick_ready)", ["nextclick_ready"]),
    ],
)
def test_what_nobody_exposes_is_found(expr: str, found: list[str]) -> None:
    """Or the test above would pass whatever a panel shows. Each series has braces."""
    assert [*unknown(expr)] == found


def test_promtool_reads_every_expression(tmp_path: Path) -> None:
    """With the values of the variables that Grafana would put in."""
    records = [
        {"record": f"panel:{number}", "expr": expr}
        for number, (expr, _) in enumerate(query for panel in PANELS for query in panel.queries)
    ]
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": records}]}))

    done = run(tool("promtool"), "check", "rules", tmp_path / "rules.yaml")

    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(records)} rules found" in done.stdout


@pytest.mark.parametrize("kind", ["alert", "record"])
def test_a_rule_selects_only_what_is_exposed(kind: str) -> None:
    """Or an alert would be silent for ever, because a label has another value."""
    found = {name: [*unselected(rule["expr"])] for name, rule in rules(kind).items()}

    assert [name for name, lacking in found.items() if lacking] == [], found


@every_panel
def test_a_panel_says_what_it_shows(panel: Panel) -> None:
    """In its title and description, with a unit, and with links to the alerts' sections of the runbook."""
    document = panel.document

    assert document["title"]
    assert document["description"].endswith(".")
    assert document["fieldConfig"]["defaults"]["unit"]
    assert document["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    for link in document["links"]:
        alert = link["title"].removeprefix("Runbook: ")
        assert link["url"] == f"${{runbooks}}/{rules('alert')[alert]['annotations']['runbook_url']}"


def test_every_alert_has_a_panel() -> None:
    """From which its section of the runbook is linked."""
    linked = {link["title"].removeprefix("Runbook: ") for one in PANELS for link in one.document["links"]}

    assert rules("alert").keys() - linked == set()


@pytest.mark.parametrize("name", dashboards())
def test_the_first_row_says_whether_all_is_well(name: str) -> None:
    """In six numbers; every row fills the width of 24, and every variable in use is one."""
    dashboard = dashboards()[name]
    first = [panel for panel in PANELS if panel.dashboard == name and panel.row == "Is it well?"]
    variables = {one["name"] for one in dashboard["templating"]["list"]}
    widths: dict[int, int] = {}
    for panel in PANELS:
        if panel.dashboard == name:
            place = panel.document["gridPos"]
            widths[place["y"]] = widths.get(place["y"], 0) + place["w"]

    assert [panel.is_stat for panel in first] == [True] * 6
    assert {*widths.values()} == {24}
    assert used_variables(dashboard) <= variables | {"__rate_interval"}
    assert dashboard["uid"] == f"nextclick-{name}"


def used_variables(document: Any) -> set[str]:
    """Return the variables in all texts of a document."""
    return set(re.findall(r"\$\{?(\w+)", str(document))) - {"__all"}


def test_provisioned_files_are_found() -> None:
    """The configuration of Grafana names folders that compose mounts; the data source is its Prometheus."""
    folder = ROOT / "deploy/grafana/provisioning"
    (provider,) = yaml.safe_load((folder / "dashboards/nextclick.yaml").read_text())["providers"]
    (source,) = yaml.safe_load((folder / "datasources/prometheus.yaml").read_text())["datasources"]
    services = yaml.safe_load((ROOT / "deploy/compose.yaml").read_text())["services"]
    mounted = dict(one.split(":")[1::-1] for one in services["grafana"]["volumes"])

    assert mounted[provider["options"]["path"]] == "./grafana/dashboards"
    assert mounted["/etc/grafana/provisioning"] == "./grafana/provisioning"
    assert services["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"] == (
        f"{provider['options']['path']}/fleet.json"
    )
    assert (source["type"], source["url"], source["isDefault"]) == (
        "prometheus",
        "http://prometheus:9090",
        True,
    )
