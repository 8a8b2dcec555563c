"""Who leads among trainers, and what one who leads no more can do; with the client alone."""

from __future__ import annotations

import time
from contextlib import ExitStack, closing

import pytest
from kafka.admin import KafkaAdminClient, MemberToRemove

from tests.broker.client import Client
from tests.builders import ITEMS, successor_release_parts
from tests.conftest import TopicFactory
from tests.waiting import eventually
from trainer.continuous.leader import STANDING_BY, Leader, Term
from worker.errors import CheckpointFailed, TopicError
from worker.kafka.connection import KafkaConnection
from worker.topics.releases import publish


def leader(kafka: str, releases: str) -> Leader:
    """One that is replaced as soon as the broker allows."""
    return Leader(KafkaConnection(kafka), releases=releases, session_timeout_ms=6_000)


def test_one_leads_and_the_next_takes_over(kafka: str, topics: TopicFactory) -> None:
    """Who comes later stands by until the one who leads is gone."""
    releases = topics("releases")
    with ExitStack() as life:
        first = life.enter_context(ExitStack())
        one = first.enter_context(leader(kafka, releases).standing())
        assert one.wait(30)
        other = life.enter_context(leader(kafka, releases).standing())
        eventually(lambda: other.state == STANDING_BY, what="the second to know that the first leads")
        assert one.leads
        assert other.wait(0) is None

        first.close()

        assert other.wait(30)


def test_who_was_thrown_out_publishes_nothing_whatever_it_believes(
    kafka: str, client: Client, topics: TopicFactory
) -> None:
    """The broker refuses the transaction of a term that is over, though this trainer did not hear of it."""
    releases, parts = topics("releases"), successor_release_parts(ITEMS)
    members = KafkaConnection(kafka).member(
        client_id="nextclick-test",
        topic=releases,
        group=f"{releases}.trainer",
        session_timeout_ms=30_000,
        heartbeat_interval_ms=29_000,
        static_member=None,
    )
    members.join(lambda _: None)
    try:
        deadline = time.monotonic() + 30
        while not members.assigned():
            members.poll(20)
            assert time.monotonic() < deadline
        term = Term(members)
        assert publish(KafkaConnection(kafka), releases, *parts, fence=term.metadata) == 1
        with closing(KafkaAdminClient(bootstrap_servers=kafka)) as admin:
            admin.remove_group_members(f"{releases}.trainer", [MemberToRemove(members.metadata.member_id)])

        with pytest.raises(CheckpointFailed, match="commit"):
            publish(KafkaConnection(kafka), releases, *parts, fence=term.metadata)

        assert not [one for one in client.read(releases) if (one.key or b"").startswith(b"release/0002")]
        assert client.committed(releases, f"{releases}.trainer") == {0: 0}
    finally:
        members.close(seconds=10)


def test_a_term_that_is_over_touches_nothing(kafka: str, client: Client, topics: TopicFactory) -> None:
    """It does not even take the transactional id from whoever publishes at the moment."""
    releases = topics("releases")
    with leader(kafka, releases).standing() as one:
        term = one.wait(30)
        assert term
        term.end()

        with pytest.raises(CheckpointFailed, match="another trainer leads now"):
            publish(KafkaConnection(kafka), releases, *successor_release_parts(ITEMS), fence=term.metadata)

        assert client.read(releases, isolation="read_uncommitted") == []


def test_without_the_topic_nobody_ever_leads(kafka: str, unique: str) -> None:
    """It is said, and not waited for."""
    with (
        leader(kafka, f"nowhere-{unique}").standing() as one,
        pytest.raises(TopicError, match="does not exist"),
    ):
        one.wait(30)
