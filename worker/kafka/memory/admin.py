"""The admin client of the in-memory cluster."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager

from kafka import errors as kafka_errors

from worker.kafka.client import Endpoint
from worker.kafka.interface import Member, TopicInfo
from worker.kafka.memory.broker import Broker, Process


class MemoryAdmin:
    """Implements `worker.kafka.interface.Admin`."""

    def __init__(self, process: Process, endpoint: Endpoint) -> None:
        self._process = process
        self._endpoint = endpoint
        with self._asking("connect"):
            pass

    def describe(self, topics: Collection[str]) -> dict[str, TopicInfo]:
        """Return a description of each topic, including topics that do not exist."""
        with self._asking("describe topics") as broker:
            return {topic: self._described(broker, topic) for topic in topics}

    def topics(self) -> list[str]:
        """Return the names of all topics that this client may see."""
        rights = self._process.rights
        with self._asking("list topics") as broker:
            return sorted(name for name in broker.topics if rights.allows("topic", name, "DESCRIBE"))

    def create(self, topic: str, *, partitions: int, replication: int, settings: Mapping[str, str]) -> bool:
        """Create a topic; return False if the topic already exists."""
        with self._asking(f"create topic {topic}") as broker:
            self._process.rights.require("topic", topic, "CREATE")
            try:
                broker.create(topic, partitions, settings)
            except kafka_errors.TopicAlreadyExistsError:
                return False
            return True

    def add_partitions(self, topic: str, *, total: int) -> None:
        """Increase the number of partitions of a topic to `total`."""
        with self._asking(f"add partitions to topic {topic}") as broker:
            self._process.rights.require("topic", topic, "ALTER")
            broker.add_partitions(topic, total)

    def everywhere(self, topics: Collection[str]) -> list[dict[str, TopicInfo]]:
        """Return the only broker's description of the topics, as a list of one mapping."""
        return [self.describe(topics)]

    def settings(self, topic: str) -> Mapping[str, str]:
        """Return the configuration of an existing topic, including defaults."""
        with self._asking(f"read the settings of topic {topic}") as broker:
            self._process.rights.require("topic", topic, "DESCRIBE_CONFIGS")
            return dict(broker.topics[topic].settings)

    def members(self, group: str, *, topic: str) -> list[Member]:
        """Return the members of a consumer group with their partitions of `topic`.

        During a rebalance, the partitions of all members are unknown, and returned as empty sets.
        """
        with self._asking(f"describe the consumer group {group}") as broker:
            self._process.rights.require("group", group, "DESCRIBE")
            found = broker.group(group)
            knows = not found.rebalancing
            return [
                Member(
                    client_id=one.client_id,
                    host="memory",
                    member_id=one.member_id,
                    partitions=one.assigned if knows and one.topic == topic else frozenset(),
                    address=one.address,
                )
                for one in found.members.values()
            ]

    def group_rights(self, group: str) -> frozenset[str] | None:
        """Return the operations allowed on a group; None if the group has never had members."""
        with self._asking(f"describe the consumer group {group}") as broker:
            self._process.rights.require("group", group, "DESCRIBE")
            return self._process.rights.of("group", group) if broker.group(group).generation else None

    def close(self) -> None:
        """Close the connection."""

    def _described(self, broker: Broker, topic: str) -> TopicInfo:
        rights = self._process.rights
        if not rights.allows("topic", topic, "DESCRIBE"):
            return TopicInfo(0, visible=False)
        return TopicInfo(
            broker.partitions(topic),
            rights=rights.of("topic", topic),
            id=broker.topic_id(topic),
            led=broker.led(topic),
        )

    @contextmanager
    def _asking(self, doing: str) -> Iterator[Broker]:
        with self._process.broker.lock, self._endpoint.errors(doing):
            broker = self._process.live()
            broker.reach()
            yield broker
