"""The cluster that the laws are tried on: in memory, or a real broker. The harness hides which."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from functools import partial
from typing import Any, TypeVar

from confluent_kafka import Producer
from confluent_kafka import TopicPartition as Place
from confluent_kafka.admin import AdminClient
from kafka.admin import KafkaAdminClient, MemberToRemove

from deploy.kafka.local import LocalKafka
from tests.conftest import create_topic
from tests.waiting import eventually
from tests.wire import CODECS, Part, RawBatch, Wire
from worker.errors import CheckpointFailed
from worker.kafka.connection import KafkaConnection
from worker.kafka.interface import (
    Connection,
    GroupMember,
    Reader,
    Record,
    SentHeaders,
    TopicPartition,
    Transactions,
)
from worker.kafka.memory import MemoryCluster, MemoryGroupMember
from worker.kafka.transactions import KafkaTransactions, _add_offsets

T = TypeVar("T")

SESSION_SECONDS = 6
"""The shortest session that a broker takes by default."""

TRANSACTION_SECONDS = 30


class Cluster(ABC):
    """A cluster, and clients of it that `life` closes."""

    poll_ms: int
    """The time that a poll waits."""

    def __init__(self, connection: Connection, life: ExitStack, unique: str) -> None:
        self.connection = connection
        self.life = life
        self._unique = unique

    def name(self, name: str) -> str:
        """Return a name that no other test has."""
        return f"{name}-{self._unique}"

    def reader(
        self,
        *at: TopicPartition,
        committed: bool = True,
        group: str | None = None,
        fetch: Mapping[str, int] | None = None,
    ) -> Reader:
        """Return a reader of these partitions."""
        reader = self.connection.reader("law", group=group, committed=committed, fetch=fetch)
        self.life.callback(reader.close)
        reader.assign(at)
        return reader

    def producer(self, name: str = "producer", *, seconds: float = TRANSACTION_SECONDS) -> Transactions:
        """Return a transactional producer that is started."""
        producer = self.connection.transactions(self.name(name), timeout_ms=int(seconds * 1000))
        self.life.callback(producer.drop)
        producer.renew()
        return producer

    def member(
        self,
        topic: str,
        *,
        group: str = "group",
        name: str = "member",
        on_revoked: Callable[[Collection[int]], None] = lambda _: None,
        static: str | None = None,
        address: str = "",
    ) -> GroupMember:
        """Return a member that joins with its first poll."""
        member = self.connection.member(
            topic=topic,
            group=self.name(group),
            client_id=name,
            session_timeout_ms=SESSION_SECONDS * 1000,
            heartbeat_interval_ms=500,
            fetch_max_wait_ms=50,
            static_member=static,
            address=address,
        )
        member.join(on_revoked)
        self.life.callback(partial(member.close, seconds=2))
        return member

    @staticmethod
    def unread(member: GroupMember) -> dict[int, int]:
        """Return the number of unread records of each partition that the member reads."""
        return {number: backlog.records for number, backlog in member.backlogs().items()}

    def rest(self, reader: Reader, *at: TopicPartition) -> list[Record]:
        """Return all that the reader still gets of its partitions, up to where they end for it now."""
        ends: dict[TopicPartition, int] = {}
        for one in at:
            ends |= reader.ends([one])
        found: list[Record] = []

        def done() -> bool:
            for records in reader.poll(self.poll_ms).values():
                found.extend(records)
            return all(reader.position(one) >= end for one, end in ends.items())

        self.until(done, what="the end of the log")
        return found

    def values(self, *at: TopicPartition, committed: bool = True) -> list[bytes | None]:
        """Return the values of all that a new reader gets."""
        reader = self.reader(*at, committed=committed)
        return [record.value for record in self.rest(reader, *at)]

    def assigned(self, *members: GroupMember, shares: Callable[[list[set[int]]], bool]) -> None:
        """Poll members until what each has is as `shares` wants it, and all know it."""

        def done() -> bool:
            self.poll_all(members)
            return all(one.joined for one in members) and shares([one.assigned() for one in members])

        self.until(done, what="the assignment")

    def poll_until(self, member: GroupMember, count: int) -> list[Record]:
        """Poll until `count` records came; return them."""
        found: list[Record] = []

        def done() -> bool:
            found.extend(member.poll(self.poll_ms))
            return len(found) >= count

        self.until(done, what=f"{count} records")
        return found

    @abstractmethod
    def poll_all(self, members: Collection[GroupMember]) -> None:
        """Poll each member once."""

    @abstractmethod
    def topic(self, name: str = "topic", *, partitions: int = 1) -> str:
        """Create a topic; return its name."""

    @abstractmethod
    def produce(
        self,
        topic: str,
        *values: bytes,
        key: bytes | None = None,
        partition: int = 0,
        headers: SentHeaders | None = None,
        timestamp: int | None = None,
    ) -> None:
        """Write records as somebody else's producer does."""

    @abstractmethod
    def produce_unreadable(self, topic: str, offsets: int) -> None:
        """Write what nobody can decode into partition 0, for that many offsets."""

    @abstractmethod
    def delete_before(self, topic: str, offset: int) -> None:
        """Delete the first records of partition 0."""

    @abstractmethod
    def delete(self, topic: str) -> None:
        """Delete a topic."""

    @abstractmethod
    def throw_out(self, member: GroupMember) -> None:
        """Take a member out of its group without its knowing."""

    @abstractmethod
    def stop_in_commit(self, producer: Transactions, topic: str, offsets: dict[int, int], group: Any) -> None:
        """Leave a transaction open with these offsets in it."""

    @abstractmethod
    def until(self, holds: Callable[[], T], *, what: str) -> T:
        """Ask again and again until something holds; return it."""

    @abstractmethod
    def down(self) -> None:
        """Stop the broker."""

    @abstractmethod
    def let_pass(self, seconds: float) -> None:
        """Let time pass, so that what takes so long has happened or will soon."""


