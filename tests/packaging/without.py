"""A Python in which some packages cannot be imported, as where they are not installed."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from collections.abc import Collection
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parents[2]

PROJECT: Final[dict[str, Any]] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

TRAINER_EXTRA: Final = frozenset(
    # All builds of TensorFlow install the same package, and Keras with it.
    ["keras", *(re.split(r"\W", one)[0] for one in PROJECT["optional-dependencies"]["trainer"])]
)

_BLOCKER: Final = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {blocked!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Blocker())
"""


def run_without(
    blocked: Collection[str], code: str, *arguments: str | Path
) -> subprocess.CompletedProcess[str]:
    """Run `code` with these `arguments` in a process of its own that finds none of the packages `blocked`."""
    script = _BLOCKER.format(blocked=set(blocked)) + code
    command = [sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=100)
