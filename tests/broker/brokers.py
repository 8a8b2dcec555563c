"""What happens to the brokers of a cluster in a chaos round: one fault after the other, each to its end."""

from __future__ import annotations

import random
import resource
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from typing import Final, Self

from confluent_kafka.admin import AdminClient
from kafka.admin import KafkaAdminClient

from deploy.kafka.cluster import NODES, SECOND, LocalCluster, Node
from tests.broker.faults import Act, Fault, Outages, drawn
from tests.waiting import eventually

LEADER: Final = "leader"
"""The broker that leads partition 0 of the clicks when a fault begins."""

CONTROLLER: Final = "controller"
"""The node whose controller is the active one when a fault begins."""

TARGETS: Final = (LEADER, CONTROLLER, *(f"broker {number}" for number in range(1, NODES + 1)))

ALL: Final = "brokers"
"""The target of an act that concerns all brokers."""

OF_BROKERS: Final = {
    "restart": Fault(2, "stop", "start", 0.0, 2.0),
    "crash": Fault(3, "kill", "start", 0.0, 4.0),
    # Shorter and longer than the session of a broker: then others lead its partitions when it wakes.
    "pause": Fault(3, "freeze", "wake", 0.5, 7.0),
    "full": Fault(1, "fill", "start", 0.0, 2.0),
    "lost disk": Fault(1, "lose a disk of", "repair", 2.0, 5.0),
}
ROLLING: Final = Fault(1, "restart")

PROPERTIES: Final = {
    # A broker that is away is noticed soon. A busy one may lose its session, too: one fault more.
    "broker.session.timeout.ms": "3000",
    "broker.heartbeat.interval.ms": "500",
    "log.cleaner.backoff.ms": "500",
    # A lost disk is noticed by the next file that cannot be written.
    "replica.high.watermark.checkpoint.interval.ms": "500",
    "log.flush.offset.checkpoint.interval.ms": "500",
}

_END_SECONDS: Final = 30.0
"""How soon a broker must notice that it cannot write any more."""


def schedule_of_brokers(source: random.Random, *, seconds: float) -> list[Act]:
    """One to three faults of brokers, one after the other; in some rounds, all are restarted in turn."""
    acts: list[Act] = []
    at = source.uniform(0.05, 0.25) * seconds
    if source.random() < 0.15:
        return ROLLING.acts(source, at, ALL)
    for kind in drawn(source, OF_BROKERS, source.randint(1, 3)):
        acts += kind.acts(source, at, source.choice(TARGETS))
        at = acts[-1].at + source.uniform(0.5, 4.0)
    return acts


class ClusterSwitch:
    """Turns the brokers of a cluster off and on, beside the caller: one order after the other.

    `topic` is that of the clicks. A context manager: leaving it waits for what is under way, drops what is
    not, and brings back a broker that is away.
    """

    def __init__(self, cluster: LocalCluster, topic: str) -> None:
        self._cluster = cluster
        self._topic = topic
        self._hit: dict[str, tuple[Node, float]] = {}
        """By target: the broker that it stands for while its fault lasts, and when the round would have begun
        if this fault had come in time.
        """
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="brokers")
        self._orders: list[Future[None]] = []
        self.outages = Outages()
        self._do: dict[str, Callable[[Node], None]] = {
            "stop": Node.stop,
            "kill": Node.kill,
            "freeze": Node.suspend,
            "fill": fill,
            "lose a disk of": lose_disk,
            "start": Node.start,
            "wake": Node.resume,
            "repair": repair,
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._thread.shutdown(cancel_futures=True)
        if kind is not KeyboardInterrupt:
            mend(self._cluster)

    def do(self, act: Act) -> None:
        """Begin or end a fault of a broker, after what was ordered before.

        A fault that begins late ends as much later: it lasts as long as planned.
        """
        self._orders.append(self._thread.submit(self._act, act))

    @property
    def idle(self) -> bool:
        """Whether all orders have been done. Raises what went wrong."""
        return all(order.done() and order.result() is None for order in self._orders)

    def _act(self, act: Act) -> None:
        if act.target == ALL:
            self.outages.begin()
            self._roll()
            self.outages.end()
        elif act.what in ("start", "wake", "repair"):
            node, began = self._hit.pop(act.target)
            time.sleep(max(0.0, began + act.at - time.monotonic()))
            self._do[act.what](node)
            self._cluster.wait_until_whole()
            self.outages.end()
        else:
            self.outages.begin()
            node = self._found(act.target)
            self._do[act.what](node)
            self._hit[act.target] = node, time.monotonic() - act.at

    def _roll(self) -> None:
        """Restart the brokers in turn, as an operator does: the next one when the last one is back."""
        for node in self._cluster.nodes:
            node.restart()
            self._cluster.wait_until_whole()

    def _found(self, target: str) -> Node:
        """Return the broker that a target stands for at this moment."""
        if target == LEADER:
            return self._cluster.nodes[leader(self._cluster, self._topic) - 1]
        if target == CONTROLLER:
            return self._cluster.nodes[active_controller(self._cluster) - 1]
        return self._cluster.nodes[TARGETS.index(target) - TARGETS.index("broker 1")]


def leader(cluster: LocalCluster, topic: str) -> int:
    """Return the number of the broker that leads partition 0 of a topic."""
    admin = AdminClient({"bootstrap.servers": cluster.bootstrap, "log_level": 0})

    def found() -> int:
        return max(0, admin.list_topics(topic, timeout=30).topics[topic].partitions[0].leader)

    return eventually(found, what=f"a leader of {topic}")


def active_controller(cluster: LocalCluster) -> int:
    """Return the number of the node whose controller leads the metadata."""
    with closing(KafkaAdminClient(bootstrap_servers=cluster.bootstrap.split(","))) as admin:

        def found() -> int:
            quorum = admin.describe_metadata_quorum()
            return max(0, quorum["topics"][0]["partitions"][0]["leader_id"])

        return eventually(found, what="an active controller")


def fill(node: Node) -> None:
    """Let no file of a running broker grow, as on a full disk, until the broker ends by itself."""
    resource.prlimit(node.process.pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
    eventually(lambda: not node.running, _END_SECONDS, "a broker that cannot write to end")
    node.kill()  # the process is gone; this notes it


def lose_disk(node: Node) -> None:
    """Take away the second of a running broker's folders for data, and wait until the broker notices.

    A file is in its place.
    """
    second, before = node.folder / SECOND, len(node.log)
    second.rename(node.folder / "lost")
    second.touch()
    noticed = "Stopping serving logs in dir"
    eventually(lambda: noticed in node.log[before:], _END_SECONDS, "a broker to give its disk up")


def repair(node: Node) -> None:
    """Give back the folder, and restart the broker: it has given the folder up."""
    node.kill()
    second = node.folder / SECOND
    second.unlink()
    (node.folder / "lost").rename(second)
    node.start()


def mend(cluster: LocalCluster) -> None:
    """Bring back every broker that is away, frozen or without a disk."""
    for node in cluster.nodes:
        if (node.folder / "lost").exists():
            repair(node)
        elif node.running:
            node.resume()
        else:
            node.kill()
            node.start()
    cluster.wait_until_whole()
