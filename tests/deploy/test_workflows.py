"""The workflows under .github: valid, and made of the targets that a person runs."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Final

import pytest
import yaml

from tests.deploy.tools import run, tool
from tests.documents import ROOT

GITHUB: Final = ROOT / ".github"
WORKFLOWS: Final = sorted((GITHUB / "workflows").glob("*.yaml"))

every_workflow = pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)


def validate(schema: str, path: Path) -> None:
    """Check a file against a schema that check-jsonschema carries."""
    done = run(sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, path)

    assert done.returncode == 0, done.stdout


@every_workflow
def test_workflows_are_valid(path: Path) -> None:
    """By the schema, and by actionlint, which knows expressions and contexts."""
    validate("vendor.github-workflows", path)
    done = run(tool("actionlint"), "-shellcheck=", path)

    assert done.returncode == 0, done.stdout


@every_workflow
def test_actions_are_pinned(path: Path) -> None:
    """By commit: a tag may be moved to other code."""
    used = re.findall(r"uses: (.*)", path.read_text())

    assert used
    assert all(re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", one) for one in used)


@every_workflow
def test_workflows_may_only_read(path: Path) -> None:
    """A job that does more says so itself."""
    assert yaml.safe_load(path.read_text())["permissions"] == {"contents": "read"}


@every_workflow
def test_targets_exist(path: Path) -> None:
    """The commands are those of a person."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    called = re.findall(r"\bmake (?:--silent )?([a-z-]+)", path.read_text())

    assert called
    assert {*called} <= targets


def test_dependabot_is_valid_and_looks_where_images_are() -> None:
    """Each directory has a file of its ecosystem."""
    path = GITHUB / "dependabot.yml"
    validate("vendor.dependabot", path)
    directories = {
        one["package-ecosystem"]: one["directory"] for one in yaml.safe_load(path.read_text())["updates"]
    }

    assert (ROOT / directories["docker"].lstrip("/") / "Dockerfile").exists()
    assert (ROOT / directories["docker-compose"].lstrip("/") / "compose.yaml").exists()


@pytest.mark.parametrize("path", sorted(GITHUB.glob("*.md")), ids=lambda path: path.name)
def test_links_lead_to_files(path: Path) -> None:
    """From the documents that GitHub shows by itself."""
    targets = re.findall(r"\]\(([^)#]+)", path.read_text())

    assert targets
    assert all((path.parent / target).exists() for target in targets)


def test_the_chart_has_the_version_of_the_program() -> None:
    """Its images are those of the same release."""
    chart = yaml.safe_load((ROOT / "deploy/helm/nextclick/Chart.yaml").read_text())
    version = run("make", "--silent", "version").stdout.strip()

    assert (chart["version"], chart["appVersion"]) == (version, version)
