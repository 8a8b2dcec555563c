"""The machine that the figures were made on."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import threadpoolctl

from deploy.kafka.install import fetch


def lines() -> Iterator[str]:
    """Yield machine, systems and versions, a few to a line."""
    load = os.getloadavg()[0]
    yield f"{_processor()}, {os.cpu_count()} cores, load {load:.1f} before"
    yield f"{platform.system()} {platform.release()}"
    yield f"Python {platform.python_version()}, NumPy {version('numpy')} ({_blas()})"
    yield f"Apache Kafka {_kafka()}, kafka-python {version('kafka-python')}"


def _processor() -> str:
    path = Path("/proc/cpuinfo")
    text = path.read_text() if path.exists() else ""
    names = [line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _blas() -> str:
    found = [one for one in threadpoolctl.threadpool_info() if one["user_api"] == "blas"]
    return ", ".join(f"{one['internal_api']} {one['version']} {one.get('architecture', '')}" for one in found)


def _kafka() -> str:
    jars = fetch().glob("kafka_*-*.jar")
    return ", ".join(sorted(jar.stem.partition("-")[2] for jar in jars))
