"""A Kafka cluster in this process, for tests: no broker, no Java, no waiting.

    cluster = MemoryCluster()
    cluster.create("clicks", partitions=4)
    connection = cluster.connect()          # as worker.kafka.interface.Connection
    cluster.produce("clicks", b"...", key=b"a")

Time stands still until `cluster.advance(seconds)`. `tests/worker/kafka` holds it to what a real broker does.
"""

from worker.kafka.memory.broker import Crashed
from worker.kafka.memory.cluster import MemoryCluster
from worker.kafka.memory.connection import MemoryConnection
from worker.kafka.memory.log import MemoryRecord, PartitionLog
from worker.kafka.memory.member import MemoryGroupMember

__all__ = [
    "Crashed",
    "MemoryCluster",
    "MemoryConnection",
    "MemoryGroupMember",
    "MemoryRecord",
    "PartitionLog",
]
