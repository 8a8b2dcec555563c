"""A Kafka that is warm, and a stand that knows how fast clicks are read from it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from deploy.kafka.local import LocalKafka
from tests.benchmarks import throughput
from tests.benchmarks.stand import Stand
from tests.benchmarks.throughput import Load

LOAD: Final = Load(skipped_seconds=1, seconds=3)


@contextmanager
def warm_stand(
    items: int, properties: Mapping[str, str] | None = None, *, worker: Mapping[str, int] | None = None
) -> Iterator[Stand]:
    """Start a Kafka and keep it busy for a while: at first it compiles itself, at everyone else's cost.

    The load is the passthrough, faster than any worker: its speed is what later backlogs are sized by.
    `properties` are the broker's, `worker` the `[kafka]` settings of every worker.
    """
    with tempfile.TemporaryDirectory() as folder, LocalKafka(properties=properties) as kafka:
        stand = Stand(kafka.bootstrap, Path(folder), worker=worker or {})
        throughput.of_passthrough(stand, items, LOAD, at_once=True)
        yield stand
