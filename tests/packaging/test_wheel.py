"""What `pip install nextclick` and `pip download --no-binary` bring."""

from __future__ import annotations

import re
import tarfile
from email import message_from_bytes
from email.message import Message
from pathlib import Path
from typing import Final
from zipfile import ZipFile

import pytest
from hatchling.builders.sdist import SdistBuilder
from hatchling.builders.wheel import WheelBuilder

from tests.packaging.without import PROJECT, ROOT

PACKAGES: Final = ("trainer", "worker")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> ZipFile:
    """The wheel as pip would build it, without a network: the build backend needs none."""
    folder = tmp_path_factory.mktemp("wheel")
    (path,) = WheelBuilder(str(ROOT)).build(directory=str(folder), versions=["standard"])
    return ZipFile(path)


@pytest.fixture(scope="module")
def metadata(wheel: ZipFile) -> Message:
    """What the wheel says of itself."""
    (name,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    return message_from_bytes(wheel.read(name))


def test_the_wheel_holds_the_two_packages_and_nothing_else(wheel: ZipFile) -> None:
    """Every module, the marker of types, the names of settings, the report's page and style; nothing else."""
    expected = {
        path.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.suffix in {".py", ".html", ".css"} or path.name in {"py.typed", "keys.txt", "costs.json"}
    }
    found = {name for name in wheel.namelist() if ".dist-info/" not in name}

    assert found == expected
    assert {f"{package}/py.typed" for package in PACKAGES} < found
    assert {f"trainer/evaluation/report/{name}" for name in ("page.html", "style.css")} < found


def test_the_wheel_brings_the_license_and_the_programs(wheel: ZipFile) -> None:
    """Beside what every wheel has of itself."""
    notes = {name.partition(".dist-info/")[2]: name for name in wheel.namelist() if ".dist-info/" in name}

    assert set(notes) == {"METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE"}
    assert wheel.read(notes["licenses/LICENSE"]) == (ROOT / "LICENSE").read_bytes()
    programs = wheel.read(notes["entry_points.txt"]).decode()
    assert "nextclick-worker = worker.__main__:main" in programs
    assert "nextclick-trainer = trainer.__main__:main" in programs


def test_all_places_name_the_same_pythons(metadata: Message) -> None:
    """The wheel, its classifiers, the Makefile and the README."""
    name = "Programming Language :: Python :: 3."
    minors = sorted(int(one.removeprefix(name)) for one in PROJECT["classifiers"] if one.startswith(name))
    makefile = (ROOT / "Makefile").read_text()
    tried = re.findall(r"python3\.(\d+)", makefile.partition("PYTHON = ")[2].partition("\n")[0])

    assert minors == [*range(minors[0], minors[-1] + 1)]
    bounds = {f">=3.{minors[0]}", f"<3.{minors[-1] + 1}"}
    assert set(str(metadata["Requires-Python"]).split(",")) == bounds
    assert sorted(map(int, tried)) == minors
    assert f"(3, {minors[0]}) <= sys.version_info[:2] <= (3, {minors[-1]})" in makefile
    assert re.search(rf"Python 3\.{minors[0]}\W*(to )?3\.{minors[-1]}", (ROOT / "README.md").read_text())


def test_the_source_holds_what_the_wheel_is_built_of(tmp_path: Path) -> None:
    """And the documents, as there is no public page that could hold them."""
    (path,) = SdistBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"])
    with tarfile.open(path) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}

    assert {"CHANGELOG.md", "LICENSE", "README.md", "pyproject.toml", "worker/py.typed"} <= names
    assert {name.partition("/")[0] for name in names if "/" in name} == set(PACKAGES)
    assert not [name for name in names if "__pycache__" in name]
