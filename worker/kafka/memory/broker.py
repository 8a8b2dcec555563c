"""The broker side of the in-memory cluster: topics, producers, groups, time, and faults.

All methods raise kafka-python's errors, like a broker's responses. `lock` guards all state.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from kafka import errors as kafka_errors

from worker.kafka.memory.groups import Group, Session
from worker.kafka.memory.log import Outcome, PartitionLog, Transaction
from worker.kafka.memory.rights import Rights

Call = Literal["join", "poll", "renew", "send", "commit", "end"]
"""The calls that a fault can affect. `end` is the point in a commit after the offsets are added to the
transaction and before the transaction is committed."""

DEFAULTS: Final[Mapping[str, str]] = {
    "cleanup.policy": "delete",
    "delete.retention.ms": "86400000",
    "max.compaction.lag.ms": "9223372036854775807",
    "max.message.bytes": "1048588",
    "min.cleanable.dirty.ratio": "0.5",
    "retention.bytes": "-1",
    "retention.ms": "604800000",
    "segment.bytes": "1073741824",
    "segment.ms": "604800000",
}
"""Default configuration of a topic, as in Apache Kafka."""

_MAX_TRANSACTION_MS: Final = 900_000
"""Kafka's default of transaction.max.timeout.ms."""


_OVERHEAD: Final = 86
"""Size of a batch with one record, excluding key and value, in bytes."""


def record_bytes(key: bytes | None, value: bytes | None) -> int:
    """Return the approximate size of a record on the wire, in bytes."""
    return _OVERHEAD + len(key or b"") + len(value or b"")


class Crashed(BaseException):
    """Raised by all calls of a process that was ended as if by kill -9; no call reaches the cluster."""


@dataclass(slots=True)
class Topic:
    """A topic: one log per partition, and its configuration."""

    name: str
    logs: list[PartitionLog]
    settings: dict[str, str]
    id: str
    """The topic's id (KIP-516). A topic that is deleted and created again gets a new id."""
    looks_unled: int = 0
    """Number of further `describe` calls that report no leader for this topic."""


@dataclass(slots=True)
class Producer:
    """A transactional id, as known to its coordinator (KIP-98)."""

    timeout_ms: int
    epoch: int = -1
    open: Transaction | None = None
    ended: Transaction | None = None
    """A committed transaction whose markers are not written yet."""


@dataclass(slots=True)
class Fault:
    """An error that a call raises, either before or after it takes effect."""

    call: Call
    error: BaseException
    after: bool
    skip: int
    """Number of calls that succeed before the fault."""
    times: int
    process: object
    """The process whose calls fail; None for all processes."""


@dataclass(eq=False, slots=True)
class Process:
    """The client process behind a connection."""

    broker: Broker
    alive: bool = True
    rights: Rights = field(default_factory=Rights)

    def live(self) -> Broker:
        """Return the broker. Raises Crashed if the process has ended."""
        if not self.alive:
            raise Crashed
        return self.broker

    def strike(self, call: Call, *, after: bool = False) -> None:
        """Raise the error of a fault, if one is scheduled for this call."""
        if not self.broker.faults:
            return
        error = self.broker.fault(call, self, after=after)
        if isinstance(error, Crashed):
            self.broker.end(self)
        if error is not None:
            raise error


