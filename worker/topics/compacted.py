"""The topics of items and of rules: compacted, keyed by item id or name. Applications write them.

Every worker reads all of them. A record describes one item (`worker.core.item_record`), or one rule
(`worker.core.rule_record`); a record without a value says that it is gone. All records with the same key must
be in one partition, as Kafka's default partitioners see to.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from typing import Generic, NamedTuple, Protocol, Self, TypeVar

from worker.core.paths import Headers
from worker.core.reasons import BadRecord, Reason
from worker.errors import RegistryAway
from worker.kafka import history
from worker.kafka.interface import Connection, Record, TopicPartition
from worker.topics.clicks import Invalid

F_co = TypeVar("F_co", covariant=True)
C = TypeVar("C", bound=tuple[str, object])
"""A change: a key, and what it stands for; None: it is gone."""


class Decoder(Protocol[F_co]):
    """A decoder of records."""

    def decode(self, value: bytes | None, key: bytes | None, headers: Headers = ()) -> F_co:
        """Return the change in a record, or why it is refused. Bad bytes never raise an error."""
        ...


class Batch(NamedTuple, Generic[C]):
    """Some records: the changes, in their order, and the records that are refused."""

    changes: list[C]
    bad: list[Invalid]


def decoded(record: Record, decoder: Decoder[F_co]) -> F_co | Reason:
    """Return what `decoder` finds in a record. Raises the errors of its `parse`."""
    if record.unreadable is not None:
        return Reason.UNREADABLE
    return decoder.decode(record.value, record.key, record.headers)


class CompactedReader(Generic[C]):
    """Follows all partitions of a topic from their beginning. It has no consumer group.

    `what`: what the topic describes, for messages.
    """

    def __init__(
        self,
        connection: Connection,
        decoder: Decoder[C | Reason | BadRecord],
        *,
        topic: str,
        what: str = "items",
    ) -> None:
        self._connection = connection
        self._decoder = decoder
        self.topic = topic
        self.what = what
        self._partitions: set[int] = set()
        self._ends: dict[TopicPartition, int] = {}
        """The ends that the partitions had when they were opened, unless they have been reached."""
        self._polled: deque[Record] = deque()
        """The records of the last poll that are not decoded yet."""

    @contextmanager
    def opened(self) -> Iterator[Self]:
        """Open a connection, at the beginning of the topic, for the duration of the context.

        Raises KafkaAway, NotAllowed, TopicError.
        """
        self._partitions, self._polled = set(), deque()
        with self._errors():
            reader = self._reader = self._connection.reader(f"nextclick-{self.what}", fetch=history.FETCH)
        with closing(reader):
            with self._errors():
                self._assign()
                if not self._partitions:
                    raise history.absence(self._connection, self.topic)
                every = [TopicPartition(self.topic, partition) for partition in self._partitions]
                self._ends = reader.ends(every)
            yield self

    def read(self, *, timeout_ms: int = 0) -> Batch[C]:
        """Return the next records, waiting up to `timeout_ms` for the first.

        Raises KafkaAway, NotAllowed, TopicError, and RegistryAway, RegistryRefused if a schema is needed to
        decode the next record; then no record is lost.
        """
        if not self._polled:
            with self._errors():
                self._assign()
                polled = self._reader.poll(timeout_ms)
            self._polled.extend(record for records in polled.values() for record in records)
        batch = Batch[C]([], [])
        while self._polled:
            record = self._polled[0]
            try:
                found = decoded(record, self._decoder)
            except RegistryAway:
                if batch.changes or batch.bad:
                    break
                raise
            self._polled.popleft()
            if isinstance(found, Reason):
                batch.bad.append(Invalid(record, found))
            elif isinstance(found, BadRecord):
                batch.bad.append(Invalid(record, found.reason, found.why))
            else:
                batch.changes.append(found)
        return batch

    def left(self) -> int:
        """Return the number of records, at most, between this reader and the ends that it found at first.

        Raises KafkaAway, NotAllowed, TopicError.
        """
        with self._errors():
            places = {at: self._reader.position(at) for at in self._ends}
        self._ends = {at: end for at, end in self._ends.items() if places[at] < end}
        return sum(end - places[at] for at, end in self._ends.items()) + len(self._polled)

    def _assign(self) -> None:
        """Read the partitions that the topic has; it may have got more of them."""
        there = self._reader.partitions(self.topic)
        if not there <= self._partitions:
            self._partitions |= there
            self._reader.assign([TopicPartition(self.topic, one) for one in sorted(self._partitions)])

    def _errors(self) -> AbstractContextManager[None]:
        return self._connection.errors(f"read the {self.what} topic {self.topic}")
