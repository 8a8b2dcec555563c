from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.worker.kafka.clusters import Cluster, cluster_in_memory, own_cluster, real_cluster


@pytest.fixture(params=["memory", pytest.param("real", marks=pytest.mark.broker)])
def cluster(request: pytest.FixtureRequest, unique: str) -> Iterator[Cluster]:
    """Every law is tried on the cluster in memory and on a real broker."""
    with ExitStack() as life:
        if request.param == "memory":
            yield cluster_in_memory(life, unique)
        else:
            yield real_cluster(request.getfixturevalue("kafka"), life, unique)


@pytest.fixture(params=["memory", pytest.param("real", marks=pytest.mark.broker)])
def stoppable(request: pytest.FixtureRequest, unique: str) -> Iterator[Cluster]:
    """The same, with a broker of the test's own, to be stopped."""
    with ExitStack() as life:
        if request.param == "memory":
            yield cluster_in_memory(life, unique)
        else:
            node = request.getfixturevalue("kafka_node")()
            yield own_cluster(node, life, unique)
