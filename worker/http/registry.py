"""The registry of a program's metrics, with those that every program has: process, Python and build."""

from __future__ import annotations

import platform
from importlib.metadata import version

from prometheus_client import CollectorRegistry, Gauge
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

from worker.core.manifest import FORMAT


def program_registry() -> CollectorRegistry:
    """Return a new registry with the metrics that every program has."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    build = Gauge(
        "nextclick_build_info",
        "Always 1; the labels are the versions of Nextclick, Python and kafka-python, and the format of "
        "releases that this version reads.",
        ["version", "python", "kafka_python", "release_format"],
        registry=registry,
    )
    build.labels(version("nextclick"), platform.python_version(), version("kafka-python"), FORMAT).set(1)
    return registry
