"""Administration of a cluster in memory."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from kafka import errors as kafka_errors

from worker.kafka.client import Endpoint
from worker.kafka.interface import Member, TopicInfo
from worker.kafka.memory.broker import Broker, Process

_TOPIC_RIGHTS: Final = frozenset(
    ("ALTER", "ALTER_CONFIGS", "CREATE", "DELETE", "DESCRIBE", "DESCRIBE_CONFIGS", "READ", "WRITE")
)
_GROUP_RIGHTS: Final = frozenset(("DELETE", "DESCRIBE", "READ"))


class MemoryAdmin:
    """As `worker.kafka.interface.Admin`. Everything is allowed, as on a broker without an authorizer."""

    def __init__(self, process: Process, endpoint: Endpoint) -> None:
        self._process = process
        self._endpoint = endpoint
        with self._asking("connect"):
            pass

    def describe(self, topics: Collection[str]) -> dict[str, TopicInfo]:
        """Return each topic as it is, those too that do not exist."""
        with self._asking("describe topics") as broker:
            return {
                topic: TopicInfo(
                    broker.partitions(topic),
                    rights=_TOPIC_RIGHTS,
                    id=broker.topic_id(topic),
                    led=broker.led(topic),
                )
                for topic in topics
            }

    def create(self, topic: str, *, partitions: int, replication: int, settings: Mapping[str, str]) -> bool:
        """Create a topic; return False if another client just did."""
        with self._asking(f"create topic {topic}") as broker:
            try:
                broker.create(topic, partitions, settings)
            except kafka_errors.TopicAlreadyExistsError:
                return False
            return True

    def add_partitions(self, topic: str, *, total: int) -> None:
        """Add partitions to a topic, up to `total`."""
        with self._asking(f"create topic {topic}") as broker:
            broker.add_partitions(topic, total)

    def everywhere(self, topics: Collection[str]) -> list[dict[str, TopicInfo]]:
        """Return each topic as every broker of the cluster knows it: here there is one."""
        return [self.describe(topics)]

    def settings(self, topic: str) -> Mapping[str, str]:
        """Return the settings of a topic, defaults too."""
        with self._asking(f"read the settings of topic {topic}") as broker:
            return dict(broker.topics[topic].settings) if topic in broker.topics else {}

    def members(self, group: str, *, topic: str) -> list[Member]:
        """Return who is in a consumer group, and which partitions of `topic` each has.

        No partitions during a rebalance: then the group does not know.
        """
        with self._asking(f"describe the consumer group {group}") as broker:
            found = broker.group(group)
            knows = not found.rebalancing
            return [
                Member(
                    client_id=one.client_id,
                    host="memory",
                    member_id=one.member_id,
                    partitions=one.assigned if knows and one.topic == topic else frozenset(),
                )
                for one in found.members.values()
            ]

    def group_rights(self, group: str) -> frozenset[str] | None:
        """Return what we may do with a group; None if it has never had members."""
        with self._asking(f"describe the consumer group {group}") as broker:
            return _GROUP_RIGHTS if broker.group(group).generation else None

    def close(self) -> None:
        """Drop the connection."""

    @contextmanager
    def _asking(self, doing: str) -> Iterator[Broker]:
        with self._process.broker.lock, self._endpoint.errors(doing):
            broker = self._process.live()
            broker.reach()
            yield broker
