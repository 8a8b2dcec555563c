"""The manifests of the chart, under the schemas of Kubernetes, of the operators, and of Pod Security."""

from __future__ import annotations

import functools
from typing import Any, Final

import jsonschema
import kubernetes_validate
import pytest
import yaml

from tests.deploy.helm.rendering import (
    KUBERNETES,
    PROFILES,
    Manifest,
    containers,
    every_profile,
    helm,
    pods,
    rendered,
    template,
)
from tests.deploy.tools import brought

OF_OPERATORS: Final = {
    "PodMonitor": "monitoring.coreos.com_podmonitors.yaml",
    "PrometheusRule": "monitoring.coreos.com_prometheusrules.yaml",
    "ScaledObject": "keda.sh_scaledobjects.yaml",
}
"""Kinds of the Prometheus operator and of KEDA, with the files that define them."""


VOLUMES: Final = {"configMap", "emptyDir", "persistentVolumeClaim", "secret"}
"""The kinds of volumes that the chart uses; the standard *restricted* allows them."""


@functools.cache
def defined(kind: str) -> Manifest:
    """Return the schema of a kind of an operator, without unknown fields."""
    definition = yaml.safe_load(brought(f"crds/{OF_OPERATORS[kind]}").read_text())
    (version,) = (one for one in definition["spec"]["versions"] if one["storage"])
    schema = closed(version["schema"]["openAPIV3Schema"])
    schema["properties"]["metadata"] = {"type": "object"}
    return schema


def closed(schema: Any) -> Any:
    """Return a schema of Kubernetes as JSON Schema. It refuses unknown fields; Kubernetes drops them."""
    if isinstance(schema, list):
        return [closed(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    found = {key: closed(value) for key, value in schema.items()}
    if schema.get("x-kubernetes-int-or-string"):
        return {"type": ["integer", "string"]}
    if isinstance(schema.get("properties"), dict) and schema.get("type") == "object":
        found.setdefault("additionalProperties", bool(schema.get("x-kubernetes-preserve-unknown-fields")))
    return found


def check(manifest: Manifest, version: str) -> None:
    """Raise ValidationError if Kubernetes or an operator would refuse a manifest, or drop a part of it."""
    if manifest["kind"] in OF_OPERATORS:
        jsonschema.Draft202012Validator(defined(manifest["kind"])).validate(manifest)
    else:
        kubernetes_validate.validate(manifest, version, strict=True)


@every_profile
def test_helm_lint_has_nothing_to_say(profile: str) -> None:
    """But that an icon would be nice."""
    code, output, errors = helm("lint", "--strict", values=PROFILES[profile])

    assert code == 0, output + errors


@every_profile
@pytest.mark.parametrize("version", KUBERNETES)
def test_kubernetes_takes_every_manifest(profile: str, version: str) -> None:
    """By its own schemas, without unknown fields."""
    for manifest in rendered(profile):
        check(manifest, version)


@pytest.mark.parametrize(
    ("kind", "path"),
    [
        ("StatefulSet", ["spec"]),
        ("ScaledObject", ["spec", "advanced", "horizontalPodAutoscalerConfig", "behavior", "scaleUp"]),
        ("PodMonitor", ["spec", "podMetricsEndpoints", 0]),
        ("PrometheusRule", ["spec", "groups", 0, "rules", 0]),
    ],
)
def test_an_unknown_field_is_found(kind: str, path: list[Any]) -> None:
    """Or the test above would pass whatever a template says."""
    manifests = template(PROFILES["everything autoscaled"])
    (manifest,) = (one for one in manifests if one["kind"] == kind)
    functools.reduce(lambda inner, key: inner[key], path, manifest)["unheardOf"] = 1

    with pytest.raises((kubernetes_validate.ValidationError, jsonschema.ValidationError), match="unheardOf"):
        check(manifest, KUBERNETES[0])


@every_profile
def test_pods_are_restricted(profile: str) -> None:
    """By the Pod Security Standard of that name, with a root file system that is only read, and no token."""
    assert pods(rendered(profile))
    for pod in pods(rendered(profile)).values():
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] == 65_532  # the user of the images
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["automountServiceAccountToken"] is False
        assert pod["enableServiceLinks"] is False  # NEXTCLICK_PORT is no setting
        assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys()
        assert {kind for volume in pod["volumes"] for kind in volume} - {"name"} <= VOLUMES
        for container in containers(pod):
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"]},
                "readOnlyRootFilesystem": True,
            }
