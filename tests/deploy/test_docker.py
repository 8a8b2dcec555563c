"""deploy/docker/Dockerfile, as far as it can be judged without building: `make image-test` builds."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Final

import pytest

from tests.deploy.tools import run, tool
from tests.documents import ROOT

DOCKERFILE: Final = ROOT / "deploy/docker/Dockerfile"

PROGRAMS: Final = ("worker", "trainer", "feeder")

Instruction = tuple[str, str]


def stages() -> dict[str, tuple[str, list[Instruction]]]:
    """Return the parent and the instructions of every stage."""
    text = re.sub(r"^\s*#.*\n", "", DOCKERFILE.read_text(), flags=re.MULTILINE).replace("\\\n", "")
    found: dict[str, tuple[str, list[Instruction]]] = {}
    for line in filter(None, text.splitlines()):
        name, _, rest = line.partition(" ")
        if name == "FROM":
            parent, _, stage = rest.partition(" AS ")
            found[stage] = (parent, [])
        elif found:
            found[[*found][-1]][1].append((name, rest.strip()))
    return found


def instructions(stage: str) -> list[Instruction]:
    """Return the instructions of a stage, after those of the stages that it begins with."""
    parent, own = stages()[stage]
    return [*(instructions(parent) if parent in stages() else []), *own]


def last(stage: str, name: str) -> str:
    """Return the last instruction of this name, which is in force."""
    return [rest for found, rest in instructions(stage) if found == name][-1]


def test_hadolint_has_nothing_to_say() -> None:
    """Not even a hint."""
    done = run(tool("hadolint"), "--failure-threshold", "style", DOCKERFILE)

    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("program", PROGRAMS)
def test_programs_run_as_nobody_and_end_when_asked(program: str) -> None:
    """By a number, for Kubernetes; the entrypoint is no shell, which would keep SIGTERM for itself."""
    assert last(program, "USER") == "65532:65532"
    assert last(program, "STOPSIGNAL") == "SIGTERM"
    assert json.loads(last(program, "ENTRYPOINT"))[0] in (f"nextclick-{program}", "python")


def test_the_worker_calculates_in_one_thread() -> None:
    """Its batches are small."""
    assert "OPENBLAS_NUM_THREADS=1" in [rest for name, rest in instructions("worker") if name == "ENV"]


def test_every_base_is_the_pinned_one() -> None:
    """With its full version and digest; stages begin with it or with each other."""
    (base,) = re.findall(r"^ARG BASE=(\S+)$", DOCKERFILE.read_text(), re.MULTILINE)
    parents = {parent for parent, _ in stages().values()}

    assert re.fullmatch(r"python:3\.1[123]\.\d+-slim-\w+@sha256:[0-9a-f]{64}", base)
    assert parents - {*stages()} == {"${BASE}"}


def test_packages_have_hashes() -> None:
    """All that pip brings from elsewhere; the wheel of this project is built without bringing more."""
    brought = [
        rest
        for stage in stages()
        for name, rest in stages()[stage][1]
        if name == "RUN" and " install" in rest
    ]

    assert len(brought) == 5
    for command in brought:
        assert "--require-hashes --only-binary :all:" in command or "--no-index --no-deps" in command
    assert "--no-deps --no-build-isolation" in last("wheel", "RUN")


def test_what_is_copied_is_there_and_not_ignored() -> None:
    """`.dockerignore` lets through what it names and nothing else."""
    ignore = (ROOT / ".dockerignore").read_text().splitlines()
    let_through = {line[1:] for line in ignore if line.startswith("!")}
    copied = [
        source
        for _, own in stages().values()
        for name, rest in own
        if name == "COPY" and "--from" not in rest
        for source in rest.split()[:-1]
    ]

    assert "*" in ignore
    assert all((ROOT / source).exists() for source in copied)
    assert {source.partition("/")[0] for source in copied} == let_through


class _Livez(BaseHTTPRequestHandler):
    status = 200

    def do_GET(self) -> None:  # the name that the base class calls
        self.send_response(self.status if self.path == "/livez" else 404)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def port() -> Iterator[int]:
    """The port of a server that answers /livez with `_Livez.status`."""
    with HTTPServer(("127.0.0.1", 0), _Livez) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


@pytest.mark.parametrize(("status", "healthy"), [(200, True), (503, False)])
def test_the_health_check_asks_livez(
    port: int, status: int, healthy: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the Python of the image, on the port of the variable."""
    command = json.loads(last("worker", "HEALTHCHECK").partition(" CMD ")[2])
    monkeypatch.setattr(_Livez, "status", status)
    monkeypatch.setenv("NEXTCLICK_HTTP_PORT", str(port))

    assert (run(*command).returncode == 0) is healthy


@pytest.mark.timeout(300)  # two processes of seconds, on a machine that may be busy
def test_the_sbom_names_every_package() -> None:
    """With its hashes, for worker and trainer."""
    done = run("make", "--assume-old=.venv/.dev", "sbom")
    assert done.returncode == 0, done.stderr
    for name in ("worker", "trainer"):
        wanted = re.findall(
            r"^([\w.-]+)==([^\s;]+)", (ROOT / f"deploy/requirements/{name}.txt").read_text(), re.MULTILINE
        )
        bom = json.loads((ROOT / f"build/sbom/{name}.cdx.json").read_text())

        assert {(one["name"], one["version"]) for one in bom["components"]} == {*wanted}
        assert all(one["externalReferences"][0]["hashes"] for one in bom["components"])
        assert bom["metadata"]["component"]["name"] == "nextclick"


@pytest.mark.timeout(120)  # a process of seconds, on a machine that may be busy
def test_an_audit_that_cannot_be_made_says_so(tmp_path: Path) -> None:
    """In one sentence, and it fails: nothing was looked at."""
    away = ("HTTPS_PROXY=http://127.0.0.1:9", f"PIP_CACHE_DIR={tmp_path}", f"XDG_CACHE_HOME={tmp_path}")
    done = run("env", *away, "make", "--assume-old=.venv/.dev", "audit")

    assert done.returncode != 0
    assert "Not audited, PyPI's vulnerability service does not answer" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_script_that_builds_is_valid() -> None:
    """It takes minutes, and root: `.ci/run` runs it where it can."""
    assert run("bash", "-n", ROOT / "deploy/docker/test.sh").returncode == 0
    assert "make image-test" in (ROOT / ".ci/run").read_text()
