"""The cluster in memory beyond a real one: time that a test moves, faults, crashes."""

from __future__ import annotations

import pytest

from worker.errors import CheckpointFailed, KafkaAway, NotStable
from worker.kafka.interface import GroupMember, TopicPartition, Transactions
from worker.kafka.memory import Crashed, MemoryCluster, MemoryConnection, MemoryGroupMember

AT = TopicPartition("topic", 0)


@pytest.fixture
def cluster() -> MemoryCluster:
    """A cluster with one topic of two partitions."""
    cluster = MemoryCluster()
    cluster.create("topic", partitions=2)
    return cluster


def _producer(connection: MemoryConnection, name: str = "id") -> Transactions:
    producer = connection.transactions(name, timeout_ms=10_000)
    producer.renew()
    return producer


def _member(connection: MemoryConnection, *, static: str | None = None) -> MemoryGroupMember:
    member = connection.member(
        topic="topic",
        group="group",
        client_id="client",
        session_timeout_ms=6_000,
        heartbeat_interval_ms=1_000,
        static_member=static,
    )
    member.join(lambda _: None)
    return member


def _send(producer: Transactions, value: bytes = b"v") -> None:
    producer.send("topic", 0, key=b"k", value=value)


def _settle(*members: GroupMember) -> list[set[int]]:
    for _ in range(4):
        for member in members:
            member.poll(0)
    return [member.assigned() for member in members]


def test_time_stands_still_until_it_is_moved(cluster: MemoryCluster) -> None:
    """Timestamps and clocks are those of the cluster."""
    began = cluster.steady(), cluster.wall()
    cluster.produce("topic", b"0")
    cluster.advance(2.5)
    cluster.produce("topic", b"1")
    first, second = cluster.read("topic")

    assert second.timestamp - first.timestamp == 2_500
    assert (cluster.steady() - began[0], cluster.wall() - began[1]) == (2.5, 2.5)
    assert second.timestamp == cluster.now_ms == cluster.wall() * 1000


def test_a_fault_strikes_the_calls_that_it_was_set_for(cluster: MemoryCluster) -> None:
    """After those that it skips, as often as it was said, in one process."""
    connection, other = cluster.connect(), cluster.connect()
    producer, spared = _producer(connection), _producer(other, "other")
    cluster.fail("send", KafkaAway("away"), skip=1, times=1, connection=connection)
    _send(producer)
    _send(spared)
    _send(spared)

    with pytest.raises(KafkaAway):
        _send(producer)
    with pytest.raises(CheckpointFailed):
        producer.commit("topic", {}, "group", seconds=1)

    producer.renew()
    _send(producer)


def test_where_no_transaction_has_begun_a_fault_is_an_outage(cluster: MemoryCluster) -> None:
    """Unless another error is given."""
    connection = cluster.connect()
    producer, member = _producer(connection), _member(connection)
    cluster.fail("renew")
    cluster.fail("poll")

    for call in (producer.renew, lambda: member.poll(0)):
        with pytest.raises(KafkaAway):
            call()
    with pytest.raises(ValueError, match="renew does not support a fault"):
        cluster.fail("renew", after=True)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_commit_may_fail_before_or_after_it_took_effect(cluster: MemoryCluster, after: bool) -> None:
    """Who asked cannot tell which: the answer is lost."""
    producer = _producer(cluster.connect())
    _send(producer)
    cluster.fail("commit", after=after)

    with pytest.raises(CheckpointFailed):
        producer.commit("topic", {0: 1}, "group", seconds=1)

    producer.renew()

    assert len(cluster.read("topic")) == after
    assert cluster.committed("group", "topic") == ({0: 1} if after else {})


def test_a_process_that_crashed_leaves_everything_as_it_is(cluster: MemoryCluster) -> None:
    """Its transaction stays open until its time is over, its membership until its session is."""
    connection = cluster.connect()
    producer, member, heir = _producer(connection), _member(connection), _member(cluster.connect())
    _settle(member, heir)
    _send(producer)
    cluster.crash(connection)
    producer.drop()
    member.close(seconds=1)

    for call in (lambda: _send(producer), lambda: member.poll(0), connection.admin):
        with pytest.raises(Crashed):
            call()
    assert cluster.log("topic").stable == 0
    assert len(_settle(heir)[0]) == 1

    cluster.advance(6)

    assert _settle(heir) == [{0, 1}]
    assert cluster.log("topic").stable == 0

    cluster.advance(4)

    assert cluster.log("topic").stable == cluster.log("topic").end == 2
    assert cluster.read("topic") == []


@pytest.mark.parametrize(
    ("call", "after", "visible"),
    [("send", False, False), ("send", True, False), ("end", False, False), ("commit", True, True)],
)
def test_a_process_may_crash_in_the_midst_of_a_call(
    cluster: MemoryCluster, call: str, after: bool, visible: bool
) -> None:
    """Who comes after it finds all of its transaction or nothing."""
    connection = cluster.connect()
    producer = _producer(connection)
    cluster.crash_at(call, after=after)  # type: ignore[arg-type]  # the names are those of `Call`

    with pytest.raises(Crashed):
        _send_and_commit(producer)

    _producer(cluster.connect())

    assert len(cluster.read("topic")) == visible
    assert bool(cluster.committed("group", "topic")) == visible


