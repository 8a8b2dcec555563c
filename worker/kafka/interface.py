"""The interface to Kafka: everything that the rest of the code asks of a cluster.

`worker.kafka.connection` implements it with kafka-python, `worker.kafka.memory` with an in-process cluster
for tests. One test suite, `tests/worker/kafka`, checks that both behave the same.

Every call may raise KafkaAway, NotAllowed and TopicError (`worker.errors`). Calls of a class that does not
translate errors itself must be inside `Connection.errors`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Protocol

from kafka.structs import TopicPartition

__all__ = [
    "ANSWER_MS",
    "FETCH_MAX_WAIT_MS",
    "MAX_BATCH",
    "Admin",
    "Backlog",
    "Connection",
    "GroupMember",
    "Meanwhile",
    "Member",
    "NewRecord",
    "Reader",
    "Record",
    "SentHeaders",
    "TopicInfo",
    "TopicPartition",
    "Transactions",
    "Unreadable",
]

MAX_BATCH: Final = 4_000
"""Maximum number of records that a member's poll returns."""

ANSWER_MS: Final = 5_000
"""Time limit for a broker's answer, in milliseconds; after it, the broker counts as unreachable."""

FETCH_MAX_WAIT_MS: Final = 500
"""Maximum wait of a fetch for records, in milliseconds. Kafka answers as soon as there is a record.

Some compatible brokers always wait this long; for them, a shorter time is better.
"""

MAX_REQUEST_BYTES: Final = 1_048_576
"""Maximum size of a producer's request, in bytes."""

SentHeaders = list[tuple[str, bytes]]
"""The headers of a record to send; the headers of a record that was read may have no value."""

NewRecord = tuple[bytes | None, bytes | None, SentHeaders]
"""Key, value and headers of a record to send."""


Meanwhile = Callable[[Future[Any], float], None]
"""Does something without Kafka until a result is there, or for some seconds."""


class Unreadable(NamedTuple):
    """The reason why a record, or a whole range of offsets, cannot be decoded."""

    first: int
    """The first offset of the range; the record's own offset is the last."""
    why: str


class Backlog(NamedTuple):
    """The unread records of a partition."""

    records: int
    """The number of unread records; deleted records do not count."""
    end: int
    """The offset at which the readable records end (the last stable offset)."""


class Record(Protocol):
    """A record from Kafka, with its topic, partition and offset.

    An unreadable record stands for a range of offsets, and its own offset is the last of the range. Its value
    holds the undecoded bytes; it has no key and no headers.
    """

    @property
    def topic(self) -> str: ...  # noqa: D102
    @property
    def partition(self) -> int: ...  # noqa: D102
    @property
    def offset(self) -> int: ...  # noqa: D102
    @property
    def timestamp(self) -> int:
        """The record's timestamp, in milliseconds since the epoch."""
        ...

    @property
    def key(self) -> bytes | None: ...  # noqa: D102
    @property
    def value(self) -> bytes | None: ...  # noqa: D102
    @property
    def headers(self) -> Sequence[tuple[str, bytes | None]]: ...  # noqa: D102
    @property
    def unreadable(self) -> Unreadable | None:
        """The reason why the record cannot be decoded; None for a readable record."""
        ...


class Reader(Protocol):
    """A consumer without a group: it reads the partitions that it is given.

    A reader of committed records skips aborted transactions, and stops before the first open transaction.
    """

    def assign(self, partitions: Collection[TopicPartition]) -> None:
        """Read exactly these partitions; partitions assigned before keep their positions."""

    def seek(self, at: TopicPartition, offset: int) -> None:
        """Read an assigned partition from `offset`, or from its first record if the offset was deleted."""

    def pause(self, partitions: Collection[TopicPartition]) -> None:
        """Stop reading some assigned partitions."""

    def poll(self, timeout_ms: int) -> Mapping[TopicPartition, Sequence[Record]]:
        """Return the next records by partition, in order; empty if none arrive within `timeout_ms`."""
        ...

    def position(self, at: TopicPartition, *, timeout_ms: int = ANSWER_MS) -> int:
        """Return the next offset to read, past any transaction markers; 0 if unknown."""
        ...

    def begins(self, partitions: Collection[TopicPartition]) -> dict[TopicPartition, int]:
        """Return the earliest offset of each partition."""
        ...

    def ends(self, partitions: Collection[TopicPartition]) -> dict[TopicPartition, int]:
        """Return the end of each partition.

        A reader of committed records returns the last stable offset, other readers the high-water mark.
        """
        ...

    def committed(self, at: TopicPartition, *, timeout_ms: int = ANSWER_MS) -> int | None:
        """Return the committed offset of the reader's group; None if the group has not committed any.

        A reader of committed records raises NotStable while an open transaction may change the offset.
        """
        ...

    def partitions(self, topic: str) -> set[int]:
        """Return the partition numbers of a topic; empty if the topic does not exist."""
        ...

    def close(self) -> None:
        """Close the connection."""


