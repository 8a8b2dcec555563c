"""An in-process Kafka cluster for tests: no broker, no Java, no waiting.

    cluster = MemoryCluster()
    cluster.create("clicks", partitions=4)
    connection = cluster.connect()          # implements worker.kafka.interface.Connection
    cluster.produce("clicks", b"...", key=b"a")

Time advances only by `cluster.advance(seconds)`. `tests/worker/kafka` checks that the cluster behaves like a
real broker.
"""

from worker.kafka.memory.broker import Crashed
from worker.kafka.memory.cluster import MemoryCluster
from worker.kafka.memory.connection import MemoryConnection
from worker.kafka.memory.log import MemoryRecord, PartitionLog
from worker.kafka.memory.member import MemoryGroupMember
from worker.kafka.memory.rights import Right

__all__ = [
    "Crashed",
    "MemoryCluster",
    "MemoryConnection",
    "MemoryGroupMember",
    "MemoryRecord",
    "PartitionLog",
    "Right",
]
