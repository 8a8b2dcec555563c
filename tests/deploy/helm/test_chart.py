"""The chart deploy/helm/nextclick, rendered by helm and checked against the schemas of Kubernetes."""

from __future__ import annotations

import functools
import tempfile
import tomllib
from pathlib import Path
from typing import Any, Final

import kubernetes_validate
import pytest
import yaml

from tests.deploy.tools import run, tool
from tests.documents import ROOT
from trainer.config import TrainerSettings
from worker.config import Settings
from worker.settings.fields import Section
from worker.settings.loading import load

CHART: Final = ROOT / "deploy/helm/nextclick"

KUBERNETES: Final = ("1.27", "1.34")
"""The oldest version that Chart.yaml allows, and a newer one."""

OF_OPERATORS: Final = {"PodMonitor", "PrometheusRule", "ScaledObject"}
"""Kinds of the Prometheus operator and of KEDA: Kubernetes has no schema of them."""

AUTOSCALED: Final = {"membership": "autoscaled", "autoscaled": {"maxReplicas": 8}}

EVERYTHING: Final = {
    "credentialsSecret": "kafka-login",
    "filesSecret": "kafka-files",
    "watch": {"enabled": True},
    "topics": {"createClicks": True, "credentialsSecret": "kafka-admin"},
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
    """Run a command of helm on the chart; return its exit code, output and errors."""
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        yaml.safe_dump(values, file)
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
    """Return why the chart refuses these values."""
    code, _, errors = helm("template", "shop", values=values)

    assert code != 0
    return errors


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


def environment(container: Manifest) -> dict[str, str]:
    """Return the variables of a container; the name of a pod is `pod-0`."""
    return {one["name"]: one.get("value", "pod-0") for one in container["env"]}


every_profile = pytest.mark.parametrize("profile", PROFILES)


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
        if manifest["kind"] not in OF_OPERATORS:
            kubernetes_validate.validate(manifest, version, strict=True)


def test_an_unknown_field_is_found() -> None:
    """Or the test above would pass whatever a template says."""
    worker = the("StatefulSet", "shop-nextclick-worker", template({}))
    worker["spec"]["podManagement"] = "Parallel"

    with pytest.raises(kubernetes_validate.ValidationError, match="podManagement"):
        kubernetes_validate.validate(worker, KUBERNETES[0], strict=True)


@every_profile
def test_pods_are_restricted(profile: str) -> None:
    """By the Pod Security Standard of that name, with a root file system that is only read, and no token."""
    assert pods(rendered(profile))
    for pod in pods(rendered(profile)).values():
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["automountServiceAccountToken"] is False
        assert pod["enableServiceLinks"] is False  # NEXTCLICK_PORT is no setting
        for container in containers(pod):
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"]},
                "readOnlyRootFilesystem": True,
            }


@every_profile
def test_worker_and_trainer_take_their_settings(profile: str, tmp_path: Path) -> None:
    """From the file and the variables of each container."""
    manifests = rendered(profile)
    maps = {one["metadata"]["name"]: one["data"] for one in manifests if one["kind"] == "ConfigMap"}
    for name, pod in pods(manifests).items():
        (settings,) = (one["configMap"]["name"] for one in pod["volumes"] if "configMap" in one)
        (tmp_path / name).write_text(maps[settings]["nextclick.toml"])
        model: type[Section] = Settings if name.endswith(("worker", "topics")) else TrainerSettings
        for container in containers(pod):
            variables = environment(container)
            (mount,) = (one for one in container["volumeMounts"] if one["name"] == "settings")

            assert variables["NEXTCLICK_CONFIG"] == f"{mount['mountPath']}/nextclick.toml"
            assert (
                load(model, tmp_path / name, variables).model_dump()["kafka"]["bootstrap_servers"]
                == "kafka:9092"
            )


