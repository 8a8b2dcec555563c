"""The real broker refuses a trainer that leads no more; all else of leading is tested at a desk."""

from __future__ import annotations

import time
from contextlib import closing

import pytest
from kafka.admin import KafkaAdminClient, MemberToRemove

from tests.broker.client import Client
from tests.builders import ITEMS, successor_release_parts
from tests.conftest import TopicFactory
from trainer.continuous.leader import Lease
from worker.errors import CheckpointFailed
from worker.kafka.connection import KafkaConnection
from worker.topics.releases import publish


def test_a_trainer_that_was_thrown_out_publishes_nothing(
    kafka: str, client: Client, topics: TopicFactory
) -> None:
    """The broker refuses its transaction, though this trainer did not hear that its lease is over."""
    releases, parts = topics("releases"), successor_release_parts(ITEMS)
    member = KafkaConnection(kafka).member(
        client_id="nextclick-test",
        topic=releases,
        group=f"{releases}.trainer",
        session_timeout_ms=30_000,
        heartbeat_interval_ms=29_000,
        static_member=None,
    )
    member.join(lambda _: None)
    try:
        deadline = time.monotonic() + 30
        while not member.assigned():
            member.poll(20)
            assert time.monotonic() < deadline
        lease = Lease(member)
        assert publish(KafkaConnection(kafka), releases, *parts, fence=lease.metadata) == 1
        with closing(KafkaAdminClient(bootstrap_servers=kafka)) as admin:
            admin.remove_group_members(f"{releases}.trainer", [MemberToRemove(member.metadata.member_id)])

        with pytest.raises(CheckpointFailed, match="commit"):
            publish(KafkaConnection(kafka), releases, *parts, fence=lease.metadata)

        assert not [one for one in client.read(releases) if (one.key or b"").startswith(b"release/0002")]
        assert client.committed(releases, f"{releases}.trainer") == {0: 0}
    finally:
        member.close(seconds=10)
