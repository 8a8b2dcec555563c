from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.worker.kafka.clusters import Cluster, cluster_in_memory, real_cluster


@pytest.fixture(params=["memory", "real"])
def cluster(request: pytest.FixtureRequest, unique: str) -> Iterator[Cluster]:
    """Every law is tried on the cluster in memory and on a real broker."""
    with ExitStack() as life:
        if request.param == "memory":
            yield cluster_in_memory(life, unique)
        else:
            yield real_cluster(request.getfixturevalue("kafka"), life, unique)
