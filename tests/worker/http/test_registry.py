from __future__ import annotations

import platform
from importlib.metadata import version

from worker.core.manifest import FORMAT
from worker.http.registry import program_registry


def test_a_program_exports_its_process_its_memory_and_its_versions() -> None:
    """Each in a registry of its own."""
    registry = program_registry()
    versions = {
        "version": version("nextclick"),
        "python": platform.python_version(),
        "kafka_python": version("kafka-python"),
        "release_format": str(FORMAT),
    }

    assert registry.get_sample_value("nextclick_build_info", versions) == 1
    assert (registry.get_sample_value("process_resident_memory_bytes") or 0) > 1e6
    assert registry.get_sample_value("python_gc_collections_total", {"generation": "2"}) is not None
    assert program_registry() is not registry
