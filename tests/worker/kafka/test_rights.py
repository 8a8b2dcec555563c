"""Laws of rights, on the cluster in memory and on a locked-down broker: what is missing is NotAllowed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from functools import partial
from typing import Final

import pytest
from confluent_kafka.admin import AdminClient

from deploy.kafka.security import Access
from tests.broker.rights import Acl, Rights
from tests.conftest import create_topic
from tests.waiting import eventually
from worker.errors import NotAllowed
from worker.kafka.interface import Connection, GroupMember, TopicPartition, Transactions
from worker.kafka.memory import MemoryCluster, Right
from worker.settings.kafka import Kafka

SECONDS: Final = 30.0


class User(ABC):
    """A user with chosen rights on a topic of two partitions, and on a group and a transactional id."""

    connection: Connection

    def __init__(self, unique: str, life: ExitStack) -> None:
        self.topic, self.group, self.id = f"topic-{unique}", f"group-{unique}", f"id-{unique}/"
        self.life = life
        self.rights = {
            "topic READ": Right("topic", self.topic, "READ"),
            "topic WRITE": Right("topic", self.topic, "WRITE"),
            "group READ": Right("group", self.group, "READ"),
            "id WRITE": Right("transactional-id", self.id, "WRITE", prefixed=True),
        }

    @abstractmethod
    def grant(self, right: Right) -> None:
        """Grant one right."""

    @abstractmethod
    def revoke(self, name: str) -> None:
        """Take one right back."""

    def producer(self) -> Transactions:
        """A producer that has committed a transaction."""
        producer = self.connection.transactions(f"{self.id}a", timeout_ms=10_000)
        self.life.callback(producer.drop)
        producer.renew()
        self.send(producer)
        producer.commit(self.topic, {0: 0}, self.group, seconds=10)
        return producer

    def send(self, producer: Transactions) -> None:
        """Send a record."""
        producer.send(self.topic, 0, key=b"k", value=b"v")

    def member(self) -> GroupMember:
        """A member that joins with its first poll."""
        member = self.connection.member(
            topic=self.topic,
            group=self.group,
            client_id="member",
            session_timeout_ms=6_000,
            heartbeat_interval_ms=500,
        )
        member.join(lambda _: None)
        self.life.callback(partial(member.close, seconds=1))
        return member


class _InMemory(User):
    def __init__(self, unique: str, life: ExitStack) -> None:
        super().__init__(unique, life)
        self._cluster = MemoryCluster()
        self._cluster.create(self.topic, partitions=2)
        self._granted = set(self.rights.values())
        self._connection = self.connection = self._cluster.connect(self._granted)

    def grant(self, right: Right) -> None:
        self._granted |= {right}
        self._cluster.restrict(self._connection, self._granted)

    def revoke(self, name: str) -> None:
        self._granted -= {self.rights[name]}
        self._cluster.restrict(self._connection, self._granted)


class _Real(User):
    def __init__(self, unique: str, life: ExitStack, access: Access) -> None:
        super().__init__(unique, life)
        create_topic(AdminClient({"bootstrap.servers": access.bootstrap, "log_level": 0}), self.topic, 2, {})
        self._acls, self._name = Rights(access.bootstrap), f"user-{unique}"
        self._acls.grant(self._name, [_acl(right) for right in self.rights.values()])
        self.connection = Kafka.model_validate(access.mutual(self._name)).connection()

    def grant(self, right: Right) -> None:
        self._acls.grant(self._name, [_acl(right)])

    def revoke(self, name: str) -> None:
        self._acls.revoke(self._name, [_acl(self.rights[name])])


def _acl(right: Right) -> Acl:
    return Acl(right.kind, right.name, (right.operation,), prefixed=right.prefixed)


@pytest.fixture(params=["memory", pytest.param("real", marks=pytest.mark.broker)])
def user(request: pytest.FixtureRequest, unique: str) -> Iterator[User]:
    """Every law is tried on the cluster in memory and on a real broker."""
    with ExitStack() as life:
        if request.param == "memory":
            yield _InMemory(unique, life)
        else:
            yield _Real(unique, life, request.getfixturevalue("locked_kafka"))


@pytest.mark.parametrize(
    ("lost", "met"),
    [
        ("topic WRITE", "send"),
        ("id WRITE", "send"),
        ("topic WRITE", "commit"),
        ("id WRITE", "commit"),
        ("group READ", "commit"),
        ("topic READ", "commit"),
    ],
)
def test_a_right_that_a_producer_loses_is_refused_wherever_it_is_met(user: User, lost: str, met: str) -> None:
    """By the request that needs it, or by the next call, to which the client hands the refusal."""
    producer = user.producer()
    user.revoke(lost)

    def go_on() -> None:
        user.send(producer)
        if met == "send":
            eventually(lambda: user.send(producer), SECONDS, "the refusal")
        producer.commit(user.topic, {0: 0}, user.group, seconds=10)

    with pytest.raises(NotAllowed):
        go_on()


def test_a_producer_without_a_right_to_its_id_does_not_start(user: User) -> None:
    """Whatever its name begins with."""
    user.revoke("id WRITE")

    with pytest.raises(NotAllowed):
        user.connection.transactions(f"{user.id}a", timeout_ms=10_000).renew()


def test_readers_and_members_lose_the_right_to_read(user: User) -> None:
    """The next poll says so, and each after it."""
    at = TopicPartition(user.topic, 0)
    member, reader = user.member(), user.connection.reader("reader")
    user.life.callback(reader.close)
    reader.assign([at])
    eventually(lambda: member.poll(20) or member.assigned() == {0, 1}, SECONDS, "the assignment")
    member.begin(0, 0)
    user.revoke("topic READ")

    def poll() -> None:
        with user.connection.errors("poll"):
            reader.poll(20)

    for look in (lambda: member.poll(20), poll):
        for _ in range(2):
            _refused(look)


def test_nobody_joins_a_group_without_a_right_to_it(user: User) -> None:
    """The first poll says so; and the group tells nothing of itself."""
    user.revoke("group READ")
    member = user.member()

    _refused(lambda: member.poll(20))
    with closing(user.connection.admin()) as admin:
        _refused(lambda: admin.group_rights(user.group))
        _refused(lambda: admin.members(user.group, topic=user.topic))


def test_what_is_not_allowed_to_see_is_hidden(user: User) -> None:
    """Which differs from a topic that does not exist only where the right to see it is there."""
    with closing(user.connection.admin()) as admin:
        shown, listed = admin.describe([user.topic])[user.topic], admin.topics()
        user.revoke("topic READ")
        user.revoke("topic WRITE")
        hidden, unlisted = admin.describe([user.topic])[user.topic], admin.topics()
    reader = user.connection.reader("reader")
    user.life.callback(reader.close)

    assert (shown.visible, shown.rights) == (True, frozenset(("READ", "WRITE", "DESCRIBE")))
    assert (hidden.visible, hidden.partitions) == (False, 0)
    assert (listed, unlisted) == ([user.topic], [])
    assert reader.partitions(user.topic) == set()


def test_what_an_admin_may_not_do_is_refused(user: User) -> None:
    """Creating, enlarging, and reading settings need rights of their own."""
    another = f"another-{user.topic}"
    with closing(user.connection.admin()) as admin:
        _refused(lambda: admin.create(another, partitions=1, replication=1, settings={}))
        _refused(lambda: admin.add_partitions(user.topic, total=3))
        _refused(lambda: admin.settings(user.topic))

        for right in (
            Right("topic", another, "CREATE"),
            Right("topic", another, "ALTER"),
            Right("topic", another, "DESCRIBE_CONFIGS"),
        ):
            user.grant(right)
        assert admin.create(another, partitions=1, replication=1, settings={})
        eventually(lambda: admin.describe([another])[another].partitions == 1, SECONDS, "the topic")
        admin.add_partitions(another, total=2)
        eventually(lambda: admin.describe([another])[another].partitions == 2, SECONDS, "the partition")
        assert admin.settings(another)["cleanup.policy"] == "delete"


def test_records_outside_of_transactions_need_the_same_right(user: User) -> None:
    """As deletion requests do."""
    assert user.connection.write(user.topic, b"k", {0: b"v"}) == {0: 0}
    user.revoke("topic WRITE")

    _refused(lambda: user.connection.write(user.topic, b"k", {0: b"v"}))


def _refused(call: Callable[[], object]) -> None:
    """Call until it is refused: the answer of a broker may come after a poll."""
    with pytest.raises(NotAllowed):
        eventually(call, SECONDS, "the refusal")