class GroupMember(Protocol):
    """A consumer group member. Call `join` first and `close` last. Raises NextclickErrors."""

    @property
    def topic(self) -> str:
        """The topic whose partitions the group shares."""
        ...

    def join(self, on_revoked: Callable[[Collection[int]], None]) -> None:
        """Connect and subscribe. An assigned partition is read only after `begin` sets its offset.

        `on_revoked` is called with the partitions that are being revoked, inside `poll`, possibly on another
        thread, before the group reassigns them (rule b). It must commit pending work.
        """

    @property
    def joined(self) -> bool:
        """Whether this member has received its assignment, which may be empty."""
        ...

    @property
    def ids(self) -> frozenset[str]:
        """The ids that the group may know this member by: while it joins again, an old and a new one."""

    @property
    def metadata(self) -> Any:
        """The group metadata for commits; after the group has removed this member, commits are refused."""
        ...

    def poll(self, timeout_ms: int, at_most: int = MAX_BATCH) -> list[Record]:
        """Return the next records, grouped by partition and in order within each.

        The list is empty if none arrive within `timeout_ms`, or before `wake`.
        """
        ...

    def wake(self) -> None:
        """End the wait of `poll`, or of the next one. May be called by any thread, at any time."""

    def assigned(self) -> set[int]:
        """Return the partitions that the group assigned to this member."""
        ...

    @property
    def lost(self) -> bool:
        """Whether, since the last `take_lost`, partitions were lost without a chance to commit their work."""
        ...

    def take_lost(self) -> set[int]:
        """Return and clear the partitions that were lost since the last call."""
        ...

    def hold(self, partitions: Collection[int]) -> None:
        """Stop reading some assigned partitions until `begin`."""

    def begin(self, partition: int, offset: int) -> None:
        """Read an assigned partition from `offset`, or from its first record if the offset was deleted."""

    def position(self, partition: int) -> int:
        """Return the next offset to read in an assigned partition; 0 if unknown."""
        ...

    def backlogs(self) -> dict[int, Backlog]:
        """Return the unread records of each partition that is being read; asks the broker.

        Partitions that are held, or whose position is unknown, are omitted.
        """
        ...

    def close(self, *, seconds: float) -> None:
        """Leave the group, so that other members take over the partitions. Does nothing before `join`."""


class Transactions(Protocol):
    """A producer with a transactional id; the first record after a commit or `renew` starts a transaction.

    Raises NextclickErrors. After any failure, `renew` must be called before anything else (rule c).
    """

    meanwhile: Meanwhile | None
    """Called while `commit` waits for the broker, by the same thread; None by default."""

    def renew(self) -> None:
        """Start a new producer; abort the open transaction of its predecessor, and fence the predecessor."""

    def send(
        self,
        topic: str,
        partition: int,
        *,
        key: bytes | None,
        value: bytes | None,
        headers: SentHeaders | None = None,
    ) -> None:
        """Add a record. Raises CheckpointFailed, or TopicError if the partition does not exist."""

    def send_many(self, topic: str, partition: int, records: Sequence[NewRecord]) -> None:
        """Add records of one partition, in order. Raises the errors of `send`.

        The outcome is the same as from sending one record at a time, but it costs less.
        """

    def commit(self, topic: str, offsets: Mapping[int, int], group: Any, *, seconds: float) -> None:
        """Commit all sent records, and `offsets` (partition of `topic` -> next offset) for `group`.

        `group` is the metadata of a member, or the id of a group without members. Raises CheckpointFailed
        (also if the metadata is stale), NotAllowed.
        """

    def drop(self) -> None:
        """Close the producer; the broker aborts an uncommitted transaction later."""


