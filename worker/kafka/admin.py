"""Description and creation of topics, and description of groups, over kafka-python's admin client."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from typing import Any, Final

from kafka.admin import KafkaAdminClient
from kafka.admin._configs import ConfigResource, ConfigResourceType
from kafka.errors import (
    CoordinatorNotAvailableError,
    TopicAlreadyExistsError,
    TopicAuthorizationFailedError,
)
from kafka.protocol.metadata import MetadataRequest

from worker.errors import NextclickError, NotAllowed
from worker.kafka.client import Endpoint
from worker.kafka.interface import Member, TopicInfo

_COORDINATOR_TRIES: Final = 25

_NOT_VISIBLE: Final = 29
"""Kafka's error code TOPIC_AUTHORIZATION_FAILED."""


class KafkaAdmin:
    """Implements `worker.kafka.interface.Admin`. Raises KafkaAway, NotAllowed, TopicError."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        with endpoint.errors("connect"):
            self._client: KafkaAdminClient = endpoint.admin_client()

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def describe(self, topics: Collection[str]) -> dict[str, TopicInfo]:
        """Return a description of each topic, including topics that do not exist."""
        with self._endpoint.errors("describe topics"):
            return {one["name"]: _topic(one) for one in self._client.describe_topics(list(topics))}

    def topics(self) -> list[str]:
        """Return the names of all topics that this client may see."""
        with self._endpoint.errors("list topics"):
            return sorted(self._client.list_topics())

    def create(self, topic: str, *, partitions: int, replication: int, settings: Mapping[str, str]) -> bool:
        """Create a topic; return False if the topic already exists."""
        plan = {"num_partitions": partitions, "replication_factor": replication, "configs": dict(settings)}
        with self._endpoint.errors(f"create topic {topic}"):
            try:
                self._client.create_topics({topic: plan})
            except TopicAlreadyExistsError:
                return False
            except TopicAuthorizationFailedError:
                # The client's text has the whole request.
                raise TopicAuthorizationFailedError(topic) from None
        return True

    def add_partitions(self, topic: str, *, total: int) -> None:
        """Increase the number of partitions of a topic to `total`."""
        with self._endpoint.errors(f"add partitions to topic {topic}"):
            try:
                self._client.create_partitions({topic: total})
            except TopicAuthorizationFailedError:
                raise TopicAuthorizationFailedError(topic) from None

    def everywhere(self, topics: Collection[str]) -> list[dict[str, TopicInfo]]:
        """Return each broker's description of the topics: one mapping per broker, by topic."""
        with self._endpoint.errors("describe topics"):
            brokers = [broker["broker_id"] for broker in self._client.describe_cluster()["brokers"]]
            return [self._known_by(broker, topics) for broker in brokers]

    def _known_by(self, broker: int, topics: Collection[str]) -> dict[str, TopicInfo]:
        """Describe topics as known to one broker; kafka-python 3.0.12's `describe_topics` asks any broker."""
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
        """Return the configuration of a topic, including defaults."""
        resource, doing = (
            ConfigResource(ConfigResourceType.TOPIC, topic),
            f"read the settings of topic {topic}",
        )
        with self._endpoint.errors(doing):
            found = self._client.describe_configs([resource], config_filter="all")["topic"][topic]
            if not found:
                # kafka-python 3.0.12 ignores the error in the answer, which then has no settings.
                raise TopicAuthorizationFailedError(topic)
        return {name: one["value"] for name, one in found.items() if one["value"] is not None}

    def members(self, group: str, *, topic: str) -> list[Member]:
        """Return the members of a consumer group with their partitions of `topic`."""
        with self._endpoint.errors(f"describe the consumer group {group}"):
            described = self._described_group(group)[group]
        if "members" not in described:
            raise NextclickError(f"the members of group {group} are unknown: cannot read the broker's answer")
        return [_member(member, topic) for member in described["members"]]

    def group_rights(self, group: str) -> frozenset[str] | None:
        """Return the operations allowed on a group; None if the broker does not report them.

        Raises NotAllowed.
        """
        with self._endpoint.errors(f"describe the consumer group {group}"):
            described = self._described_group(group)[group]
        # Only an authorization error matters: a group that does not exist yet is also reported as an "error".
        if "Authorization" in str(described.get("error")):
            raise NotAllowed(f"group {group}: {described['error']}")
        return _rights(described)

    def _described_group(self, group: str) -> dict[str, Any]:
        for _ in range(_COORDINATOR_TRIES):
            try:
                return self._client.describe_groups([group], include_authorized_operations=True)
            except CoordinatorNotAvailableError:
                # A new cluster creates the topic for group offsets on first use, which takes a moment.
                time.sleep(0.2)
            except ValueError:
                # Newer or compatible brokers may send an operation that the client does not know.
                return {group: {}}
        return self._client.describe_groups([group], include_authorized_operations=True)


def _topic(described: Mapping[str, Any]) -> TopicInfo:
    partitions = described["partitions"]
    return TopicInfo(
        len(partitions),
        visible=described["error_code"] != _NOT_VISIBLE,
        rights=_rights(described),
        # Absent or null before version 10 of the response (Kafka 2.8).
        id=str(described.get("topic_id") or ""),
        led=all(one["leader_id"] >= 0 and not one["error_code"] for one in partitions),
    )


def _rights(described: Mapping[str, Any]) -> frozenset[str] | None:
    granted = described.get("authorized_operations")
    return frozenset(getattr(right, "name", str(right)) for right in granted) if granted else None


def _member(member: dict[str, Any], topic: str) -> Member:
    # Raw bytes if the client cannot decode the assignment.
    assignment = member.get("member_assignment")
    assigned = assignment.get("assigned_partitions", ()) if isinstance(assignment, dict) else ()
    return Member(
        client_id=member["client_id"],
        host=member["client_host"],
        member_id=member["member_id"],
        partitions=frozenset(
            number for at in assigned if at["topic"] == topic for number in at["partitions"]
        ),
        address=_address(member.get("member_metadata")),
    )


def _address(metadata: Any) -> str:
    """Return the address in a member's data; other programs may have anything there."""
    said = metadata.get("user_data") if isinstance(metadata, dict) else None
    # The client decodes bytes that are text.
    said = said.decode(errors="replace") if isinstance(said, bytes) else said
    return said.strip() if isinstance(said, str) else ""
