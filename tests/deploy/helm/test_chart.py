"""The chart deploy/helm/nextclick: its manifests fit each other, the settings, and the rules."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest

from tests.commands import shown
from tests.deploy.helm.rendering import (
    AUTOSCALED,
    CHART,
    KUBERNETES,
    config,
    containers,
    environment,
    every_profile,
    pods,
    refusal,
    rendered,
    template,
    the,
    worker,
)
from tests.deploy.tools import run, tool
from tests.documents import ROOT
from trainer.config import TrainerSettings
from worker.config import Settings
from worker.settings.fields import Section, fields_of, is_secret, parse_addresses
from worker.settings.loading import KEYS, load

SUITES: Final = "../../../tests/deploy/helm/suites/*_test.yaml"
"""The unit tests of helm-unittest, seen from the chart."""

SNAPSHOTS: Final = ROOT / "tests/deploy/helm/suites/__snapshot__/snapshots_test.yaml.snap"

UPDATE: Final = (
    f"the manifests have changed: `build/tools/helm-unittest --update-snapshot --file '{SUITES}' "
    "deploy/helm/nextclick` rewrites the snapshots"
)


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


def test_unit_tests_and_snapshots_hold() -> None:
    """By helm-unittest: memberships, refusals, and every manifest as it was when somebody last looked.

    A snapshot that is missing is written; that, too, is a change that somebody must look at.
    """
    before = SNAPSHOTS.read_bytes()
    done = run(tool("helm-unittest"), "--strict", "--file", SUITES, CHART)

    assert done.returncode == 0, f"{done.stdout}{done.stderr}\n{UPDATE}"
    assert SNAPSHOTS.read_bytes() == before, UPDATE


@pytest.mark.parametrize(
    "words",
    [one.words for one in shown("deploy/README.md") if one.program == "helm"],
    ids=lambda words: f"{words[1]} {words[-1]}",
)
def test_the_commands_shown_give_manifests(words: tuple[str, ...], tmp_path: Path) -> None:
    """With the settings of a user; an upgrade has the values of the install, which Helm would look up."""
    (tmp_path / "nextclick.toml").write_text(config())
    (tmp_path / "deploy").symlink_to(ROOT / "deploy")
    options = [one for one in words[2:] if one != "--reset-then-reuse-values"]
    options += ["--set-file", "config=nextclick.toml"] if "upgrade" in words else []
    done = run(tool("helm"), "template", *options, "--kube-version", KUBERNETES[0], folder=tmp_path)

    assert done.returncode == 0, done.stderr


def test_worker_ids_and_memberships() -> None:
    """The name of a pod is its worker_id; a fixed number of workers is static, and KEDA's is not."""
    fixed, scaled = (
        load(Settings, None, environment(worker(rendered(profile)))) for profile in ("default", "autoscaled")
    )

    assert (fixed.static_membership, fixed.kafka.session_timeout_ms) == (True, 45_000)
    assert (scaled.static_membership, scaled.kafka.session_timeout_ms) == (False, 10_000)
    assert fixed.worker_id == scaled.worker_id == "pod-0"


SECRETS: Final = sorted(
    {key for model in (Settings, TrainerSettings) for key, field in fields_of(model) if is_secret(field)}
)


def test_there_are_secret_settings() -> None:
    """Or the next test would test nothing."""
    assert {"http.token", "kafka.sasl_password"} <= {*SECRETS}


@pytest.mark.parametrize("key", SECRETS)
def test_no_secret_goes_into_the_config_map(key: str) -> None:
    """Every secret setting is refused there; the reason names its variable."""
    reason = refusal({"config": f'kafka.bootstrap_servers = "kafka:9092"\n{key} = "hush"\n'})

    assert f"config has {key}, " in reason
    assert f"NEXTCLICK_{key.replace('.', '_').upper()}" in reason
    assert "hush" not in reason


@pytest.mark.parametrize(
    "servers",
    ["localhost:19192", "a:1,LocalHost:2", "127.0.0.1:9092", "127.8.9.1:1", "[::1]:9092", "0.0.0.0:9092"],
)
def test_brokers_in_the_pod_itself_are_refused(servers: str) -> None:
    """By name, and by each address of the loopback interface."""
    reason = refusal({"config": f'kafka.bootstrap_servers = "{servers}"'})

    assert f'config has kafka.bootstrap_servers = "{servers}", and in a pod ' in reason


@pytest.mark.parametrize(
    "servers",
    [
        "broker",
        "a:1,b",
        "a:1,",
        "a:0",
        "a:65536",
        "a:x",
        "2001:db8::1:9092",
        "PLAINTEXT://a:1",
        "a b:1",
        "a:",
    ],
)
def test_chart_and_worker_refuse_the_same_addresses(servers: str) -> None:
    """The policy and KEDA get the ports from them before the worker sees them."""
    with pytest.raises(ValueError, match="must be host:port"):
        parse_addresses(servers)
    assert "Each address must be host:port" in refusal({"config": f'kafka.bootstrap_servers = "{servers}"'})


