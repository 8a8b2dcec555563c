"""Topics and groups as the broker describes them, over kafka-python's client for administration."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from typing import Any, Final

from kafka.admin import KafkaAdminClient
from kafka.admin._configs import ConfigResource, ConfigResourceType
from kafka.errors import CoordinatorNotAvailableError, TopicAlreadyExistsError
from kafka.protocol.metadata import MetadataRequest

from worker.errors import NextclickError, NotAllowed
from worker.kafka.client import Endpoint
from worker.kafka.interface import Member, TopicInfo

_COORDINATOR_TRIES: Final = 25

_NOT_VISIBLE: Final = 29
"""Kafka's error code TOPIC_AUTHORIZATION_FAILED."""


class KafkaAdmin:
    """As `worker.kafka.interface.Admin`. Raises KafkaAway, NotAllowed, TopicError."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        with endpoint.errors("connect"):
            self._client: KafkaAdminClient = endpoint.admin_client()

    def close(self) -> None:
        """Drop the connection."""
        self._client.close()

    def describe(self, topics: Collection[str]) -> dict[str, TopicInfo]:
        """Return each topic as it is, those too that do not exist."""
        with self._endpoint.errors("describe topics"):
            return {one["name"]: _topic(one) for one in self._client.describe_topics(list(topics))}

    def create(self, topic: str, *, partitions: int, replication: int, settings: Mapping[str, str]) -> bool:
        """Create a topic; return False if another client just did."""
        plan = {"num_partitions": partitions, "replication_factor": replication, "configs": dict(settings)}
        with self._endpoint.errors(f"create topic {topic}"):
            try:
                self._client.create_topics({topic: plan})
            except TopicAlreadyExistsError:
                return False
        return True

    def add_partitions(self, topic: str, *, total: int) -> None:
        """Add partitions to a topic, up to `total`."""
        with self._endpoint.errors(f"create topic {topic}"):
            self._client.create_partitions({topic: total})

    def everywhere(self, topics: Collection[str]) -> list[dict[str, TopicInfo]]:
        """Return each topic as every broker of the cluster knows it at the moment."""
        with self._endpoint.errors("describe topics"):
            brokers = [broker["broker_id"] for broker in self._client.describe_cluster()["brokers"]]
            return [self._known_by(broker, topics) for broker in brokers]

    def _known_by(self, broker: int, topics: Collection[str]) -> dict[str, TopicInfo]:
        """Ask one broker. `describe_topics` of kafka-python 3.0.12 asks any."""
        manager = self._client._manager  # noqa: SLF001  # there is no public way
        request = MetadataRequest(
            topics=[MetadataRequest.MetadataRequestTopic(name=topic) for topic in topics],
            allow_auto_topic_creation=False,
            include_cluster_authorized_operations=False,
            include_topic_authorized_operations=False,
        )

        async def answer() -> Any:
            return await manager.send(request, node_id=broker)

        return {one["name"]: _topic(one) for one in manager.run(answer).to_dict()["topics"]}

    def settings(self, topic: str) -> Mapping[str, str]:
        """Return the settings of a topic, defaults too."""
        resource = ConfigResource(ConfigResourceType.TOPIC, topic)
        with self._endpoint.errors(f"read the settings of topic {topic}"):
            found = self._client.describe_configs([resource], config_filter="all")["topic"][topic]
        return {name: one["value"] for name, one in found.items()}

    def members(self, group: str, *, topic: str) -> list[Member]:
        """Return who is in a consumer group, and which partitions of `topic` each has."""
        with self._endpoint.errors(f"describe the consumer group {group}"):
            described = self._described_group(group)[group]
        if "members" not in described:
            raise NextclickError(f"the members of group {group}: this broker's answer cannot be read")
        return [_member(member, topic) for member in described["members"]]

    def group_rights(self, group: str) -> frozenset[str] | None:
        """Return what we may do with a group; None if the broker does not say. Raises NotAllowed."""
        with self._endpoint.errors(f"describe the consumer group {group}"):
            described = self._described_group(group)[group]
        # A group that does not exist yet is an "error" too, and none.
        if "Authorization" in str(described.get("error")):
            raise NotAllowed(f"group {group}: {described['error']}")
        return _rights(described)

    def _described_group(self, group: str) -> dict[str, Any]:
        for _ in range(_COORDINATOR_TRIES):
            try:
                return self._client.describe_groups([group], include_authorized_operations=True)
            except CoordinatorNotAvailableError:
                # A new cluster makes the topic of the groups' offsets when it is first asked for.
                time.sleep(0.2)
            except ValueError:
                # The client has no name for one of the rights: newer brokers and compatible ones send such.
                return {group: {}}
        return self._client.describe_groups([group], include_authorized_operations=True)


def _topic(described: Mapping[str, Any]) -> TopicInfo:
    partitions = described["partitions"]
    return TopicInfo(
        len(partitions),
        visible=described["error_code"] != _NOT_VISIBLE,
        rights=_rights(described),
        # Absent, or null, before version 10 of the answer (Kafka 2.8).
        id=str(described.get("topic_id") or ""),
        led=all(one["leader_id"] >= 0 and not one["error_code"] for one in partitions),
    )


def _rights(described: Mapping[str, Any]) -> frozenset[str] | None:
    granted = described.get("authorized_operations")
    return frozenset(getattr(right, "name", str(right)) for right in granted) if granted else None


def _member(member: dict[str, Any], topic: str) -> Member:
    # Bytes where the client cannot tell what they say.
    assignment = member.get("member_assignment")
    assigned = assignment.get("assigned_partitions", ()) if isinstance(assignment, dict) else ()
    return Member(
        client_id=member["client_id"],
        host=member["client_host"],
        member_id=member["member_id"],
        partitions=frozenset(
            number for at in assigned if at["topic"] == topic for number in at["partitions"]
        ),
    )
