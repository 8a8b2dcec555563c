"""The seam to Kafka: all that the rest of the code asks of a cluster.

`worker.kafka.connection` answers with kafka-python, `worker.kafka.memory` with a cluster in this process
that tests run on. One suite of laws, `tests/worker/kafka`, holds both to the same behaviour.

Every call may raise KafkaAway (try again), NotAllowed and TopicError (`worker.errors`), inside
`Connection.errors` where a class does not say that it translates by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Protocol

from kafka.structs import TopicPartition

__all__ = [
    "ANSWER_MS",
    "FETCH_MAX_WAIT_MS",
    "MAX_BATCH",
    "Admin",
    "Connection",
    "GroupMember",
    "Headers",
    "Member",
    "Reader",
    "Record",
    "TopicInfo",
    "TopicPartition",
    "Transactions",
    "Unreadable",
]

MAX_BATCH: Final = 4_000
"""The most records that a member's poll brings."""

ANSWER_MS: Final = 5_000
"""The time that a broker may take to answer a question before it counts as away."""

FETCH_MAX_WAIT_MS: Final = 500
"""The time that a fetch may wait for a record. Kafka answers with the first; some compatible brokers only
when this time is over, and need a short one."""

MAX_REQUEST_BYTES: Final = 1_048_576
"""The largest request of a producer."""

Headers = list[tuple[str, bytes]]


class Unreadable(NamedTuple):
    """Why a record, or all of a stretch of offsets, cannot be read, and is nothing but its bytes."""

    first: int
    """The first offset of the stretch; the record's own offset is the last."""
    why: str


class Record(Protocol):
    """Bytes from Kafka, and where they stand.

    One that is unreadable has the bytes of the stretch as its value, no key and no headers. The next record
    after the stretch has the offset after its own.
    """

    @property
    def topic(self) -> str: ...  # noqa: D102
    @property
    def partition(self) -> int: ...  # noqa: D102
    @property
    def offset(self) -> int: ...  # noqa: D102
    @property
    def timestamp(self) -> int:
        """Milliseconds since the epoch."""
        ...

    @property
    def key(self) -> bytes | None: ...  # noqa: D102
    @property
    def value(self) -> bytes | None: ...  # noqa: D102
    @property
    def headers(self) -> Sequence[tuple[str, bytes | None]]: ...  # noqa: D102
    @property
    def unreadable(self) -> Unreadable | None:
        """Why it cannot be read; None for a record like others."""
        ...


class Reader(Protocol):
    """A consumer that no group assigns anything: it reads the partitions that it is given.

    A reader of committed records sees none of a transaction that is open or was aborted, and stops before
    the first open one.
    """

    def assign(self, partitions: Collection[TopicPartition]) -> None:
        """Read these partitions and no others; those that it read before keep their positions."""

    def seek(self, at: TopicPartition, offset: int) -> None:
        """Read an assigned partition from `offset` on; from its first record where that is gone."""

    def pause(self, partitions: Collection[TopicPartition]) -> None:
        """Read no more of some assigned partitions."""

    def poll(self, timeout_ms: int) -> Mapping[TopicPartition, Sequence[Record]]:
        """Return the next records by partition, in order; empty where none came in `timeout_ms`."""
        ...

    def position(self, at: TopicPartition, *, timeout_ms: int = ANSWER_MS) -> int:
        """Return the next offset to be read: past the marks of transactions, too. 0 where it is not known."""
        ...

    def begins(self, partitions: Collection[TopicPartition]) -> dict[TopicPartition, int]:
        """Return the first offset that each partition still has."""
        ...

    def ends(self, partitions: Collection[TopicPartition]) -> dict[TopicPartition, int]:
        """Return each high-water mark; for a reader of committed records the last stable offset."""
        ...

    def committed(self, at: TopicPartition, *, timeout_ms: int = ANSWER_MS) -> int | None:
        """Return the offset that the reader's group has committed; None if it has none.

        A reader of committed records raises NotStable while a transaction that may change it is open.
        """
        ...

    def partitions(self, topic: str) -> set[int]:
        """Return the numbers of a topic's partitions; none where there is no such topic."""
        ...

    def close(self) -> None:
        """Drop the connection."""


