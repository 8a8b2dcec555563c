"""The programs that check images, chart, rules and workflows: `make tools` brings those that no wheel has."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final, NoReturn

import pytest

from tests.documents import ROOT

BROUGHT: Final = ROOT / "build" / "tools"


def tool(name: str) -> str:
    """Return the path of a program; skip the test, or fail it in CI, where there is none."""
    places = [BROUGHT, Path(sys.executable).parent, os.environ["PATH"]]
    return shutil.which(name, path=os.pathsep.join(map(str, places))) or _lacking(name)


def brought(name: str) -> Path:
    """Return the path of a file of `make tools`; skip the test, or fail it in CI, where there is none."""
    path = BROUGHT / name
    return path if path.exists() else _lacking(name)


def _lacking(name: str) -> NoReturn:
    reason = f"no `{name}`: `make tools` brings it, with Go and Debian's apt-get"
    if os.environ.get("CI"):
        raise pytest.fail.Exception(reason, pytrace=False)
    raise pytest.skip.Exception(reason)


def run(
    *words: str | Path, folder: Path = ROOT, given: str | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end, with `given` as its input, and return what it said."""
    return subprocess.run(words, cwd=folder, input=given, capture_output=True, text=True, check=False)
