"""A Kafka cluster of three nodes on this machine, as a context manager.

For tests: every record has three replicas, and a write is acknowledged when at least two of them have it. So
the cluster works while one node is away, and loses nothing that it acknowledged.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

from deploy.java import Unavailable
from deploy.kafka.local import LocalKafka, cluster_id
from deploy.kafka.ports import HOST, brokers, free_port
from deploy.server import START_SECONDS, Started

NODES: Final = 3

# The topics of the groups' offsets and of the transactions are replicated like all others: a cluster that
# loses one node must not forget what was committed.
PROPERTIES: Final = {
    "default.replication.factor": "3",
    "min.insync.replicas": "2",
    "offsets.topic.replication.factor": "3",
    "transaction.state.log.replication.factor": "3",
    "transaction.state.log.min.isr": "2",
}

JAVA_OPTIONS: Final = ("-Xmx256m", "-XX:TieredStopAtLevel=1")
"""Small heaps and only one compiler, because three nodes share a machine and run only for minutes."""


SECOND: Final = "second"
"""The name of a node's second folder for data. The first has the cluster's metadata, too."""


class Node(LocalKafka):
    """A node of a cluster. Its folder goes with the program that started it."""

    def __init__(self, number: int, folder: Path, *, port: int, **arguments: Any) -> None:
        super().__init__(folder=folder, port=port, **arguments)
        self.number = number
        self._keep_folder = False


class LocalCluster(Started):
    """Three nodes, each broker and controller (KRaft). `properties` override the defaults of all nodes.

    Each node has two folders for its data, of which one can fail without the other. Leaving the context stops
    the nodes and removes their data.
    """

    def __init__(
        self, *, java_options: Sequence[str] = JAVA_OPTIONS, properties: Mapping[str, str] | None = None
    ) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="nextclick-cluster-"))
        controllers = [free_port() for _ in range(NODES)]
        voters = ",".join(f"{number}@{HOST}:{port}" for number, port in enumerate(controllers, 1))
        shared = {**PROPERTIES, "controller.quorum.voters": voters, **(properties or {})}
        cluster = cluster_id()
        self.nodes = [
            self._node(number, controller, cluster, java_options, shared)
            for number, controller in enumerate(controllers, 1)
        ]

    @property
    def bootstrap(self) -> str:
        """The `host:port` of all nodes, separated by commas."""
        return ",".join(node.bootstrap for node in self.nodes)

    def start(self) -> None:
        """Start all nodes, and wait until each of them knows all. Raises Unavailable."""
        self._each(LocalKafka.start)
        self.wait_until_whole()

    def wait_until_whole(self) -> None:
        """Wait until every node knows all nodes. Raises Unavailable."""
        ports = {node.port for node in self.nodes}
        deadline = time.monotonic() + START_SECONDS
        while not all(brokers(port) == ports for port in ports):
            if time.monotonic() > deadline:
                raise Unavailable(f"after {START_SECONDS:.0f} s, not all nodes at {self.bootstrap} know all")
            time.sleep(0.05)

    def close(self) -> None:
        """Stop the nodes that run, and remove their data."""
        self._each(LocalKafka.kill)  # a clean stop takes seconds, and nobody reads this data again
        shutil.rmtree(self.folder, ignore_errors=True)

    def _each(self, act: Callable[[LocalKafka], None]) -> None:
        """Do something to all nodes at once: none is ready before the others are."""
        with ThreadPoolExecutor(NODES) as pool:
            done: Iterable[None] = pool.map(act, self.nodes)
            list(done)

    def _node(
        self,
        number: int,
        controller: int,
        cluster: str,
        java_options: Sequence[str],
        shared: Mapping[str, str],
    ) -> Node:
        port, folder = free_port(), self.folder / f"node-{number}"
        return Node(
            number,
            folder,
            port=port,
            java_options=java_options,
            cluster=cluster,
            properties={
                "node.id": str(number),
                "listeners": f"PLAINTEXT://{HOST}:{port},CONTROLLER://{HOST}:{controller}",
                "log.dirs": f"{folder / 'data'},{folder / SECOND}",
                "metadata.log.dir": str(folder / "data"),
                **shared,
            },
        )