@dataclass(frozen=True, slots=True)
class TopicInfo:
    """The broker's description of a topic."""

    partitions: int
    """Number of partitions; 0 if the topic does not exist."""
    visible: bool = True
    """Whether this client is allowed to see the topic."""
    rights: frozenset[str] | None = None
    """The operations allowed on the topic, by Kafka's names; None if the broker does not report them."""
    id: str = ""
    """The topic's id (KIP-516); a topic that is deleted and created again gets a new id. Empty if the broker
    does not support ids."""
    led: bool = True
    """Whether every partition has a leader."""


@dataclass(frozen=True, slots=True)
class Member:
    """A member of a consumer group, and its partitions of the requested topic."""

    client_id: str
    host: str
    member_id: str
    partitions: frozenset[int]
    address: str = ""  # that of `Connection.member`


class Admin(Protocol):
    """An admin client: describes topics and groups, and creates topics. Raises NextclickErrors."""

    def describe(self, topics: Collection[str]) -> dict[str, TopicInfo]:
        """Return a description of each topic, including topics that do not exist."""
        ...

    def topics(self) -> list[str]:
        """Return the names of all topics that this client may see."""
        ...

    def create(self, topic: str, *, partitions: int, replication: int, settings: Mapping[str, str]) -> bool:
        """Create a topic; return False if the topic already exists."""
        ...

    def add_partitions(self, topic: str, *, total: int) -> None:
        """Increase the number of partitions of a topic to `total`."""

    def everywhere(self, topics: Collection[str]) -> list[dict[str, TopicInfo]]:
        """Return each broker's description of the topics: one mapping per broker, by topic."""
        ...

    def settings(self, topic: str) -> Mapping[str, str]:
        """Return the configuration of an existing topic, including defaults. Raises NotAllowed."""
        ...

    def members(self, group: str, *, topic: str) -> list[Member]:
        """Return the members of a consumer group with their partitions of `topic`."""
        ...

    def group_rights(self, group: str) -> frozenset[str] | None:
        """Return the operations allowed on a group; None if the broker does not report them.

        Raises NotAllowed.
        """
        ...

    def close(self) -> None:
        """Close the connection."""


class Connection(Protocol):
    """A connection to a cluster: creates all clients."""

    @property
    def bootstrap_servers(self) -> str:
        """The addresses of the brokers, as text for messages."""
        ...

    def errors(self, doing: str) -> AbstractContextManager[None]:
        """Translate the client's errors inside the context to NextclickErrors that start with `doing`."""
        ...

    def reader(
        self,
        client_id: str,
        *,
        group: str | None = None,
        committed: bool = True,
        fetch: Mapping[str, int] | None = None,
    ) -> Reader:
        """Return a reader that can ask for the committed offsets of `group`.

        `fetch`: kafka-python's arguments for the size of fetches.
        """
        ...

    def member(
        self,
        *,
        topic: str,
        group: str,
        client_id: str,
        session_timeout_ms: int,
        heartbeat_interval_ms: int,
        fetch_max_wait_ms: int = FETCH_MAX_WAIT_MS,
        static_member: str | None = None,
        address: str = "",
    ) -> GroupMember:
        """Return a member, not yet joined, of a group that shares the partitions of `topic`."""
        ...

    def transactions(
        self, transactional_id: str, *, timeout_ms: int, max_request_bytes: int = MAX_REQUEST_BYTES
    ) -> Transactions:
        """Return a transactional producer; it must be started with `renew`."""
        ...

    def write(self, topic: str, key: bytes, values: Mapping[int, bytes]) -> dict[int, int]:
        """Write one record to each partition in `values`; return the records' offsets, by partition.

        Raises NextclickErrors.
        """
        ...

    def admin(self) -> Admin:
        """Return an admin connection."""
        ...