def test_the_two_memberships() -> None:
    """Fixed: static, and time to come back. Autoscaled: dynamic, and KEDA says how many."""
    fixed = the("StatefulSet", "shop-nextclick-worker", rendered("default"))
    scaled = the("StatefulSet", "shop-nextclick-worker", rendered("autoscaled"))
    settings = [
        load(Settings, None, environment(one["spec"]["template"]["spec"]["containers"][0]))
        for one in (fixed, scaled)
    ]

    assert [one.static_membership for one in settings] == [True, False]
    assert [one.kafka.session_timeout_ms for one in settings] == [45_000, 10_000]
    assert [one.worker_id for one in settings] == ["pod-0", "pod-0"]
    assert fixed["spec"]["replicas"] == 2
    assert "replicas" not in scaled["spec"]
    assert [one["spec"]["podManagementPolicy"] for one in (fixed, scaled)] == ["Parallel"] * 2
    assert not [one for one in rendered("default") if one["kind"] == "ScaledObject"]


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (AUTOSCALED | {"config": "static_membership = true"}, "has static_membership = true"),
        (AUTOSCALED | {"config": "[kafka]\nsession_timeout_ms = 45000"}, "session_timeout_ms = 45000"),
        (AUTOSCALED | {"fixed": {"replicas": 3}}, "fixed.replicas is given"),
        ({"membership": "autoscaled"}, "set autoscaled.maxReplicas"),
        ({"autoscaled": {"maxReplicas": 3}}, "autoscaled.maxReplicas is given"),
        ({"config": "static_membership = false"}, "has static_membership = false"),
        ({"config": "[kafka]\nsession_timeout_ms = 10000"}, "fixed.sessionTimeoutMs decides"),
        ({"fixed": {"sessionTimeoutMs": 30_000}}, "got 30,000, want 45,000"),
        ({"membership": "elastic"}, "must be one of 'fixed', 'autoscaled'"),
        ({"config": 'worker_id = "a"'}, "each pod has its own"),
        ({"config": "group ="}, "config is not TOML"),
        ({"config": "[state]\nmax_users = 0"}, "state.max_users = 0, no limit"),
        (AUTOSCALED | {"worker": {"resources": {"limits": {"memory": "1Gi"}}}}, "has no requests.cpu"),
        ({"workers": 3}, "additional properties 'workers' not allowed"),
    ],
)
def test_what_cannot_be_meant_is_refused(values: Manifest, reason: str) -> None:
    """With a sentence that names both values and a way out."""
    assert reason in refusal(values)


def test_keda_scales_by_work_and_by_what_waits() -> None:
    """In the group and on the topic that the workers use."""
    config = 'group = "shop"\n[kafka]\nbootstrap_servers = "a:1,b:2"\n[topics]\nclicks = "events"\n'
    values = AUTOSCALED | {"config": config, "autoscaled": {"maxReplicas": 8, "triggerAuthentication": "k"}}
    manifests = template(values)
    scaled = the("ScaledObject", "shop-nextclick-worker", manifests)["spec"]
    processor, lag = scaled["triggers"]

    assert (scaled["minReplicaCount"], scaled["maxReplicaCount"]) == (1, 8)
    assert scaled["scaleTargetRef"]["name"] in pods(tuple(manifests))
    assert (processor["type"], processor["metadata"]) == ("cpu", {"value": "70"})
    assert lag["metadata"] == {
        "bootstrapServers": "a:1,b:2",
        "consumerGroup": "shop",
        "topic": "events",
        "offsetResetPolicy": "earliest",
        "lagThreshold": "150000",
    }
    assert lag["authenticationRef"] == {"name": "k"}


def test_a_change_of_the_settings_rolls_the_pods() -> None:
    """And nothing else does."""

    def annotations(config: str) -> list[str]:
        manifests = template({"config": config, "watch": {"enabled": True}})
        owners = [one for one in manifests if one["kind"] in ("StatefulSet", "Deployment")]
        return [one["spec"]["template"]["metadata"]["annotations"]["nextclick/settings"] for one in owners]

    first, again, other = (annotations(config) for config in ('group = "a"', 'group = "a"', 'group = "b"'))

    assert len(first) == 3
    assert first == again
    assert not set(first) & set(other)


@pytest.mark.parametrize(
    ("config", "mebibytes"),
    [("", 1_661), ("[state]\nmax_users = 1_000_000", 980), ("[state]\nmax_users = 10_000_000", 7_106)],
)
def test_memory_follows_from_the_number_of_users(config: str, mebibytes: int) -> None:
    """300 MiB and 1.25 times 571 bytes a user; what is used at most is what is asked for."""
    users = tomllib.loads(config).get("state", {}).get("max_users", Settings().state.max_users)
    worker = the("StatefulSet", "shop-nextclick-worker", template({"config": f'group = "a"\n{config}'}))
    (container,) = worker["spec"]["template"]["spec"]["containers"]

    assert mebibytes == 300 + int(1.25 * 571 * users / 2**20)
    assert container["resources"] == {
        "requests": {"cpu": "1", "memory": f"{mebibytes}Mi"},
        "limits": {"memory": f"{mebibytes}Mi"},
    }


def test_ports_are_those_of_the_settings() -> None:
    """In container, Service and probes; the file's address to listen on counts, too."""
    manifests = template({"config": '[http]\nport = 8000\nhost = "::"\n[metrics]\nport = 8001\n'})
    worker, trainer = (pods(tuple(manifests))[f"shop-nextclick-{one}"] for one in ("worker", "trainer"))

    assert worker["containers"][0]["ports"] == [{"name": "http", "containerPort": 8000}]
    assert the("Service", "shop-nextclick-worker", manifests)["spec"]["ports"][0]["port"] == 8000
    assert trainer["containers"][0]["ports"] == [{"name": "http", "containerPort": 8001}]
    assert "NEXTCLICK_HTTP_HOST" not in environment(worker["containers"][0])
    for probe, path in (
        ("startupProbe", "/livez"),
        ("livenessProbe", "/livez"),
        ("readinessProbe", "/readyz"),
    ):
        assert worker["containers"][0][probe]["httpGet"] == {"path": path, "port": "http"}


