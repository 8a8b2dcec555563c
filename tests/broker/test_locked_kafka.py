"""The locked-down Kafka that the tests of security rely on: who one is, and that nobody may do anything."""

from __future__ import annotations

import pytest
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import KafkaException

from deploy.kafka.security import Access
from tests.broker.rights import Acl, Rights
from tests.conftest import create_topic
from worker.settings.kafka import Kafka


def ways(access: Access) -> dict[str, dict[str, str]]:
    """The settings of one user for each way to authenticate."""
    return {
        "scram": access.scram("stranger"),
        "plain": access.plain("stranger"),
        "mutual": access.mutual("stranger"),
    }


@pytest.mark.parametrize("way", ["scram", "plain", "mutual"])
def test_a_user_sees_what_an_acl_allows_and_nothing_else(locked_kafka: Access, unique: str, way: str) -> None:
    """Whatever way the user authenticates, the principal is the user's name."""
    shown, hidden = f"shown-{way}-{unique}", f"hidden-{way}-{unique}"
    admin = AdminClient({"bootstrap.servers": locked_kafka.bootstrap, "log_level": 0})
    for topic in (shown, hidden):
        create_topic(admin, topic, 1, {})
    Rights(locked_kafka.bootstrap).grant("stranger", [Acl("topic", shown, ("DESCRIBE",))])

    subject = Kafka.model_validate(ways(locked_kafka)[way]).connection().admin()
    found = subject.describe([shown, hidden])
    subject.close()

    assert {topic: one.visible for topic, one in found.items()} == {shown: True, hidden: False}


def test_a_client_without_a_certificate_is_nobody(locked_kafka: Access) -> None:
    """The listener for certificates takes no other clients."""
    client = AdminClient(
        {
            "bootstrap.servers": locked_kafka.listeners["MUTUAL"],
            "security.protocol": "SSL",
            "ssl.ca.location": str(locked_kafka.ca_file),
            "log_level": 0,
        }
    )

    with pytest.raises(KafkaException):
        client.list_topics(timeout=3)
