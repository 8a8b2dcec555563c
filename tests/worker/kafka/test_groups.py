"""Laws of consumer groups, on the cluster in memory and on a real broker."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from contextlib import closing
from threading import Timer

import pytest

from tests.worker.kafka.clusters import SESSION_SECONDS, Cluster
from worker.errors import CheckpointFailed
from worker.kafka import group
from worker.kafka.interface import Backlog, GroupMember, TopicPartition, Transactions


def _evenly(partitions: int) -> Callable[[list[set[int]]], bool]:
    """Return whether all partitions are given out, each once, and evenly."""

    def shares(assigned: list[set[int]]) -> bool:
        sizes = [len(one) for one in assigned]
        return sum(sizes) == partitions == len(set().union(*assigned)) and max(sizes) - min(sizes) <= 1

    return shares


def test_a_member_alone_has_everything_and_reads_nothing_before_it_says_from_where(cluster: Cluster) -> None:
    """Its states must be there first."""
    topic = cluster.topic(partitions=2)
    cluster.produce(topic, b"0", b"1", b"2")
    member = cluster.member(topic)

    assert not member.joined

    cluster.assigned(member, shares=_evenly(2))

    assert [member.poll(cluster.poll_ms) for _ in range(3)] == [[], [], []]
    assert member.position(0) == 0

    member.begin(0, 1)

    assert [record.value for record in cluster.poll_until(member, 2)] == [b"1", b"2"]
    assert member.position(0) == 3


def test_a_member_reads_committed_records_alone(cluster: Cluster) -> None:
    """Its lag is counted up to the last stable offset."""
    topic = cluster.topic()
    cluster.produce(topic, b"0")
    producer = cluster.producer()
    producer.send(topic, 0, key=None, value=b"open")
    free = cluster.reader(committed=False)
    at = TopicPartition(topic, 0)
    cluster.until(lambda: free.ends([at]) == {at: 2}, what="the record that is not committed")
    member = cluster.member(topic)
    cluster.assigned(member, shares=_evenly(1))

    member.begin(0, 0)

    assert member.backlogs() == {0: Backlog(records=1, end=1)}
    assert [record.value for record in cluster.poll_until(member, 1)] == [b"0"]
    assert cluster.unread(member) == {0: 0}

    producer.commit(topic, {}, "", seconds=10)

    assert [record.value for record in cluster.poll_until(member, 1)] == [b"open"]


def test_the_lag_is_known_of_what_is_read(cluster: Cluster) -> None:
    """Held, a partition has no position; and what was deleted before it was read is not behind."""
    topic = cluster.topic(partitions=2)
    for number in range(2):
        cluster.produce(topic, *[b"x"] * 20, partition=number)
    member = cluster.member(topic)
    cluster.assigned(member, shares=_evenly(2))

    assert cluster.unread(member) == {}

    member.begin(1, 5)
    assert cluster.unread(member) == {1: 15}

    member.hold({1})
    cluster.delete_before(topic, 7)
    member.begin(0, 3)
    assert cluster.unread(member) == {0: 13}

    cluster.poll_until(member, 13)
    assert cluster.unread(member) == {0: 0}


def test_what_is_held_is_not_read_before_it_is_begun_again(cluster: Cluster) -> None:
    """From where it is said: again from the same records, if need be."""
    topic = cluster.topic(partitions=2)
    for number in (0, 1):
        cluster.produce(topic, b"a", b"b", partition=number)
    member = cluster.member(topic)
    cluster.assigned(member, shares=_evenly(2))
    for number in (0, 1):
        member.begin(number, 0)
    cluster.poll_until(member, 4)
    member.hold({0})
    cluster.produce(topic, b"c", partition=0)
    cluster.produce(topic, b"c", partition=1)

    assert [(r.partition, r.offset) for r in cluster.poll_until(member, 1)] == [(1, 2)]

    member.begin(0, 1)

    assert [(r.partition, r.offset) for r in cluster.poll_until(member, 2)] == [(0, 1), (0, 2)]


def test_a_poll_of_a_member_brings_no_more_than_it_may(cluster: Cluster) -> None:
    """The rest comes with the next, in order."""
    topic = cluster.topic()
    cluster.produce(topic, *(b"%d" % number for number in range(5)))
    member = cluster.member(topic)
    cluster.assigned(member, shares=_evenly(1))
    member.begin(0, 0)
    offsets: list[int] = []

    def all_came() -> bool:
        records = member.poll(cluster.poll_ms, 2)
        offsets.extend(record.offset for record in records)

        assert len(records) <= 2

        return len(offsets) == 5

    cluster.until(all_came, what="all records")

    assert offsets == list(range(5))


class _Owner:
    """A member that commits what is pending when partitions are revoked, as the worker does."""

    def __init__(self, cluster: Cluster, topic: str, name: str) -> None:
        self.producer: Transactions = cluster.producer(name)
        self.revoked: list[set[int]] = []
        self.kept: list[set[int]] = []
        self.member: GroupMember = cluster.member(topic, name=name, on_revoked=self._on_revoked)

    def _on_revoked(self, partitions: Collection[int]) -> None:
        self.revoked.append(set(partitions))
        self.kept.append(self.member.assigned())
        offsets = dict.fromkeys(partitions, 7)
        self.producer.commit(self.member.topic, offsets, self.member.metadata, seconds=10)


def test_partitions_move_one_by_one_and_their_owner_commits_before(cluster: Cluster) -> None:
    """KIP-429: the others stay where they are, nobody has one that another still has."""
    topic = cluster.topic(partitions=4)
    first = _Owner(cluster, topic, "first")
    cluster.assigned(first.member, shares=_evenly(4))
    metadata = first.member.metadata
    second = _Owner(cluster, topic, "second")
    reader = cluster.reader(group=metadata.group_id)
    seen: list[bool] = []

    def shares(assigned: list[set[int]]) -> bool:
        seen.append(assigned[0].isdisjoint(assigned[1]))
        return _evenly(4)(assigned)

    cluster.assigned(first.member, second.member, shares=shares)

    assert all(seen)
    assert first.revoked == [second.member.assigned()]
    assert first.kept == [first.member.assigned()]
    assert second.revoked == []
    assert {reader.committed(TopicPartition(topic, number)) for number in second.member.assigned()} == {7}
    assert first.member.metadata.member_id == metadata.member_id
    assert first.member.metadata.generation_id > metadata.generation_id
    assert not first.member.lost


def test_who_leaves_is_replaced_at_once(cluster: Cluster) -> None:
    """And gives up all that it has."""
    topic = cluster.topic(partitions=3)
    first, second = _Owner(cluster, topic, "first"), _Owner(cluster, topic, "second")
    cluster.assigned(first.member, second.member, shares=_evenly(3))
    had, first.revoked = first.member.assigned(), []
    first.member.close(seconds=5)

    assert first.revoked == [had]

    cluster.assigned(second.member, shares=_evenly(3))


def test_a_member_that_was_thrown_out_has_lost_its_partitions_and_comes_back_as_another(
    cluster: Cluster,
) -> None:
    """A commit under its old metadata is refused; nobody asked it to give up anything."""
    topic = cluster.topic(partitions=2)
    owner = _Owner(cluster, topic, "owner")
    cluster.assigned(owner.member, shares=_evenly(2))
    before = owner.member.metadata
    cluster.throw_out(owner.member)
    owner.producer.send(topic, 0, key=None, value=b"zombie")

    with pytest.raises(CheckpointFailed) as refused:
        owner.producer.commit(topic, {0: 1}, owner.member.metadata, seconds=10)

    assert not refused.value.fenced

    owner.producer.renew()
    cluster.until(lambda: owner.member.poll(cluster.poll_ms) or owner.member.lost, what="the loss")

    assert owner.member.take_lost() == {0, 1}
    assert not owner.member.lost

    cluster.assigned(owner.member, shares=_evenly(2))

    assert owner.revoked == []
    assert not owner.member.lost
    assert owner.member.metadata.member_id != before.member_id
    assert cluster.values(TopicPartition(topic, 0)) == []


def test_partitions_that_come_back_to_their_owner_are_held(cluster: Cluster) -> None:
    """Others may have had them meanwhile."""
    topic = cluster.topic()
    cluster.produce(topic, b"0")
    member = cluster.member(topic)
    cluster.assigned(member, shares=_evenly(1))
    member.begin(0, 0)
    cluster.poll_until(member, 1)
    cluster.throw_out(member)
    cluster.until(lambda: member.poll(cluster.poll_ms) or member.lost, what="the loss")
    cluster.assigned(member, shares=_evenly(1))
    cluster.produce(topic, b"1")

    assert [member.poll(cluster.poll_ms) for _ in range(3)] == [[], [], []]
    assert member.position(0) == 0


def test_a_static_member_comes_back_without_a_rebalance(cluster: Cluster) -> None:
    """KIP-345: closing does not leave. Nobody else notices; what it had is its own again."""
    topic = cluster.topic(partitions=4)
    first, second = (cluster.member(topic, name=name, static=name) for name in ("first", "second"))
    cluster.assigned(first, second, shares=_evenly(4))
    had, generation = first.assigned(), second.metadata.generation_id
    first.close(seconds=5)
    again = cluster.member(topic, name="first", static="first")
    cluster.assigned(again, second, shares=_evenly(4))

    assert again.assigned() == had
    assert second.metadata.generation_id == generation


def test_the_later_of_two_static_members_of_one_name_is_the_member(cluster: Cluster) -> None:
    """Commits of the earlier one are refused. The group does not speak with it any more."""
    topic = cluster.topic()
    producer = cluster.producer()
    first = cluster.member(topic, static="same")
    cluster.assigned(first, shares=_evenly(1))
    second = cluster.member(topic, static="same")
    cluster.assigned(second, shares=_evenly(1))

    with pytest.raises(CheckpointFailed) as refused:
        producer.commit(topic, {0: 1}, first.metadata, seconds=10)

    assert not refused.value.fenced

    first.poll(cluster.poll_ms)

    assert first.assigned() == {0}
    assert not first.lost

    producer.renew()
    producer.commit(topic, {0: 1}, second.metadata, seconds=10)


def test_a_static_member_that_does_not_come_back_is_replaced_when_its_session_ends(cluster: Cluster) -> None:
    """As one that was killed, or does not answer."""
    topic = cluster.topic(partitions=2)
    first, second = (cluster.member(topic, name=name, static=name) for name in ("first", "second"))
    cluster.assigned(first, second, shares=_evenly(2))
    first.close(seconds=5)
    second.poll(cluster.poll_ms)

    assert len(second.assigned()) == 1

    cluster.let_pass(SESSION_SECONDS)
    cluster.assigned(second, shares=_evenly(2))


def test_partitions_that_are_added_are_given_out(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without anybody's joining or leaving."""
    monkeypatch.setattr(group, "METADATA_MAX_AGE_MS", 1_000)
    topic = cluster.topic()
    member = cluster.member(topic)
    cluster.assigned(member, shares=_evenly(1))
    with closing(cluster.connection.admin()) as admin:
        admin.add_partitions(topic, total=3)
    cluster.assigned(member, shares=_evenly(3))