class _InMemory(Cluster):
    """As `worker.kafka.memory` has it: everything happens at once, or never."""

    poll_ms = 0

    def __init__(self, life: ExitStack, unique: str) -> None:
        self._cluster = MemoryCluster()
        super().__init__(self._cluster.connect(), life, unique)

    def topic(self, name: str = "topic", *, partitions: int = 1) -> str:
        topic = self.name(name)
        self._cluster.create(topic, partitions=partitions)
        return topic

    def produce(
        self,
        topic: str,
        *values: bytes,
        key: bytes | None = None,
        partition: int = 0,
        headers: SentHeaders | None = None,
        timestamp: int | None = None,
    ) -> None:
        for value in values:
            self._cluster.produce(
                topic, value, key=key, partition=partition, headers=headers, timestamp=timestamp
            )

    def produce_unreadable(self, topic: str, offsets: int) -> None:
        self._cluster.produce_unreadable(topic, offsets=offsets)

    def delete_before(self, topic: str, offset: int) -> None:
        self._cluster.delete_before(topic, 0, offset)

    def delete(self, topic: str) -> None:
        self._cluster.delete(topic)

    def poll_all(self, members: Collection[GroupMember]) -> None:
        for member in members:
            member.poll(self.poll_ms)

    def throw_out(self, member: GroupMember) -> None:
        assert isinstance(member, MemoryGroupMember)
        self._cluster.freeze(member)
        self._cluster.advance(SESSION_SECONDS)

    def stop_in_commit(self, producer: Transactions, topic: str, offsets: dict[int, int], group: Any) -> None:
        self._cluster.fail("end", CheckpointFailed("stopped"))
        try:
            producer.commit(topic, offsets, group, seconds=1)
        except CheckpointFailed:
            return
        raise AssertionError("the commit was not stopped")

    def until(self, holds: Callable[[], T], *, what: str) -> T:
        for _ in range(20):
            if found := holds():
                return found
        raise AssertionError(f"{what} did not come at once")

    def down(self) -> None:
        self._cluster.down()

    def let_pass(self, seconds: float) -> None:
        self._cluster.advance(seconds)


class _Real(Cluster):
    """A real broker, over kafka-python as the product uses it; what others do is done by other clients."""

    poll_ms = 20

    def __init__(self, kafka: str, life: ExitStack, unique: str, node: LocalKafka | None = None) -> None:
        self._kafka = kafka
        self._node = node
        self._admin = AdminClient({"bootstrap.servers": kafka, "log_level": 0})
        self._threads = life.enter_context(ThreadPoolExecutor())
        super().__init__(KafkaConnection(kafka), life, unique)

    def topic(self, name: str = "topic", *, partitions: int = 1) -> str:
        topic = self.name(name)
        create_topic(self._admin, topic, partitions, {})
        return topic

    def produce(
        self,
        topic: str,
        *values: bytes,
        key: bytes | None = None,
        partition: int = 0,
        headers: SentHeaders | None = None,
        timestamp: int | None = None,
    ) -> None:
        producer = Producer({"bootstrap.servers": self._kafka, "log_level": 0})
        for value in values:
            producer.produce(
                topic,
                value,
                key,
                partition,
                timestamp=timestamp or 0,
                headers=[(header, content) for header, content in headers or ()],
            )

        assert producer.flush(30) == 0

    def produce_unreadable(self, topic: str, offsets: int) -> None:
        # The broker does not look at the length of a record in a compressed batch.
        parts = [Part(b"{}", length=-1), *[Part(b"{}")] * (offsets - 1)]
        with Wire(self._kafka) as wire:
            code, _ = wire.produce(topic, 0, RawBatch(parts, codec=CODECS["gzip"]).encode())

        assert code == 0

    def delete_before(self, topic: str, offset: int) -> None:
        for done in self._admin.delete_records([Place(topic, 0, offset)]).values():
            done.result()

    def delete(self, topic: str) -> None:
        for done in self._admin.delete_topics([topic]).values():
            done.result()

    def poll_all(self, members: Collection[GroupMember]) -> None:
        """Poll all at the same time, as processes do: in turn, rebalances follow each other for long."""
        polls = [self._threads.submit(member.poll, 100) for member in members]
        for poll in polls:
            poll.result()

    def throw_out(self, member: GroupMember) -> None:
        metadata = member.metadata
        with closing(KafkaAdminClient(bootstrap_servers=self._kafka)) as admin:
            admin.remove_group_members(metadata.group_id, [MemberToRemove(metadata.member_id)])

    def stop_in_commit(self, producer: Transactions, topic: str, offsets: dict[int, int], group: Any) -> None:
        assert isinstance(producer, KafkaTransactions)
        client = producer._in_transaction()
        client.flush()
        _add_offsets(client, topic, offsets, group)

    def until(self, holds: Callable[[], T], *, what: str) -> T:
        return eventually(holds, what=what)

    def down(self) -> None:
        assert self._node, "the shared broker must stay as it is"
        self._node.stop()

    def let_pass(self, seconds: float) -> None:
        """Nothing: `until` waits."""


def cluster_in_memory(life: ExitStack, unique: str) -> Cluster:
    """Return a cluster in memory."""
    return _InMemory(life, unique)


def real_cluster(kafka: str, life: ExitStack, unique: str) -> Cluster:
    """Return the cluster whose broker is at `kafka`."""
    return _Real(kafka, life, unique)


def own_cluster(node: LocalKafka, life: ExitStack, unique: str) -> Cluster:
    """Return the cluster of a broker that may be stopped."""
    return _Real(node.bootstrap, life, unique, node)
