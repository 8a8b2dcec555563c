"""The lines of a worker's log, with their times."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Final

import orjson

from tests.broker.process import WorkerProcess
from tests.waiting import eventually

JSON: Final = {"format": "json"}
"""The settings `[log]` under which a worker's log can be read here."""


def events(worker: WorkerProcess, event: str) -> list[Mapping[str, Any]]:
    """Return all lines with this `event`; under `at` the seconds since the epoch."""
    return [line for line in _lines(worker) if line.get("event") == event]


def recovered(worker: WorkerProcess, partitions: int, *, seconds: float) -> list[Mapping[str, Any]]:
    """Return the line of each partition once all are recovered. Raises AssertionError when that is late."""

    def all_of_them() -> list[Mapping[str, Any]]:
        assert worker.exit_code is None, f"the worker ended; its log:\n{worker.log}"
        found = events(worker, "partition recovered")
        return found if len(found) >= partitions else []

    return eventually(all_of_them, seconds, f"{partitions} partitions to be recovered")


def _lines(worker: WorkerProcess) -> Iterator[dict[str, Any]]:
    for line in worker.log.splitlines():
        try:
            document = orjson.loads(line)
        except orjson.JSONDecodeError:  # the last one may not be whole yet
            continue
        document["at"] = datetime.fromisoformat(document["timestamp"]).timestamp()
        yield document