class GroupMember(Protocol):
    """A membership in a consumer group. `join` comes first, `close` last. Raises our errors by itself."""

    @property
    def topic(self) -> str:
        """The topic whose partitions the group shares."""
        ...

    def join(self, on_revoked: Callable[[Collection[int]], None]) -> None:
        """Connect and subscribe. Assigned partitions are not read before `begin` says from where.

        `on_revoked` is called with the partitions that are about to go, inside `poll`, perhaps on another
        thread, before the group moves on (rule b): it must commit what is pending.
        """

    @property
    def joined(self) -> bool:
        """Whether this member knows its partitions; it may have none."""
        ...

    @property
    def metadata(self) -> Any:
        """The group metadata to commit under: stale, and so refused, after this member was thrown out."""
        ...

    def poll(self, timeout_ms: int, at_most: int = MAX_BATCH) -> list[Record]:
        """Return the next records, those of one partition together and in order."""
        ...

    def assigned(self) -> set[int]:
        """Return the partitions that the group gave this member."""
        ...

    @property
    def lost(self) -> bool:
        """Whether partitions were lost, without a chance to commit, since `take_lost` was last called."""
        ...

    def take_lost(self) -> set[int]:
        """Return the partitions that were lost since the last call."""
        ...

    def hold(self, partitions: Collection[int]) -> None:
        """Read no more of some assigned partitions before `begin`."""

    def begin(self, partition: int, offset: int) -> None:
        """Read an assigned partition from `offset` on; from its first record where that is gone."""

    def position(self, partition: int) -> int:
        """Return the next offset of an assigned partition; 0 if it is not known."""
        ...

    def lag(self) -> dict[int, int]:
        """Return how many records are still to be read, of each partition that is; asks the broker.

        Those that are held, or whose position is not known, are left out. Deleted records do not count.
        """
        ...

    def close(self, *, seconds: float) -> None:
        """Leave the group, so that others take over at once; does nothing before `join`."""


class Transactions(Protocol):
    """One producer under one transactional id; a transaction begins with the first record sent.

    Raises our errors by itself. After any failure the producer must not be used before `renew` (rule c).
    """

    def renew(self) -> None:
        """Start over: abort what any producer left open under this id, and fence that producer."""

    def send(
        self,
        topic: str,
        partition: int,
        *,
        key: bytes | None,
        value: bytes | None,
        headers: Headers | None = None,
    ) -> None:
        """Add a record to the transaction. Raises TopicError (no such partition), CheckpointFailed."""

    def commit(self, topic: str, offsets: Mapping[int, int], group: Any, *, seconds: float) -> None:
        """Commit all that was sent, and `offsets` (partition of `topic` -> next offset) for `group`.

        `group` is the metadata of a member, or the id of a group without members. Raises CheckpointFailed
        (also where the metadata is stale), NotAllowed.
        """

    def drop(self) -> None:
        """Close the producer; an uncommitted transaction will be aborted."""


@dataclass(frozen=True, slots=True)
class TopicInfo:
    """A topic as the broker describes it."""

    partitions: int
    """0 where there is no such topic."""
    visible: bool = True
    """Whether we may see it."""
    rights: frozenset[str] | None = None
    """The operations that we may do with it, in Kafka's words; None if the broker does not say."""
    id: str = ""
    """Another one once it was deleted and created again (KIP-516); empty where the broker does not say."""
    led: bool = True
    """Whether every partition has a leader."""


@dataclass(frozen=True, slots=True)
class Member:
    """A member of a consumer group, and the partitions of the topic asked for that it has."""

    client_id: str
    host: str
    member_id: str
    partitions: frozenset[int]


class Admin(Protocol):
    """A connection for looking at topics and groups, and for making topics. Raises our errors by itself."""

    def describe(self, topics: Collection[str]) -> dict[str, TopicInfo]:
        """Return each topic as it is, those too that do not exist."""
        ...

    def create(self, topic: str, *, partitions: int, replication: int, settings: Mapping[str, str]) -> bool:
        """Create a topic; return False if another client just did."""
        ...

    def add_partitions(self, topic: str, *, total: int) -> None:
        """Add partitions to a topic, up to `total`."""

    def everywhere(self, topics: Collection[str]) -> list[dict[str, TopicInfo]]:
        """Return each topic as every broker of the cluster knows it at the moment."""
        ...

    def settings(self, topic: str) -> Mapping[str, str]:
        """Return the settings of a topic, defaults too."""
        ...

    def members(self, group: str, *, topic: str) -> list[Member]:
        """Return who is in a consumer group, and which partitions of `topic` each has."""
        ...

    def group_rights(self, group: str) -> frozenset[str] | None:
        """Return what we may do with a group; None if the broker does not say. Raises NotAllowed."""
        ...

    def close(self) -> None:
        """Drop the connection."""


class Connection(Protocol):
    """A way to a cluster: makes everything that talks to it."""

    @property
    def bootstrap_servers(self) -> str:
        """The addresses of the brokers, for messages."""
        ...

    def errors(self, doing: str) -> AbstractContextManager[None]:
        """Raise the client's errors inside the context as ours; `doing` begins their text."""
        ...

    def reader(
        self,
        client_id: str,
        *,
        group: str | None = None,
        committed: bool = True,
        fetch: Mapping[str, int] | None = None,
    ) -> Reader:
        """Return a reader; `group` is the one whose committed offsets it can ask for.

        `fetch` are kafka-python's arguments on how much is fetched at a time.
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
    ) -> GroupMember:
        """Return a membership of a group that shares the partitions of `topic`; it has not joined yet."""
        ...

    def transactions(
        self, transactional_id: str, *, timeout_ms: int, max_request_bytes: int = MAX_REQUEST_BYTES
    ) -> Transactions:
        """Return a transactional producer; it is not started before `renew`."""
        ...

    def write(self, topic: str, key: bytes, values: Mapping[int, bytes]) -> dict[int, int]:
        """Write one record into each partition in `values`; return the offset of each. Raises our errors."""
        ...

    def admin(self) -> Admin:
        """Return a connection for administration."""
        ...