@pytest.mark.parametrize(
    "servers", ["a:1, b-1.example:65535", "[2001:db8::1]:9092", "10.0.0.1:9092", "127a:1"]
)
def test_chart_and_worker_take_the_same_addresses(servers: str) -> None:
    """With blanks after the commas, too, which KEDA gets without them."""
    values = AUTOSCALED | {"config": f'kafka.bootstrap_servers = "{servers}"'}
    scaled = the("ScaledObject", "shop-nextclick-worker", template(values))["spec"]

    assert scaled["triggers"][1]["metadata"]["bootstrapServers"] == parse_addresses(servers)


@pytest.mark.parametrize(
    ("line", "key", "instead"),
    [
        ("state.flush_intervall = 1", "state.flush_intervall", "flush_interval, max_bytes, max_users"),
        ('gruop = "a"', "gruop", "group, http, item, kafka"),
        ("kafak.fetch_max_wait_ms = 1", "kafak.fetch_max_wait_ms", "group, http, item, kafka"),
        ("state = 1", "state", "flush_interval, max_bytes, max_users"),
    ],
)
def test_a_key_that_is_no_setting_is_refused(line: str, key: str, instead: str) -> None:
    """With those that could be meant."""
    reason = refusal({"config": config(line)})

    assert f"config has {key}, which is not a setting. Use " in reason
    assert instead in reason


def test_every_setting_of_both_programs_is_known() -> None:
    """The chart has the list of the programs, and takes the keys that it does not check more closely."""
    checked = re.compile(r"kafka\..*|.*\.(host|url)|.*_file|static_membership|worker_id")
    keys = [key for key in sorted(KEYS - {*SECRETS}) if not checked.fullmatch(key)]

    assert (CHART / "files/keys.txt").read_text().split() == sorted(KEYS)
    assert len(keys) > 100
    assert template({"config": config("\n".join(f"{key} = 1" for key in keys))})


def test_keda_scales_by_work_and_by_what_waits() -> None:
    """In the group and on the topic that the workers use."""
    settings = 'group = "shop"\n[kafka]\nbootstrap_servers = "a:1,b:2"\n[topics]\nclicks = "events"\n'
    values = AUTOSCALED | {"config": settings, "autoscaled": {"maxReplicas": 8, "triggerAuthentication": "k"}}
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

    def annotations(group: str) -> list[str]:
        manifests = template({"config": config(f'group = "{group}"'), "watch": {"enabled": True}})
        owners = [one for one in manifests if one["kind"] in ("StatefulSet", "Deployment")]
        return [one["spec"]["template"]["metadata"]["annotations"]["nextclick/settings"] for one in owners]

    first, again, other = (annotations(group) for group in "aab")

    assert len(first) == 3
    assert first == again
    assert not set(first) & set(other)


@pytest.mark.parametrize(
    ("state", "size", "mebibytes"),
    [
        ("", 2_000_000 * 571, 1_661),
        ("max_users = 10_000_000", 10_000_000 * 571, 7_106),
        ("max_users = 0\nmax_bytes = 800_000_000", 800_000_000, 1_253),
        ("max_bytes = 4_000_000_000", 4_000_000_000, 5_068),
    ],
)
def test_memory_follows_from_the_limits_of_the_states(state: str, size: int, mebibytes: int) -> None:
    """300 MiB and 1.25 times the bytes of the states; the worker keeps them, whatever a release needs."""
    container = worker(template({"config": config(f"[state]\n{state}")}))

    assert mebibytes == 300 + int(1.25 * size / 2**20)
    assert environment(container)["NEXTCLICK_STATE_MAX_BYTES"] == str(size)
    assert container["resources"] == {
        "requests": {"cpu": "1", "memory": f"{mebibytes}Mi"},
        "limits": {"memory": f"{mebibytes}Mi"},
    }


def test_with_resources_of_ones_own_the_chart_sets_no_limit() -> None:
    """It cannot know what they are for."""
    resources = {"requests": {"cpu": "500m", "memory": "3Gi"}}
    container = worker(template({"worker": {"resources": resources}}))

    assert container["resources"] == resources
    assert "NEXTCLICK_STATE_MAX_BYTES" not in environment(container)


def test_ports_are_those_of_the_settings() -> None:
    """In container, Service and probes; the file's address to listen on counts, too."""
    settings = config('http = {port = 8000, host = "::"}\nmetrics.port = 8001')
    manifests = tuple(template({"config": settings}))
    trainer = pods(manifests)["shop-nextclick-trainer"]

    assert worker(manifests)["ports"] == [{"name": "http", "containerPort": 8000}]
    assert the("Service", "shop-nextclick-worker", manifests)["spec"]["ports"][0]["port"] == 8000
    assert trainer["containers"][0]["ports"] == [{"name": "http", "containerPort": 8001}]
    assert "NEXTCLICK_HTTP_HOST" not in environment(worker(manifests))
    for probe, path in (
        ("startupProbe", "/livez"),
        ("livenessProbe", "/livez"),
        ("readinessProbe", "/readyz"),
    ):
        assert worker(manifests)[probe]["httpGet"] == {"path": path, "port": "http"}