def test_defaults_that_the_chart_repeats_are_those_of_the_worker() -> None:
    """It reads the settings file without the worker's help."""
    text = (CHART / "templates/worker.yaml").read_text()
    defaults = Settings()

    assert f'"http" "port" {defaults.http.port} ' in text
    assert f'"state" "max_users" {defaults.state.max_users} ' in text
    assert f'"bootstrap_servers" "{defaults.kafka.bootstrap_servers}"' in text
    assert f'"topics" "clicks" "{defaults.topics.clicks}"' in text
    assert f'"group" "{defaults.group}"' in (CHART / "templates/_helpers.tpl").read_text()


def test_secrets_are_names() -> None:
    """The job that makes the topics may have other credentials; no value holds a password."""
    specifications = pods(rendered("everything"))
    secrets = {
        (name, container["name"]): container["envFrom"][0]["secretRef"]["name"]
        for name, pod in specifications.items()
        for container in containers(pod)
    }

    assert secrets.pop(("shop-nextclick-topics", "topics")) == "kafka-admin"
    assert {*secrets.values()} == {"kafka-login"}
    assert all(
        {"name": "files", "secret": {"secretName": "kafka-files"}} in pod["volumes"]
        for pod in specifications.values()
    )
    assert not [one for one in rendered("everything") if one["kind"] == "Secret"]


def test_everything_can_be_selected_and_nothing_else_is() -> None:
    """Selectors of Service, budget, policy and monitor find pods; a selector finds those of one component."""
    manifests = rendered("everything")
    labels = {
        one["metadata"]["name"]: one["spec"]["template"]["metadata"]["labels"]
        for one in manifests
        if "template" in one.get("spec", {})
    }

    def selected(selector: dict[str, str]) -> set[str]:
        return {name for name, its in labels.items() if selector.items() <= its.items()}

    assert selected(the("Service", "shop-nextclick-worker", manifests)["spec"]["selector"]) == {
        "shop-nextclick-worker"
    }
    budget = the("PodDisruptionBudget", "shop-nextclick-worker", manifests)["spec"]
    assert selected(budget["selector"]["matchLabels"]) == {"shop-nextclick-worker"}
    policy = the("NetworkPolicy", "shop-nextclick", manifests)["spec"]
    assert selected(policy["podSelector"]["matchLabels"]) == set(labels)
    monitor = the("PodMonitor", "shop-nextclick", manifests)["spec"]
    assert selected(monitor["selector"]["matchLabels"]) == set(labels)


def test_only_scrapers_may_connect() -> None:
    """Metrics tell how a shop does, and any connection costs the worker something."""
    policy = the("NetworkPolicy", "shop-nextclick", rendered("default"))["spec"]
    closed = the("NetworkPolicy", "shop-nextclick", template({"networkPolicy": {"scrapers": []}}))["spec"]
    ports = [one["port"] for one in policy["egress"][0]["ports"]]
    for url, port in {"http://registry:8081": 8081, "https://registry": 443, "http://registry": 80}.items():
        asked = template({"config": f'[registry]\nurl = "{url}"\n'})
        egress = the("NetworkPolicy", "shop-nextclick", asked)["spec"]["egress"][0]
        assert egress["ports"][-1] == {"port": port, "protocol": "TCP"}

    assert policy["policyTypes"] == ["Ingress", "Egress"]
    assert [rule["ports"] for rule in policy["ingress"]] == [[{"port": "http", "protocol": "TCP"}]]
    assert all(rule["from"] for rule in policy["ingress"])
    assert not closed["ingress"]  # an empty `from` would let everybody in
    assert ports == [53, 53, 9092, 9093, 9094]


def test_topics_come_before_everything_else() -> None:
    """Their job has a copy of the settings of its own, for it runs before the ConfigMap is made."""
    hooks = [one for one in rendered("default") if "helm.sh/hook" in one["metadata"].get("annotations", {})]
    weights = [int(one["metadata"]["annotations"]["helm.sh/hook-weight"]) for one in hooks]
    job = pods(rendered("everything"))["shop-nextclick-topics"]

    assert [one["kind"] for one in hooks] == ["ConfigMap", "Job"]
    assert weights == sorted(weights)
    assert [one["args"] for one in containers(job)] == [
        ["topics", "--partitions=4", "--replication=-1", "--create-clicks"],
        ["check"],
    ]
