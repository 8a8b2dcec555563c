"""Joining the consumer group, with the client alone."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from typing import Final

from kafka.admin import KafkaAdminClient, MemberToRemove

from tests.broker.client import Client, Record
from tests.broker.process import ROOT
from tests.conftest import TopicFactory
from worker.kafka.connection import KafkaConnection
from worker.kafka.interface import GroupMember

DIES_GIVING_UP: Final = """
import os, sys
from tests.broker.test_join import static_member

clicks = static_member(*sys.argv[1:], "a")
clicks.join(lambda _: os._exit(9))
while True:
    clicks.poll(20)
    print(sorted(clicks.assigned()), flush=True)
"""
"""A member that dies between giving partitions up and asking for the round in which others get them."""


def static_member(kafka: str, topic: str, group: str, name: str) -> GroupMember:
    """A static member that has not joined yet."""
    return KafkaConnection(kafka).member(
        client_id="nextclick-test",
        topic=topic,
        group=group,
        session_timeout_ms=30_000,
        heartbeat_interval_ms=1_000,
        static_member=name,
    )


@contextmanager
def joined(kafka: str, topic: str, group: str, name: str) -> Iterator[GroupMember]:
    """A static member, until the end of the context."""
    clicks = static_member(kafka, topic, group, name)
    clicks.join(lambda _: None)
    try:
        yield clicks
    finally:
        clicks.close(seconds=10)


def test_a_consumer_that_polls_briefly_is_assigned_its_partitions(
    kafka: str, topics: TopicFactory, unique: str
) -> None:
    """Even where it joins before it knows the topic, joins again for that, and no poll waits so long.

    Often, not always, a new topic is joined so: hence several.
    """
    for number in range(10):
        clicks = KafkaConnection(kafka).member(
            client_id="nextclick-test",
            topic=topics(f"clicks-{number}", partitions=4),
            group=f"group-{number}-{unique}",
            session_timeout_ms=10_000,
            heartbeat_interval_ms=1_000,
            static_member=None,
        )
        clicks.join(lambda _: None)

        try:
            _poll_until(clicks, lambda clicks: clicks.assigned() == {0, 1, 2, 3})
        finally:
            clicks.close(seconds=10)


def test_a_member_that_learns_while_it_joins_that_it_was_thrown_out_has_lost_its_partitions(
    kafka: str, topics: TopicFactory, unique: str
) -> None:
    """Others may have had them meanwhile, even where the group gives the same ones back."""
    clicks = KafkaConnection(kafka).member(
        client_id="nextclick-test",
        topic=topics("clicks", partitions=2),
        group=f"group-{unique}",
        session_timeout_ms=10_000,
        heartbeat_interval_ms=9_000,
        static_member=None,
    )
    clicks.join(lambda _: None)
    try:
        _poll_until(clicks, lambda clicks: clicks.assigned() == {0, 1})
        with closing(KafkaAdminClient(bootstrap_servers=kafka)) as admin:
            admin.remove_group_members(f"group-{unique}", [MemberToRemove(clicks.metadata.member_id)])
        clicks._client._coordinator.request_rejoin()
        _poll_until(clicks, lambda clicks: clicks.lost)

        assert clicks.take_lost() == {0, 1}

        _poll_until(clicks, lambda clicks: clicks.assigned() == {0, 1})

        assert not clicks.lost
    finally:
        clicks.close(seconds=10)


def test_a_partition_that_was_held_is_read_again_where_another_is_read_meanwhile(
    kafka: str, topics: TopicFactory, unique: str
) -> None:
    """What the client had fetched of it before is neither given nor waited for."""
    topic = topics("clicks", partitions=2)
    client = Client(kafka)
    client.send(topic, [Record(b"{}", partition=number % 2) for number in range(20)])
    clicks = KafkaConnection(kafka).member(
        client_id="nextclick-test",
        topic=topic,
        group=f"group-{unique}",
        session_timeout_ms=10_000,
        heartbeat_interval_ms=1_000,
        static_member=None,
    )
    clicks.join(lambda _: None)
    try:
        _poll_until(clicks, lambda clicks: clicks.assigned() == {0, 1})
        clicks.begin(0, 0)
        clicks.begin(1, 0)
        held = _poll_until_read(clicks, {0, 1})
        clicks.hold({held})
        _poll_until_read(clicks, {1 - held})
        clicks.begin(held, 0)

        assert _poll_until_read(clicks, {held}) == held
    finally:
        clicks.close(seconds=10)


def test_what_a_static_member_gave_up_before_it_was_replaced_is_given_out(
    kafka: str, topics: TopicFactory, unique: str
) -> None:
    """Who replaces it joins without a round, and nobody else asks for one: it stayed without an owner."""
    place = (kafka, topics("clicks", partitions=4), f"group-{unique}")
    words = [sys.executable, "-c", DIES_GIVING_UP, *place]
    with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, text=True) as first, ExitStack() as stack:
        stack.callback(first.kill)
        b = stack.enter_context(joined(*place, "b"))
        assert first.stdout
        assert any(line == "[0, 1, 2, 3]\n" for line in first.stdout)
        _poll_until(b, lambda _: first.poll() is not None)
        assert first.returncode == 9
        a = stack.enter_context(joined(*place, "a"))
        _poll_until(a, lambda _: b.poll(20) == [] and a.assigned() | b.assigned() == {0, 1, 2, 3})


def _poll_until_read(clicks: GroupMember, partitions: set[int]) -> int:
    """The first of `partitions` of which a record came; no more than one is taken at a time."""
    deadline = time.monotonic() + 30
    while True:
        for record in clicks.poll(20, at_most=1):
            if record.partition in partitions:
                return int(record.partition)

        assert time.monotonic() < deadline


def _poll_until(clicks: GroupMember, holds: Callable[[GroupMember], bool]) -> None:
    deadline = time.monotonic() + 30
    while not holds(clicks):
        clicks.poll(20)

        assert time.monotonic() < deadline
