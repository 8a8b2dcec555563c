"""The topic of items: compacted, keyed by item id. Applications write it; every worker reads all of it.

A record describes one item (`worker.core.item_record`); a record without a value says that the item is gone.
All records of an item must be in one partition, as Kafka's default partitioners see to.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from typing import NamedTuple, Self

from worker.core.item_record import ItemDecoder
from worker.core.known_items import Change
from worker.core.reasons import Reason
from worker.errors import RegistryAway
from worker.kafka import history
from worker.kafka.interface import Connection, Record, TopicPartition
from worker.topics.clicks import Invalid


class Batch(NamedTuple):
    """Some records: the descriptions of items, in their order, and the records that are refused."""

    changes: list[Change]
    bad: list[Invalid]


def decoded(record: Record, decoder: ItemDecoder) -> Change | Reason:
    """Return the description in a record, or the reason of a bad record. Raises the errors of `parse`."""
    if record.unreadable is not None:
        return Reason.UNREADABLE
    return decoder.decode(record.value, record.key, record.headers)


class ItemReader:
    """Follows all partitions of the topic from their beginning. It has no consumer group."""

    def __init__(self, connection: Connection, decoder: ItemDecoder, *, topic: str) -> None:
        self._connection = connection
        self._decoder = decoder
        self.topic = topic
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
            reader = self._reader = self._connection.reader("nextclick-items", fetch=history.FETCH)
        with closing(reader):
            with self._errors():
                self._assign()
                if not self._partitions:
                    raise history.absence(self._connection, self.topic)
                every = [TopicPartition(self.topic, partition) for partition in self._partitions]
                self._ends = reader.ends(every)
            yield self

    def read(self, *, timeout_ms: int = 0) -> Batch:
        """Return the next records, waiting up to `timeout_ms` for the first.

        Raises KafkaAway, NotAllowed, TopicError, and RegistryAway, RegistryRefused if a schema is needed to
        decode the next record; then no record is lost.
        """
        if not self._polled:
            with self._errors():
                self._assign()
                polled = self._reader.poll(timeout_ms)
            self._polled.extend(record for records in polled.values() for record in records)
        batch = Batch([], [])
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
        return self._connection.errors(f"read the items topic {self.topic}")
