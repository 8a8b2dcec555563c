"""deploy/compose.yaml: valid, and made of commands, settings and addresses that exist."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Final

import click
import pytest
import yaml

from deploy.demo import feed
from tests.deploy.tools import run
from tests.documents import ROOT
from trainer.commands import cli as trainer
from trainer.config import TrainerSettings
from worker import __main__ as worker
from worker.config import Settings
from worker.settings.fields import Section
from worker.settings.loading import load

COMPOSE: Final = ROOT / "deploy/compose.yaml"

PROGRAMS: Final[dict[str, tuple[click.Group, type[Section]]]] = {
    "nextclick-worker": (worker.cli, Settings),
    "nextclick-trainer": (trainer.cli, TrainerSettings),
}


def services() -> dict[str, dict[str, Any]]:
    """Return the services by their names."""
    return yaml.safe_load(COMPOSE.read_text())["services"]


OURS: Final = [name for name, one in services().items() if one["image"].startswith("nextclick-")]
OTHERS: Final = [name for name in services() if name not in OURS]


def test_the_file_is_valid() -> None:
    """By the schema of the Compose specification."""
    done = run(sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", COMPOSE)

    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", OURS)
def test_commands_and_settings_are_taken(name: str) -> None:
    """By the program in the image; each worker has a name of its own."""
    service = services()[name]
    words = service.get("command", ["run"])
    if service["image"] == "nextclick-feeder":
        assert feed.arguments().parse_args(words).kafka == "kafka:9092"
        return
    program, model = PROGRAMS[service["image"]]
    command = program.commands[words[0]]
    with command.make_context(words[0], [*words[1:]]):
        pass

    settings = load(model, None, service["environment"])
    assert settings.model_dump()["kafka"]["bootstrap_servers"] == "kafka:9092"
    assert service["environment"].get("NEXTCLICK_WORKER_ID", name) == name


@pytest.mark.parametrize("name", OURS)
def test_our_containers_have_no_rights(name: str) -> None:
    """They write to /tmp alone, as in Kubernetes."""
    service = services()[name]

    assert service["read_only"] is True
    assert service["tmpfs"] == ["/tmp"]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert f"AS {service['build']['target']}\n" in (ROOT / service["build"]["dockerfile"]).read_text()
    assert service["image"] == f"nextclick-{service['build']['target']}"


@pytest.mark.parametrize("name", OTHERS)
def test_images_of_others_have_full_versions(name: str) -> None:
    """`latest` is another image tomorrow."""
    tag = services()[name]["image"].rpartition(":")[2]

    assert tag.removeprefix("v").count(".") == 2


def test_kafka_is_the_version_that_the_tests_run_on() -> None:
    """The only one that is known to work."""
    pom = (ROOT / "deploy/kafka/pom.xml").read_text()

    assert f"<version>{services()['kafka']['image'].partition(':')[2]}</version>" in pom


def test_prometheus_scrapes_every_program() -> None:
    """At the service and port where it listens; all ports on this host are for this host alone."""
    scrapes = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yaml").read_text())["scrape_configs"]
    targets = {target for one in scrapes for target in one["static_configs"][0]["targets"]}
    listening = {
        f"{name}:{service['environment'].get('NEXTCLICK_METRICS_PORT', Settings().http.port)}"
        for name, service in services().items()
        if name in OURS and service.get("command", ["run"])[0] in ("run", "watch")
    }
    published = [port for service in services().values() for port in service.get("ports", ())]

    assert targets == listening
    assert all(port.startswith("127.0.0.1:") for port in published)


def test_what_is_mounted_exists() -> None:
    """Beside the file."""
    mounted = [one.split(":")[0] for service in services().values() for one in service.get("volumes", ())]

    assert mounted
    assert all((COMPOSE.parent / Path(one)).is_dir() for one in mounted)