def test_defaults_that_the_chart_repeats_are_those_of_the_worker() -> None:
    """It reads the settings file without the worker's help."""
    text = (CHART / "templates/worker.yaml").read_text()
    defaults = Settings()

    assert f'"http" "port" {defaults.http.port} ' in text
    assert f'"max_users" {defaults.state.max_users} $state' in text
    assert f'"max_bytes" {defaults.state.max_bytes} $state' in text
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
    (but,) = policy["podSelector"]["matchExpressions"]
    assert (but["operator"], but["values"]) == ("NotIn", ["topics"])
    assert labels["shop-nextclick-topics"][but["key"]] == "topics"
    monitor = the("PodMonitor", "shop-nextclick", manifests)["spec"]
    assert selected(monitor["selector"]["matchLabels"]) == set(labels)


def test_only_scrapers_clients_and_workers_may_connect() -> None:
    """Metrics tell how a shop does, and any connection costs the worker something."""
    values = {
        "networkPolicy": {"scrapers": [], "clients": [{"podSelector": {"matchLabels": {"app": "page"}}}]}
    }
    policy = the("NetworkPolicy", "shop-nextclick", rendered("default"))["spec"]
    closed = the("NetworkPolicy", "shop-nextclick", template({"networkPolicy": {"scrapers": []}}))["spec"]
    asked = the("NetworkPolicy", "shop-nextclick", template(values))["spec"]

    assert policy["policyTypes"] == ["Ingress", "Egress"]
    for rule in (*policy["ingress"], *asked["ingress"]):
        assert rule["ports"] == [{"port": "http", "protocol": "TCP"}]
        assert rule["from"]  # an empty `from` would let everybody in
    (workers,) = closed["ingress"]
    (selector,) = workers["from"]
    assert selector["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == "worker"
    assert policy["ingress"][1:] == closed["ingress"]
    assert asked["ingress"] == [{**workers, "from": values["networkPolicy"]["clients"]}, workers]


def test_workers_pass_requests_on() -> None:
    """They find each other by the names that the Service gives them, unless the settings say where."""
    address = environment(worker(rendered("default")))["NEXTCLICK_HTTP_ADVERTISED"]
    own = config('http = {advertised = "http://a:1"}')
    policy = the("NetworkPolicy", "shop-nextclick", rendered("default"))["spec"]

    assert address == "http://$(NEXTCLICK_WORKER_ID).shop-nextclick-worker:9464"
    assert "NEXTCLICK_HTTP_ADVERTISED" not in environment(worker(tuple(template({"config": own}))))
    assert policy["egress"][0]["to"] == policy["ingress"][-1]["from"]


@pytest.mark.parametrize(
    ("servers", "more", "ports"),
    [
        ("kafka:9092", "", [9092]),
        ("a:9096, b:9098,a:9096", "", [9096, 9098]),
        ("[2001:db8::1]:9094", '[registry]\nurl = "http://registry:8081"', [9094, 8081]),
        ("kafka:443", '[registry]\nurl = "https://registry"', [443]),
        ("kafka:9093", 'sasl_oauth_url = "https://login:8443/token"', [9093, 8443]),
        ("kafka:9092", '[registry]\nurl = "http://registry/apis/ccompat/v7"', [9092, 80]),
        ("kafka:9092", 'sasl_oauth_url = "https://login.example/token"', [9092, 443]),
    ],
)
def test_pods_may_connect_to_what_the_settings_name(servers: str, more: str, ports: list[int]) -> None:
    """To DNS, to the ports of Kafka, the registry and the token endpoint, and to those of the values."""
    values = {"config": f'[kafka]\nbootstrap_servers = "{servers}"\n{more}', "networkPolicy": {"ports": [7]}}
    _, egress = the("NetworkPolicy", "shop-nextclick", template(values))["spec"]["egress"]

    assert [one["port"] for one in egress["ports"][:2]] == [53, 53]
    assert sorted(one["port"] for one in egress["ports"][2:]) == sorted([7, *ports])


def test_topics_come_before_everything_else() -> None:
    """Their job has a copy of the settings of its own, for it runs before the ConfigMap is made."""
    hooks = [one for one in rendered("default") if "helm.sh/hook" in one["metadata"].get("annotations", {})]
    weights = [int(one["metadata"]["annotations"]["helm.sh/hook-weight"]) for one in hooks]
    job = pods(rendered("everything"))["shop-nextclick-topics"]

    assert [one["kind"] for one in hooks] == ["ConfigMap", "Job"]
    assert weights == sorted(weights)
    assert [one["args"] for one in containers(job)] == [
        ["topics", "--partitions=8", "--replication=-1", "--create-clicks"],
        ["check"],
    ]