@dataclass(eq=False, slots=True)
class Broker:
    """The state of the cluster."""

    now_ms: int
    lock: threading.RLock = field(default_factory=threading.RLock)
    away: bool = False
    topics: dict[str, Topic] = field(default_factory=dict)
    producers: dict[str, Producer] = field(default_factory=dict)
    groups: dict[str, Group] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    topic_ids: bool = True
    """Whether topics have ids; brokers before Kafka 2.8 and some compatible brokers have none."""
    looks_unled: int = 0
    """Number of `describe` calls that report no leader for a topic after its creation."""
    marks_held: bool = False
    """Whether the markers of a commit are delayed until the producer's next transaction or `write_marks`."""
    _names: int = 0

    def reach(self) -> None:
        """Raise KafkaConnectionError while the cluster is unreachable."""
        if self.away:
            raise kafka_errors.KafkaConnectionError("the cluster is down")

    def fault(self, call: Call, process: Process, *, after: bool) -> BaseException | None:
        """Update the faults that affect this call; return the error that the call must raise, or None."""
        for fault in self.faults:
            if (fault.call, fault.after) != (call, after) or fault.process not in (None, process):
                continue
            if fault.skip:
                fault.skip -= 1
                continue
            fault.times -= 1
            if not fault.times:
                self.faults.remove(fault)
            return fault.error
        return None

    def log(self, topic: str, partition: int) -> PartitionLog:
        """Return the log of a partition. Raises UnknownTopicOrPartitionError."""
        found = self.topics.get(topic)
        if found is None or not 0 <= partition < len(found.logs):
            raise kafka_errors.UnknownTopicOrPartitionError(f"partition {partition} of topic {topic}")
        return found.logs[partition]

    def written(self, topic: str, partition: int) -> PartitionLog:
        """Return the log of a partition for a write; if there is none, raise the error that a client raises.

        The error is KafkaTimeoutError if the topic does not exist, because a client waits for the topic. It
        is ValueError if the partition does not exist.
        """
        found = self.topics.get(topic)
        if found is None:
            raise kafka_errors.KafkaTimeoutError(f"there is no topic {topic}")
        if not 0 <= partition < len(found.logs):
            raise ValueError(f"Unrecognized partition {partition} for topic {topic}")
        return found.logs[partition]

    def append(
        self,
        log: PartitionLog,
        *,
        key: bytes | None,
        value: bytes | None,
        headers: tuple[tuple[str, bytes | None], ...] = (),
        transaction: Transaction | None = None,
    ) -> int:
        """Write a record; return its offset. Raises MessageSizeTooLargeError, InvalidRecordError."""
        settings = self.topics[log.topic].settings
        size, limit = record_bytes(key, value), int(settings["max.message.bytes"])
        if size > limit:
            raise kafka_errors.MessageSizeTooLargeError(f"a record of {size} bytes is larger than {limit}")
        if key is None and "compact" in settings["cleanup.policy"]:
            raise kafka_errors.InvalidRecordError(f"compacted topic {log.topic}: a record without a key")
        return log.append(
            timestamp=self.now_ms, key=key, value=value, headers=headers, transaction=transaction
        )

    def partitions(self, topic: str) -> int:
        """Return the number of partitions of a topic; 0 if the topic does not exist."""
        found = self.topics.get(topic)
        return len(found.logs) if found else 0

    def create(self, topic: str, partitions: int, settings: Mapping[str, str]) -> None:
        """Create a topic. Raises TopicAlreadyExistsError."""
        if topic in self.topics:
            raise kafka_errors.TopicAlreadyExistsError(topic)
        logs = [PartitionLog(topic, number) for number in range(partitions)]
        settings = {**DEFAULTS, **settings}
        self.topics[topic] = Topic(topic, logs, settings, self.new_name("topic"), self.looks_unled)

    def delete(self, topic: str, *, with_offsets: bool) -> None:
        """Delete a topic and, with `with_offsets`, all groups' committed offsets of the topic."""
        del self.topics[topic]
        for group in self.groups.values() if with_offsets else ():
            group.offsets = {at: offset for at, offset in group.offsets.items() if at[0] != topic}

    def led(self, topic: str) -> bool:
        """Return whether a topic has leaders; each call counts towards the end of a delayed election."""
        found = self.topics.get(topic)
        if found is None or not found.looks_unled:
            return True
        found.looks_unled -= 1
        return False

    def topic_id(self, topic: str) -> str:
        """Return the id of a topic; empty if the topic does not exist, or the broker has no ids."""
        return self.topics[topic].id if self.topic_ids and topic in self.topics else ""

    def add_partitions(self, topic: str, total: int) -> None:
        """Add partitions to a topic. Raises UnknownTopicOrPartitionError, InvalidPartitionsError."""
        if topic not in self.topics:
            raise kafka_errors.UnknownTopicOrPartitionError(topic)
        logs = self.topics[topic].logs
        if total <= len(logs):
            raise kafka_errors.InvalidPartitionsError(f"topic {topic} has {len(logs)} partitions")
        logs += [PartitionLog(topic, number) for number in range(len(logs), total)]

    def group(self, name: str) -> Group:
        """Return a group, which is created empty if it does not exist."""
        return self.groups.setdefault(name, Group(name))

    def new_name(self, begin: str) -> str:
        """Return a unique name that starts with `begin`, for example for a member or a topic."""
        self._names += 1
        return f"{begin}-{self._names}"

    def sessions(self, belongs: Callable[[Session], bool]) -> list[Session]:
        """Return the members of all groups for which `belongs` holds."""
        return [one for group in self.groups.values() for one in group.members.values() if belongs(one)]

    def end(self, process: Process) -> None:
        """End a process as kill -9 does: it sends nothing more, and does not leave its groups."""
        process.alive = False
        self.silence(self.sessions(lambda one: one.process is process))

    def silence(self, sessions: Collection[Session]) -> None:
        """Stop the heartbeats of members."""
        for one in sessions:
            if one.silent_since is None:
                one.silent_since = self.now_ms

    def init_producer(self, transactional_id: str, timeout_ms: int) -> int:
        """Abort the open transaction of a transactional id, fence its producer, and return the new epoch."""
        self.reach()
        if timeout_ms > _MAX_TRANSACTION_MS:
            raise kafka_errors.InvalidTransactionTimeoutError
        producer = self.producers.setdefault(transactional_id, Producer(timeout_ms))
        producer.timeout_ms = timeout_ms
        self._fence(producer)
        return producer.epoch

    def transaction(self, transactional_id: str, epoch: int) -> Transaction:
        """Return the open transaction of a producer, or begin one.

        Raises ProducerFencedError if the epoch is not the newest.
        """
        self.reach()
        producer = self.producers[transactional_id]
        if producer.epoch != epoch:
            raise kafka_errors.ProducerFencedError(f"{transactional_id} has a newer epoch than {epoch}")
        if producer.open is None:
            self._mark(producer)
            producer.open = Transaction(self.now_ms)
        return producer.open

    def add_offsets(self, transaction: Transaction, offsets: Mapping[tuple[str, int], int], by: Any) -> None:
        """Add a group's offsets to a transaction. `by`: a member's metadata, or a group id (KIP-447)."""
        group = self.group(by if isinstance(by, str) else by.group_id)
        group.check(by)
        for at, offset in offsets.items():
            self.log(*at)
            transaction.offsets[(group.name, *at)] = offset
            group.pending.setdefault(at, set()).add(transaction)

    def commit(self, transactional_id: str) -> None:
        """Commit the open transaction of a producer. It becomes visible once its markers are written."""
        producer = self.producers[transactional_id]
        producer.open, producer.ended = None, producer.open
        if not self.marks_held:
            self._mark(producer)

    def write_marks(self) -> None:
        """Write all delayed markers."""
        for producer in self.producers.values():
            self._mark(producer)

    def pass_time(self, ms: int) -> None:
        """Advance the clock; abort expired transactions and remove expired members.

        Nothing expires while the cluster is unreachable.
        """
        self.now_ms += ms
        if self.away:
            return
        for producer in self.producers.values():
            if producer.open and self.now_ms - producer.open.began_ms >= producer.timeout_ms:
                self._fence(producer)
        for group in self.groups.values():
            group.expire(self.now_ms)

    def _fence(self, producer: Producer) -> None:
        self._mark(producer)
        if producer.open is not None:
            self._end(producer.open, Outcome.ABORTED)
        producer.open = None
        producer.epoch += 1

    def _mark(self, producer: Producer) -> None:
        if producer.ended is not None:
            self._end(producer.ended, Outcome.COMMITTED)
        producer.ended = None

    def _end(self, transaction: Transaction, outcome: Outcome) -> None:
        transaction.outcome = outcome
        # Sorted, so that every run writes the same logs.
        for log in sorted(transaction.logs, key=lambda log: (log.topic, log.partition)):
            log.mark(transaction)
        for (group, topic, partition), offset in transaction.offsets.items():
            self.groups[group].pending[topic, partition].discard(transaction)
            if outcome is Outcome.COMMITTED:
                self.groups[group].offsets[topic, partition] = offset
