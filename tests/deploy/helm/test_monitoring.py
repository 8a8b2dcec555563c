"""What the chart gives to Prometheus and Grafana: the rules and dashboards of the repository."""

from __future__ import annotations

import itertools
import json

import yaml

from deploy.grafana.files import files
from tests.deploy.helm.rendering import NOTHING, rendered, template, the
from tests.documents import ROOT


def test_rules_are_those_of_prometheus_for_the_programs_that_run() -> None:
    """Word for word, with an address before the paths of the runbook."""
    written = yaml.safe_load((ROOT / "deploy/prometheus/rules.yaml").read_text())["groups"]
    monitoring = {"monitoring": {"rules": True, "runbookBase": "https://wiki.example/nextclick/"}}
    without = the("PrometheusRule", "shop-nextclick", template(NOTHING | monitoring))["spec"]["groups"]

    assert the("PrometheusRule", "shop-nextclick", rendered("everything"))["spec"]["groups"] == written
    assert [group["name"] for group in without] == ["nextclick-worker"]
    urls = [rule["annotations"]["runbook_url"] for rule in without[0]["rules"] if "alert" in rule]
    assert all(url.startswith("https://wiki.example/nextclick/deploy/README.md#") for url in urls)


def test_dashboards_are_those_of_grafana_for_the_programs_that_run() -> None:
    """Word for word, with the address of the runbooks; under the label that Grafana's sidecar looks for."""
    monitoring = {"monitoring": {"dashboards": True, "runbookBase": "https://wiki.example/nextclick/"}}
    without = the("ConfigMap", "shop-nextclick-dashboards", template(NOTHING | monitoring))["data"]
    found = the("ConfigMap", "shop-nextclick-dashboards", rendered("everything"))
    ours = {f"nextclick-{name}": text for name, text in files().items()}

    assert found["data"] == ours
    assert found["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert without.keys() == ours.keys() - {"nextclick-training.json"}
    for name, text in without.items():
        document, written = json.loads(text), json.loads(ours[name])
        *_, address = written["templating"]["list"]
        address["query"] = "https://wiki.example/nextclick"
        assert document == written
        assert address["name"] == "runbooks"


def test_the_monitor_gives_the_labels_that_the_rules_need() -> None:
    """The same as in the configuration of compose."""
    monitor = the("PodMonitor", "shop-nextclick", rendered("everything"))
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    job, group, instance = endpoint["relabelings"]
    scrapes = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yaml").read_text())["scrape_configs"]

    assert monitor["metadata"]["labels"]["release"] == "prometheus"
    assert (job["targetLabel"], group["targetLabel"], group["replacement"]) == ("job", "group", "nextclick")
    assert [one["job_name"] for one in scrapes] == [
        job["replacement"].replace("$1", component) for component in ("worker", "trainer", "watch")
    ]
    assert instance == {"sourceLabels": ["__meta_kubernetes_pod_name"], "targetLabel": "instance"}
    assert {*itertools.chain(*(one["static_configs"][0]["labels"] for one in scrapes))} == {"group"}
