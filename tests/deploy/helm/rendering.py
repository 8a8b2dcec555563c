"""The chart deploy/helm/nextclick, rendered by helm under several values."""

from __future__ import annotations

import functools
import tempfile
from typing import Any, Final

import pytest
import yaml

from tests.deploy.tools import run, tool
from tests.documents import ROOT

CHART: Final = ROOT / "deploy/helm/nextclick"

KUBERNETES: Final = ("1.27", "1.34")
"""The oldest version that Chart.yaml allows, and a newer one."""

AUTOSCALED: Final = {"membership": "autoscaled", "autoscaled": {"maxReplicas": 8}}

EVERYTHING: Final = {
    "credentialsSecret": "kafka-login",
    "filesSecret": "kafka-files",
    "watch": {"enabled": True},
    "topics": {"createClicks": True, "partitions": 8, "credentialsSecret": "kafka-admin"},
    "monitoring": {
        "podMonitor": True,
        "rules": True,
        "dashboards": True,
        "labels": {"release": "prometheus"},
    },
    "pods": {"nodeSelector": {"disk": "fast"}, "tolerations": [{"key": "a"}], "priorityClassName": "high"},
}

NOTHING: Final = {
    "trainer": {"enabled": False},
    "topics": {"enabled": False},
    "networkPolicy": {"enabled": False},
}

PROFILES: Final[dict[str, dict[str, Any]]] = {
    "default": {},
    "autoscaled": AUTOSCALED,
    "everything": EVERYTHING,
    "everything autoscaled": EVERYTHING | AUTOSCALED,
    "nothing": NOTHING,
}

Manifest = dict[str, Any]


def helm(*words: str, values: Manifest) -> tuple[int, str, str]:
    """Run a command of helm on the chart; return its exit code, output and errors.

    Values without `config` get one.
    """
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        yaml.safe_dump({"config": config()} | values, file)
        file.flush()
        done = run(tool("helm"), *words, CHART, "--values", file.name, "--kube-version", KUBERNETES[0])
    return done.returncode, done.stdout, done.stderr


@functools.cache
def rendered(profile: str) -> tuple[Manifest, ...]:
    """Return the manifests under the values of a profile."""
    return tuple(template(PROFILES[profile]))


def template(values: Manifest) -> list[Manifest]:
    """Return the manifests under these values."""
    code, output, errors = helm("template", "shop", values=values)

    assert code == 0, errors
    return [one for one in yaml.safe_load_all(output) if one]


def refusal(values: Manifest) -> str:
    """Return the reason why the chart refuses these values."""
    code, _, errors = helm("template", "shop", values=values)

    assert code != 0
    return errors


def config(more: str = "") -> str:
    """Return settings with the address of a Kafka, and `more` before it."""
    return f'{more}\n[kafka]\nbootstrap_servers = "kafka:9092"\n'


def the(kind: str, name: str, manifests: tuple[Manifest, ...] | list[Manifest]) -> Manifest:
    """Return the one manifest of this kind and name."""
    (found,) = (one for one in manifests if (one["kind"], one["metadata"]["name"]) == (kind, name))
    return found


def pods(manifests: tuple[Manifest, ...]) -> dict[str, Manifest]:
    """Return the specifications of all pods, by the names of their owners."""
    owners = [one for one in manifests if "template" in one.get("spec", {})]
    return {one["metadata"]["name"]: one["spec"]["template"]["spec"] for one in owners}


def containers(pod: Manifest) -> list[Manifest]:
    """Return all containers of a pod."""
    return [*pod.get("initContainers", ()), *pod["containers"]]


def worker(manifests: tuple[Manifest, ...] | list[Manifest]) -> Manifest:
    """Return the container of the workers."""
    stateful = the("StatefulSet", "shop-nextclick-worker", manifests)
    (container,) = stateful["spec"]["template"]["spec"]["containers"]
    return container


def environment(container: Manifest) -> dict[str, str]:
    """Return the variables of a container; the name of a pod is `pod-0`."""
    return {one["name"]: one.get("value", "pod-0") for one in container["env"]}


every_profile = pytest.mark.parametrize("profile", PROFILES)
