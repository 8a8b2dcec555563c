"""The other side of the wire: topics, producers, groups, time; and faults.

Every method raises kafka-python's errors, as a broker's answers do. `lock` guards all of it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from kafka import errors as kafka_errors

from worker.kafka.memory.groups import Group, Session
from worker.kafka.memory.log import Outcome, PartitionLog, Transaction

Call = Literal["join", "poll", "renew", "send", "commit", "end"]
"""The calls that a fault may strike. `end` is inside a commit: its offsets are added, it is open."""

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
"""The settings of a topic that has none of its own, as Apache Kafka has them."""


_OVERHEAD: Final = 86
"""Bytes of a batch with one small record, without key and value."""


def record_bytes(key: bytes | None, value: bytes | None) -> int:
    """Return about how large a record is on the wire."""
    return _OVERHEAD + len(key or b"") + len(value or b"")


class Crashed(BaseException):
    """Raised in a process that has ended, as by kill -9: nothing that it does reaches the cluster."""


@dataclass(slots=True)
class Topic:
    """A topic: one log for each partition, and its settings."""

    name: str
    logs: list[PartitionLog]
    settings: dict[str, str]
    id: str
    """Another for every topic that was ever created (KIP-516)."""
    looks_unled: int = 0
    """The number of looks at it that find no leader yet."""


@dataclass(slots=True)
class Producer:
    """A transactional id as its coordinator knows it (KIP-98)."""

    timeout_ms: int
    epoch: int = -1
    open: Transaction | None = None
    ended: Transaction | None = None
    """Was committed, and has no marks yet."""


@dataclass(slots=True)
class Fault:
    """An error that a call raises, before it takes effect or after it has."""

    call: Call
    error: BaseException
    after: bool
    skip: int
    """The number of calls that it lets pass."""
    times: int
    process: object
    """The connection whose calls fail; None for all."""


@dataclass(eq=False, slots=True)
class Process:
    """The process behind one connection."""

    broker: Broker
    alive: bool = True

    def live(self) -> Broker:
        """Return the broker. Raises Crashed in a process that has ended."""
        if not self.alive:
            raise Crashed
        return self.broker

    def strike(self, call: Call, *, after: bool = False) -> None:
        """Raise the error of the fault that is due now, if there is one."""
        if not self.broker.faults:
            return
        error = self.broker.fault(call, self, after=after)
        if isinstance(error, Crashed):
            self.broker.end(self)
        if error is not None:
            raise error


@dataclass(eq=False, slots=True)
class Broker:
    """A cluster as its clients see it."""

    now_ms: int
    lock: threading.RLock = field(default_factory=threading.RLock)
    away: bool = False
    topics: dict[str, Topic] = field(default_factory=dict)
    producers: dict[str, Producer] = field(default_factory=dict)
    groups: dict[str, Group] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    topic_ids: bool = True
    """Whether it has ids of topics, which brokers before Kafka 2.8 and some compatible ones have not."""
    looks_unled: int = 0
    """The number of looks at a new topic that find no leader yet."""
    marks_held: bool = False
    """Whether the marks of a commit wait until the producer's next transaction, or until they are written."""
    _names: int = 0

    def reach(self) -> None:
        """Raise KafkaConnectionError while the cluster is away."""
        if self.away:
            raise kafka_errors.KafkaConnectionError("the cluster is down")

    def fault(self, call: Call, process: Process, *, after: bool) -> BaseException | None:
        """Return the error that is due at a call, and count the call."""
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
        """Return the log that a client writes to or asks about.

        Raises KafkaTimeoutError if there is no such topic: the client waits for it; ValueError where the
        topic has no such partition.
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
        """Return how many partitions a topic has; 0 if there is no such topic."""
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
        """Delete a topic, and the offsets that groups have committed there."""
        del self.topics[topic]
        for group in self.groups.values() if with_offsets else ():
            group.offsets = {at: offset for at, offset in group.offsets.items() if at[0] != topic}

    def led(self, topic: str) -> bool:
        """Return whether a topic has leaders, and count the look at it."""
        found = self.topics.get(topic)
        if found is None or not found.looks_unled:
            return True
        found.looks_unled -= 1
        return False

    def topic_id(self, topic: str) -> str:
        """Return the id of a topic; empty if there is no such topic, or the broker has none."""
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
        """Return a group; one that nobody has used is empty."""
        return self.groups.setdefault(name, Group(name))

    def new_name(self, begin: str) -> str:
        """Return a name that nothing else has had, such as the id of a member or a topic."""
        self._names += 1
        return f"{begin}-{self._names}"

    def sessions(self, belongs: Callable[[Session], bool]) -> list[Session]:
        """Return the members of all groups for which `belongs` holds."""
        return [one for group in self.groups.values() for one in group.members.values() if belongs(one)]

    def end(self, process: Process) -> None:
        """End a process as kill -9 does: it sends nothing more, and leaves no group."""
        process.alive = False
        self.silence(self.sessions(lambda one: one.process is process))

    def silence(self, sessions: Collection[Session]) -> None:
        """Stop the heartbeats of members."""
        for one in sessions:
            if one.silent_since is None:
                one.silent_since = self.now_ms

    def init_producer(self, transactional_id: str, timeout_ms: int) -> int:
        """Abort what is open under an id, fence who opened it, and return the new epoch."""
        self.reach()
        producer = self.producers.setdefault(transactional_id, Producer(timeout_ms))
        producer.timeout_ms = timeout_ms
        self._fence(producer)
        return producer.epoch

    def transaction(self, transactional_id: str, epoch: int) -> Transaction:
        """Return the open transaction of a producer; begin one where there is none.

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
        """Add a group's offsets to a transaction, under the metadata `by` (KIP-447)."""
        group = self.group(by if isinstance(by, str) else by.group_id)
        group.check(by)
        for at, offset in offsets.items():
            self.log(*at)
            transaction.offsets[(group.name, *at)] = offset
            group.pending.setdefault(at, set()).add(transaction)

    def commit(self, transactional_id: str) -> None:
        """Commit the open transaction of a producer. It is visible when the marks are written."""
        producer = self.producers[transactional_id]
        producer.open, producer.ended = None, producer.open
        if not self.marks_held:
            self._mark(producer)

    def write_marks(self) -> None:
        """Write all marks that are held."""
        for producer in self.producers.values():
            self._mark(producer)

    def pass_time(self, ms: int) -> None:
        """Move the time; abort transactions and throw out members that are over their limits.

        Nothing runs out while the cluster is away.
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
        # In the order of the names, so that every run writes the same logs.
        for log in sorted(transaction.logs, key=lambda log: (log.topic, log.partition)):
            log.mark(transaction)
        for (group, topic, partition), offset in transaction.offsets.items():
            self.groups[group].pending[topic, partition].discard(transaction)
            if outcome is Outcome.COMMITTED:
                self.groups[group].offsets[topic, partition] = offset
