"""The cluster as a test holds it: topics and records, time, faults, and looks into the logs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from worker.errors import CheckpointFailed, KafkaAway
from worker.kafka.interface import Headers
from worker.kafka.memory.broker import Broker, Call, Crashed, Fault
from worker.kafka.memory.connection import MemoryConnection
from worker.kafka.memory.log import MemoryRecord, PartitionLog
from worker.kafka.memory.member import MemoryGroupMember

_START_MS: Final = 1_700_000_000_000


class MemoryCluster:
    """A Kafka cluster in this process. `connect` once for each process that a test has.

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

    def connect(self) -> MemoryConnection:
        """Return a connection of a process of its own."""
        return MemoryConnection(self._broker)

    # Time

    @property
    def now_ms(self) -> int:
        """Milliseconds since the epoch: the timestamp of what is written."""
        return self._broker.now_ms

    def wall(self) -> float:
        """Return the seconds since the epoch."""
        return self._broker.now_ms / 1000

    def steady(self) -> float:
        """Return the seconds since the cluster was made."""
        return (self._broker.now_ms - self._start_ms) / 1000

    def advance(self, seconds: float) -> None:
        """Advance the clock: sessions and transactions that are over their limits end."""
        with self._broker.lock:
            self._broker.pass_time(round(seconds * 1000))

    # Topics and records

    def create(self, topic: str, *, partitions: int = 1, settings: Mapping[str, str] | None = None) -> None:
        """Create a topic."""
        with self._broker.lock:
            self._broker.create(topic, partitions, settings or {})

    def elect_late(self, looks: int) -> None:
        """Let topics that are created from now on have no leader for the first `looks` at them."""
        self._broker.looks_unled = looks

    def add_partitions(self, topic: str, total: int) -> None:
        """Add partitions to a topic, up to `total`."""
        with self._broker.lock:
            self._broker.add_partitions(topic, total)

    def produce(
        self,
        topic: str,
        value: bytes | None,
        *,
        key: bytes | None = None,
        partition: int = 0,
        headers: Headers | None = None,
        timestamp: int | None = None,
    ) -> int:
        """Write a record as another application's producer; return its offset."""
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
        """Write `data`, which no client can decode, for that many offsets; return the first one."""
        with self._broker.lock:
            return self._broker.log(topic, partition).append_unreadable(
                offsets=offsets, timestamp=self.now_ms, data=data, why=why
            )

    def log(self, topic: str, partition: int = 0) -> PartitionLog:
        """Return the log of a partition: where it starts and ends, what is stable."""
        return self._broker.log(topic, partition)

    def read(self, topic: str, *, committed: bool = True) -> list[MemoryRecord]:
        """Return the records of a topic, partition by partition; without `committed` all that are there."""
        with self._broker.lock:
            logs = self._broker.topics[topic].logs
            return [record for log in logs for record in log.read(log.start, log.end, committed=committed)[0]]

    def committed(self, group: str, topic: str) -> dict[int, int]:
        """Return the offsets that a group has committed, by partition of `topic`."""
        with self._broker.lock:
            offsets = self._broker.group(group).offsets
            return {partition: offset for (of, partition), offset in offsets.items() if of == topic}

    def delete_before(self, topic: str, partition: int, offset: int) -> None:
        """Delete the records before `offset`, as retention does."""
        with self._broker.lock:
            self._broker.log(topic, partition).delete_before(offset)

    def delete(self, topic: str, *, with_offsets: bool = True) -> None:
        """Delete a topic, and unless asked not to the offsets that groups have committed there.

        Apache Kafka deletes them; some brokers that are compatible with it keep them.
        """
        with self._broker.lock:
            self._broker.delete(topic, with_offsets=with_offsets)

    def delete_offsets(self, group: str) -> None:
        """Delete all that a group has committed, as happens to one that was away for long."""
        with self._broker.lock:
            self._broker.group(group).offsets.clear()

    def compact(self, topic: str, *, tombstones: bool = False) -> None:
        """Keep the newest record of each key alone; with `tombstones` those without a value go too."""
        with self._broker.lock:
            for log in self._broker.topics[topic].logs:
                log.compact(tombstones=tombstones)

    # Faults

    def down(self) -> None:
        """Cut the cluster off, until `up`. Polls bring nothing; questions raise KafkaAway."""
        self._broker.away = True

    def up(self) -> None:
        """End the outage. The sessions of members begin with it."""
        with self._broker.lock:
            self._broker.away = False
            for one in self._broker.sessions(lambda one: one.silent_since is not None):
                one.silent_since = self.now_ms
            self._broker.pass_time(0)

    def hold_marks(self) -> None:
        """Answer commits before they are visible, until `write_marks`.

        As a broker does: it writes the marks of a transaction when it has promised them. The next transaction
        of the same producer waits for them.
        """
        self._broker.marks_held = True

    def write_marks(self) -> None:
        """Write the marks that are held, and hold no more."""
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
        """Make calls raise `error`: the next `times` after `skip` others.

        By default KafkaAway, and CheckpointFailed where a transaction has begun. `after` raises it when a
        send or a commit has taken effect: the answer is lost. `connection` strikes one process alone. A
        `Crashed` ends the process that it strikes.
        """
        begun = call in ("send", "commit", "end")
        if after and call not in ("send", "commit"):
            raise ValueError(f"a fault can only come before {call}")
        struck = error or (CheckpointFailed if begun else KafkaAway)(f"the test lets this {call} fail")
        process = connection.process if connection else None
        with self._broker.lock:
            self._broker.faults.append(Fault(call, struck, after, skip, times, process))

    def crash_at(
        self, call: Call, *, after: bool = False, skip: int = 0, connection: MemoryConnection | None = None
    ) -> None:
        """Crash the process of a later call in the middle of that call: see `fail`."""
        self.fail(call, Crashed(), after=after, skip=skip, connection=connection)

    def end_faults(self) -> None:
        """End all faults: no call fails, the cluster answers, and answered commits are visible."""
        with self._broker.lock:
            self._broker.faults.clear()
        self.up()
        self.write_marks()
