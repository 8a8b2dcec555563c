"""The rules of deploy/prometheus/rules.yaml, run by promtool."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from tests import documents
from tests.deploy.prometheus.cases import CASES, Case
from tests.deploy.prometheus.records import RECORDS
from tests.deploy.tools import run, tool
from tests.documents import ROOT

RULES: Final = ROOT / "deploy/prometheus/rules.yaml"

OF_PROMETHEUS: Final = frozenset({"up", "job", "instance", "le"})
"""The series and labels that Prometheus itself adds, at every scrape and in every histogram."""

OF_SCRAPES: Final = frozenset({"group"})
"""The label that deploy/prometheus/prometheus.yaml and the chart add."""


def rules(kind: str) -> dict[str, dict[str, Any]]:
    """Return the rules that `record` or `alert`, by their names."""
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return {rule[kind]: rule for group in groups for rule in group["rules"] if kind in rule}


def promtool(folder: Path, *tests: dict[str, Any]) -> None:
    """Have promtool run tests of the rules."""
    path = folder / "rules_test.yaml"
    path.write_text(yaml.safe_dump({"rule_files": [str(RULES)], "tests": [*tests]}))
    done = run(tool("promtool"), "test", "rules", path)

    assert done.returncode == 0, done.stdout + done.stderr


def under(series: dict[str, str], **tests: Any) -> dict[str, Any]:
    """Return tests under these series."""
    given = [{"series": name, "values": values} for name, values in series.items()]
    return {"interval": "1m", "input_series": given, **tests}


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.alert}-{CASES.index(case)}")
def test_the_alert_fires_and_is_silent(case: Case, tmp_path: Path) -> None:
    """With labels and texts as a person reads them."""
    rule = rules("alert")[case.alert]
    texts = {"summary": case.summary, "description": case.description}
    fires = {
        "exp_labels": case.labels | rule["labels"],
        "exp_annotations": texts | {"runbook_url": rule["annotations"]["runbook_url"]},
    }
    at = {"eval_time": case.at, "alertname": case.alert}
    promtool(
        tmp_path,
        under(case.firing, alert_rule_test=[at | {"exp_alerts": [fires]}]),
        under(case.silent, alert_rule_test=[at | {"exp_alerts": []}]),
    )


@pytest.mark.parametrize("record", RECORDS)
def test_the_record_is_the_number(record: str, tmp_path: Path) -> None:
    """Summed over workers, under the labels that its name begins with."""
    series, labels, value = RECORDS[record]
    sample = {"labels": f"{record}{labels}", "value": value}
    promtool(
        tmp_path,
        under(series, promql_expr_test=[{"expr": record, "eval_time": "10m", "exp_samples": [sample]}]),
    )


def test_every_rule_is_tested() -> None:
    """By a case of its name."""
    assert {case.alert for case in CASES} == rules("alert").keys()
    assert RECORDS.keys() == rules("record").keys()


def test_the_configuration_of_compose_is_valid() -> None:
    """With the rules that it names."""
    done = run(tool("promtool"), "check", "config", ROOT / "deploy/prometheus/prometheus.yaml")

    assert done.returncode == 0, done.stdout + done.stderr


def exported() -> tuple[set[str], set[str]]:
    """Return the names of the series that worker and trainer export, and of their labels."""
    names, labels = set(OF_PROMETHEUS), set(OF_PROMETHEUS | OF_SCRAPES)
    for registry in documents.registries().values():
        for collector in registry._collector_to_names:
            labels.update(getattr(collector, "_labelnames", ()))
            for metric in collector.collect():
                suffixes = {"counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"]}
                names.update(f"{metric.name}{suffix}" for suffix in suffixes.get(metric.type, [""]))
    return names, labels


def used(expression: str) -> Iterator[str]:
    """Yield the names of series in an expression: words that are no functions, labels, keywords or values."""
    expression = re.sub(
        r'"[^"]*"|\{[^}]*\}|\[[^]]*\]|\b(?:by|on|ignoring)\s*\([^)]*\)|\boffset \w+', " ", expression
    )
    for word in re.findall(r"[a-zA-Z_:][\w:]*(?!\s*\()\b", expression):
        if word not in {"and", "or", "unless", "by"} and not re.search(rf"\b{word}\s*\(", expression):
            yield word


def labels_of(expression: str) -> set[str]:
    """Return the names of labels in an expression."""
    grouped = re.findall(r"\b(?:by|on|ignoring)\s*\(([^)]*)\)", expression)
    matched = re.findall(r"\{([^}]*)\}", expression)
    names = [name for group in grouped for name in group.split(",")]
    names += [name for one in matched for name in re.findall(r"(\w+)\s*[=!]", one)]
    return {name.strip() for name in names}


@pytest.mark.parametrize("kind", ["alert", "record"])
def test_every_metric_and_label_is_exported(kind: str) -> None:
    """By a worker or a trainer, or it is another rule's record."""
    names, labels = exported()
    for name, rule in rules(kind).items():
        series = [*used(rule["expr"])]

        assert series, name
        assert [one for one in series if one not in names and one not in rules("record")] == [], name
        assert labels_of(rule["expr"]) <= labels, name


def test_names_and_labels_are_found_in_an_expression() -> None:
    """Or the test above would pass whatever a rule names."""
    expression = 'sum by (a, b) (rate(x_total{c!="d"}[5m])) / y:z:sum unless on (e) absent(up offset 1h) > 60'

    assert [*used(expression)] == ["x_total", "y:z:sum", "up"]
    assert labels_of(expression) == {"a", "b", "c", "e"}


@pytest.mark.parametrize("alert", rules("alert"))
def test_every_alert_says_what_to_do(alert: str) -> None:
    """In texts of its own and in a section of the runbook."""
    rule = rules("alert")[alert]
    path, _, anchor = rule["annotations"]["runbook_url"].partition("#")

    assert rule["annotations"].keys() == {"summary", "description", "runbook_url"}
    assert rule["labels"]["severity"] in {"critical", "warning"}
    assert anchor == alert.lower()
    assert f"\n### {alert}\n" in (ROOT / path).read_text()


def test_the_runbook_has_no_alert_that_is_gone() -> None:
    """Its sections are the alerts, in the order of the rules."""
    headings = re.findall(r"^### (Nextclick\w+)$", (ROOT / "deploy/README.md").read_text(), re.MULTILINE)

    assert headings == [*rules("alert")]
