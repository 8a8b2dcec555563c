"""The in-memory cluster, as used by tests: topics and records, time, faults, and access to the logs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from worker.errors import CheckpointFailed, KafkaAway
from worker.kafka.interface import SentHeaders
from worker.kafka.memory.broker import Broker, Call, Crashed, Fault
from worker.kafka.memory.connection import MemoryConnection
from worker.kafka.memory.log import MemoryRecord, PartitionLog
from worker.kafka.memory.member import MemoryGroupMember
from worker.kafka.memory.rights import Right

_START_MS: Final = 1_700_000_000_000


class MemoryCluster:
    """An in-process Kafka cluster. Call `connect` once for each simulated client process.

    >>> cluster = MemoryCluster()
    >>> cluster.create("clicks")
    >>> producer = cluster.connect().transactions("example", timeout_ms=10_000)
    >>> producer.renew()
    >>> producer.send("clicks", 0, key=b"a", value=b"1")
    >>> [len(cluster.read("clicks", committed=committed)) for committed in (True, False)]
    [0, 1]
    >>> producer.commit("clicks", {}, "example", seconds=1)
    >>> [record.value for record in cluster.read("clicks")]
    [b'1']
    """

    def __init__(self, *, start_ms: int = _START_MS, topic_ids: bool = True) -> None:
        self._start_ms = start_ms
        self._broker = Broker(start_ms, topic_ids=topic_ids)

    def connect(self, rights: Iterable[Right] | None = None) -> MemoryConnection:
        """Return a connection of a new process, which has only these rights; None: every right."""
        connection = MemoryConnection(self._broker)
        if rights is not None:
            connection.process.rights.restrict(rights)
        return connection

    # Time

    @property
    def now_ms(self) -> int:
        """The current time in milliseconds since the epoch, which is the timestamp of new records."""
        return self._broker.now_ms

    def wall(self) -> float:
        """Return the current time in seconds since the epoch."""
        return self._broker.now_ms / 1000

    def steady(self) -> float:
        """Return the seconds since the cluster was created."""
        return (self._broker.now_ms - self._start_ms) / 1000

    def advance(self, seconds: float) -> None:
        """Advance the clock, which ends expired sessions and transactions."""
        with self._broker.lock:
            self._broker.pass_time(round(seconds * 1000))

    # Topics and records

    def create(self, topic: str, *, partitions: int = 1, settings: Mapping[str, str] | None = None) -> None:
        """Create a topic."""
        with self._broker.lock:
            self._broker.create(topic, partitions, settings or {})

    def elect_late(self, looks: int) -> None:
        """Delay leader election: topics created later have no leader in their first `looks` descriptions."""
        self._broker.looks_unled = looks

    def add_partitions(self, topic: str, total: int) -> None:
        """Increase the number of partitions of a topic to `total`."""
        with self._broker.lock:
            self._broker.add_partitions(topic, total)

    def produce(
        self,
        topic: str,
        value: bytes | None,
        *,
        key: bytes | None = None,
        partition: int = 0,
        headers: SentHeaders | None = None,
        timestamp: int | None = None,
    ) -> int:
        """Write a record as another application would; return its offset."""
        with self._broker.lock:
            return self._broker.log(topic, partition).append(
                timestamp=self.now_ms if timestamp is None else timestamp,
                key=key,
                value=value,
                headers=tuple(headers or ()),
            )

    def produce_unreadable(
        self,
        topic: str,
        data: bytes = b"\xff",
        *,
        offsets: int = 1,
        partition: int = 0,
        why: str = "its batch cannot be decoded",
    ) -> int:
        """Write undecodable `data` that occupies `offsets` offsets; return the first of these offsets."""
        with self._broker.lock:
            return self._broker.log(topic, partition).append_unreadable(
                offsets=offsets, timestamp=self.now_ms, data=data, why=why
            )

    def log(self, topic: str, partition: int = 0) -> PartitionLog:
        """Return the log of a partition."""
        return self._broker.log(topic, partition)

    def read(self, topic: str, *, committed: bool = True) -> list[MemoryRecord]:
        """Return the records of a topic, one partition after the other.

        Without `committed`, the records of open and aborted transactions are included.
        """
        with self._broker.lock:
            logs = self._broker.topics[topic].logs
            return [record for log in logs for record in log.read(log.start, log.end, committed=committed)[0]]

    def committed(self, group: str, topic: str) -> dict[int, int]:
        """Return the committed offsets of a group, by partition of `topic`."""
        with self._broker.lock:
            offsets = self._broker.group(group).offsets
            return {partition: offset for (of, partition), offset in offsets.items() if of == topic}

    def delete_before(self, topic: str, partition: int, offset: int) -> None:
        """Delete the records before `offset`, as retention does."""
        with self._broker.lock:
            self._broker.log(topic, partition).delete_before(offset)

    def delete(self, topic: str, *, with_offsets: bool = True) -> None:
        """Delete a topic and, by default, all groups' committed offsets of the topic.

        Apache Kafka deletes the offsets; some compatible brokers keep them.
        """
        with self._broker.lock:
            self._broker.delete(topic, with_offsets=with_offsets)

    def delete_offsets(self, group: str) -> None:
        """Delete all committed offsets of a group, as Kafka does after a long inactivity of the group."""
        with self._broker.lock:
            self._broker.group(group).offsets.clear()

    def compact(self, topic: str, *, tombstones: bool = False) -> None:
        """Keep only the newest record of each key; with `tombstones`, also remove records without a value."""
        with self._broker.lock:
            for log in self._broker.topics[topic].logs:
                log.compact(tombstones=tombstones)

    # Rights

    def restrict(self, connection: MemoryConnection, rights: Iterable[Right]) -> None:
        """Change the rights of a process, from its next call on."""
        with self._broker.lock:
            connection.process.rights.restrict(rights)

    # Faults

    def down(self) -> None:
        """Make the cluster unreachable until `up`: polls return nothing, other calls raise KafkaAway."""
        self._broker.away = True

    def up(self) -> None:
        """End the outage; the session timeouts of silent members restart."""
        with self._broker.lock:
            self._broker.away = False
            for one in self._broker.sessions(lambda one: one.silent_since is not None):
                one.silent_since = self.now_ms
            self._broker.pass_time(0)

    def hold_marks(self) -> None:
        """Delay the markers of commits until `write_marks`, so that commits succeed before they are visible.

        A real broker also writes the markers of a transaction after answering the commit. The next
        transaction of the same producer waits for them.
        """
        self._broker.marks_held = True

    def write_marks(self) -> None:
        """Write all delayed markers, and stop delaying."""
        with self._broker.lock:
            self._broker.marks_held = False
            self._broker.write_marks()

    def freeze(self, member: MemoryGroupMember) -> None:
        """Stop the heartbeats of a member, as SIGSTOP does; its next poll resumes them."""
        with self._broker.lock:
            session = member.session
            self._broker.silence([session] if session else [])

    def crash(self, connection: MemoryConnection) -> None:
        """End a process as kill -9 does: its members do not leave, and its transactions stay open.

        Its later calls raise Crashed, except `close` and `drop`, which do nothing.
        """
        with self._broker.lock:
            self._broker.end(connection.process)

    def fail(
        self,
        call: Call,
        error: BaseException | None = None,
        *,
        after: bool = False,
        skip: int = 0,
        times: int = 1,
        connection: MemoryConnection | None = None,
    ) -> None:
        """Make `times` calls raise `error`, after `skip` successful calls.

        The default error is KafkaAway or, within a transaction, CheckpointFailed. With `after`, a send or
        commit takes effect first, as if only the answer were lost. With `connection`, only the calls of its
        process fail. The error `Crashed` also ends the process of the call.
        """
        begun = call in ("send", "commit", "end")
        if after and call not in ("send", "commit"):
            raise ValueError(f"{call} does not support a fault after the call has taken effect")
        struck = error or (CheckpointFailed if begun else KafkaAway)(f"the test makes this {call} fail")
        process = connection.process if connection else None
        with self._broker.lock:
            self._broker.faults.append(Fault(call, struck, after, skip, times, process))

    def crash_at(
        self, call: Call, *, after: bool = False, skip: int = 0, connection: MemoryConnection | None = None
    ) -> None:
        """Crash a process in the middle of a later call (see `fail`)."""
        self.fail(call, Crashed(), after=after, skip=skip, connection=connection)

    def end_faults(self) -> None:
        """End all faults: no call fails, the cluster is reachable, and all commits are visible."""
        with self._broker.lock:
            self._broker.faults.clear()
        self.up()
        self.write_marks()
