"""What every program exports."""

from __future__ import annotations

import platform
from importlib.metadata import version

from prometheus_client import generate_latest

from worker.core.manifest import FORMAT
from worker.http.registry import program_registry


def test_the_build_is_exported() -> None:
    """As labels of a metric that is always 1."""
    labels = {
        "version": version("nextclick"),
        "python": platform.python_version(),
        "kafka_python": version("kafka-python"),
        "release_format": str(FORMAT),
    }

    assert program_registry().get_sample_value("nextclick_build_info", labels) == 1


def test_process_and_garbage_collection_are_exported() -> None:
    """As by the default registry of the library."""
    text = generate_latest(program_registry()).decode()

    for name in (
        "process_cpu_seconds_total",
        "process_open_fds",
        "python_gc_collections_total",
        "python_info",
    ):
        assert f"\n{name}" in text