def test_who_is_in_a_group_and_what_each_has_can_be_asked(cluster: Cluster) -> None:
    """Nobody is, in one that nobody has joined."""
    topic, group = cluster.topic(partitions=2), cluster.name("group")
    with closing(cluster.connection.admin()) as admin:
        assert admin.members(group, topic=topic) == []

        member = cluster.member(topic, name="client")
        cluster.assigned(member, shares=_evenly(2))
        (found,) = admin.members(group, topic=topic)
        (elsewhere,) = admin.members(group, topic="another")

    assert found.client_id == "client"
    assert found.partitions == {0, 1}
    assert elsewhere.partitions == frozenset()
    assert found.member_id == member.metadata.member_id


def test_closing_a_member_that_never_joined_does_nothing(cluster: Cluster) -> None:
    """As where the worker stops before it is one."""
    topic = cluster.topic()
    cluster.connection.member(
        topic=topic, group="unused", client_id="a", session_timeout_ms=6_000, heartbeat_interval_ms=1_000
    ).close(seconds=1)


def test_a_poll_that_waits_ends_when_it_is_woken(cluster: Cluster) -> None:
    """By another thread; if none waits, the next poll does not wait."""
    topic = cluster.topic()
    member = cluster.member(topic)
    cluster.assigned(member, shares=_evenly(1))
    member.begin(0, 0)
    waits = 0 if cluster.poll_ms == 0 else 60_000
    began = time.monotonic()
    timer = Timer(0.1, member.wake)
    timer.start()

    assert member.poll(waits) == []

    timer.join()
    for _ in range(20):
        member.wake()

        assert member.poll(waits) == []

    # Without the wake, each of these polls would take half a second, until the next heartbeat.
    assert time.monotonic() - began < 5

    cluster.produce(topic, b"0")
    member.wake()

    assert [record.value for record in cluster.poll_until(member, 1)] == [b"0"]


def test_a_member_without_partitions_is_woken_too(cluster: Cluster) -> None:
    """It has nothing to fetch; and one that has not joined takes no harm."""
    topic = cluster.topic()
    first, second = (cluster.member(topic, name=name) for name in ("first", "second"))
    first.wake()
    cluster.assigned(first, second, shares=_evenly(1))
    idle = first if not first.assigned() else second
    began = time.monotonic()
    for _ in range(20):
        idle.wake()

        assert idle.poll(0 if cluster.poll_ms == 0 else 60_000) == []

    assert time.monotonic() - began < 5


def test_members_know_the_addresses_of_each_other(cluster: Cluster) -> None:
    """Those who say one."""
    topic, group = cluster.topic(partitions=2), cluster.name("group")
    first = cluster.member(topic, name="first", address="http://first:9464")
    second = cluster.member(topic, name="second")
    cluster.assigned(first, second, shares=_evenly(2))
    with closing(cluster.connection.admin()) as admin:
        found = {member.client_id: member.address for member in admin.members(group, topic=topic)}

    assert found == {"first": "http://first:9464", "second": ""}