def _send_and_commit(producer: Transactions) -> None:
    _send(producer)
    producer.commit("topic", {0: 1}, "group", seconds=1)


def test_a_member_that_is_alive_stays_while_it_does_not_poll_but_not_for_ever(cluster: MemoryCluster) -> None:
    """KIP-62: heartbeats come from a thread of their own; polls must come within five minutes."""
    busy, other = _member(cluster.connect()), _member(cluster.connect())
    _settle(busy, other)
    cluster.advance(299)

    assert _settle(other) == [{1}]

    cluster.advance(1)

    assert _settle(other) == [{0, 1}]

    busy.poll(0)

    assert busy.take_lost() == {0}
    assert sorted(map(len, _settle(busy, other))) == [1, 1]


def test_a_member_that_was_frozen_for_less_than_its_session_goes_on(cluster: MemoryCluster) -> None:
    """Nobody has noticed."""
    member = _member(cluster.connect())
    _settle(member)
    cluster.freeze(member)
    cluster.advance(5)
    member.poll(0)
    cluster.advance(5)

    assert _settle(member) == [{0, 1}]
    assert not member.lost


def test_sessions_do_not_end_while_the_cluster_is_away(cluster: MemoryCluster) -> None:
    """They begin again when it is back; transactions that took too long are aborted then."""
    member, producer = _member(cluster.connect()), _producer(cluster.connect())
    _settle(member)
    _send(producer)
    cluster.freeze(member)
    cluster.down()
    cluster.advance(60)

    assert cluster.log("topic").stable == 0

    cluster.up()

    assert _settle(member) == [{0, 1}]
    assert not member.lost
    assert cluster.log("topic").stable == 2


def test_what_was_sent_while_the_cluster_was_away_is_delivered_when_it_is_back(
    cluster: MemoryCluster,
) -> None:
    """In order, if the transaction still is."""
    producer = _producer(cluster.connect())
    cluster.down()
    _send(producer, b"1")
    cluster.up()
    _send(producer, b"2")
    producer.commit("topic", {}, "group", seconds=1)

    assert [record.value for record in cluster.read("topic")] == [b"1", b"2"]


def test_a_commit_may_be_answered_before_it_is_visible(cluster: MemoryCluster) -> None:
    """The marks come later: until then nothing of it is stable."""
    connection = cluster.connect()
    producer = _producer(connection)
    careful, free = connection.reader("a", group="group"), connection.reader("b", committed=False)
    cluster.hold_marks()
    _send(producer)
    producer.commit("topic", {0: 1}, "group", seconds=1)

    assert (careful.ends([AT]), free.ends([AT])) == ({AT: 0}, {AT: 1})
    with pytest.raises(NotStable):
        careful.committed(AT)

    cluster.write_marks()

    assert careful.ends([AT]) == {AT: 2}
    assert careful.committed(AT) == 1


def test_the_next_transaction_waits_for_the_marks_of_the_last(cluster: MemoryCluster) -> None:
    """So does who starts under the same id: what was committed stays."""
    cluster.hold_marks()
    producer = _producer(cluster.connect())
    _send_and_commit(producer)
    _send(producer)

    assert len(cluster.read("topic")) == 1

    producer.commit("topic", {0: 2}, "group", seconds=1)
    _producer(cluster.connect())

    assert len(cluster.read("topic")) == 2
    assert cluster.committed("group", "topic") == {0: 2}


def test_compaction_keeps_the_newest_record_of_each_key_and_every_offset(cluster: MemoryCluster) -> None:
    """Nothing after the last stable offset is touched; tombstones go where that is asked for."""
    for key, value in ((b"a", b"1"), (b"b", b"2"), (b"a", None), (b"b", b"3")):
        cluster.produce("topic", value, key=key)
    cluster.compact("topic")

    assert [(r.offset, r.value) for r in cluster.read("topic")] == [(2, None), (3, b"3")]

    producer = _producer(cluster.connect())
    producer.send("topic", 0, key=b"b", value=b"4")
    cluster.produce("topic", b"5", key=b"b")
    cluster.compact("topic", tombstones=True)

    assert [r.offset for r in cluster.read("topic", committed=False)] == [3, 4, 5]
    assert cluster.log("topic").end == 6


def test_what_retention_deleted_is_gone_for_everyone(cluster: MemoryCluster) -> None:
    """The log begins later; its offsets stay."""
    for value in (b"0", b"1", b"2"):
        cluster.produce("topic", value)
    cluster.delete_before("topic", 0, 2)

    assert (cluster.log("topic").start, cluster.log("topic").end) == (2, 3)
    assert [record.offset for record in cluster.read("topic")] == [2]
    assert cluster.produce("topic", b"3") == 3


def test_a_static_member_that_died_while_it_gave_up_partitions_is_replaced_by_one_that_has_them_shared(
    cluster: MemoryCluster,
) -> None:
    """Who replaces it joins without a rebalance, and nobody else asks for one."""
    connection = cluster.connect()
    dying, other = _member(connection, static="a"), _member(cluster.connect(), static="b")
    _settle(dying)
    dying.join(lambda _: cluster.crash(connection))
    other.poll(0)

    with pytest.raises(Crashed):
        dying.poll(0)

    again = _member(cluster.connect(), static="a")

    assert sorted(map(len, _settle(again, other))) == [1, 1]
