"""The topic of releases: one partition, compacted. The trainer writes it; every worker reads it all.

A release is its chunks and, last, its manifest (`worker.core.release`); the pointers `@champion`
and `@candidate` say which one serves. All records of a publication stand in one transaction, so a
release is there as a whole or not at all.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Final, Self

from kafka import KafkaConsumer, TopicPartition

from worker.core.manifest import Manifest
from worker.core.release import (
    Record,
    Release,
    champion,
    from_records,
    numbers,
    pointer_value,
    to_records,
    verify,
)
from worker.topics.client import Connection
from worker.topics.transactions import Transactions

CHAMPION: Final = "@champion"
CANDIDATE: Final = "@candidate"


class ReleaseReader:
    """Follows the topic from its begin and keeps the latest value of every key."""

    def __init__(self, connection: Connection, *, topic: str) -> None:
        self._connection = connection
        self.topic = topic
        self._records: dict[str, bytes] = {}

    @contextmanager
    def opened(self) -> Iterator[Self]:
        """A connection for as long as the context is open. Raises KafkaAway, NotAllowed."""
        with self._connection.errors(f"read the releases topic {self.topic}"):
            client = self._client = KafkaConsumer(
                **self._connection.settings(),
                client_id="nextclick-releases",
                group_id=None,
                enable_auto_commit=False,
                auto_offset_reset="earliest",
                isolation_level="read_committed",
                allow_auto_create_topics=False,
                max_partition_fetch_bytes=4 << 20,
                metrics_enabled=False,
            )
        with closing(client):
            client.assign([TopicPartition(self.topic, 0)])
            yield self
        # The chunks of all releases are no small thing to keep.
        self._records = {}

    def read(self, *, timeout_ms: int = 0) -> bool:
        """Read all that is committed, waiting `timeout_ms` for the first; whether any was new."""
        at = TopicPartition(self.topic, 0)
        changed = False
        with self._connection.errors(f"read the releases topic {self.topic}"):
            while True:
                for record in self._client.poll(timeout_ms=timeout_ms).get(at, ()):
                    self._keep(record.key, record.value)
                    changed = True
                if self._client.position(at) >= self._client.end_offsets([at])[at]:
                    return changed

    def numbers(self) -> list[int]:
        """The numbers of all releases in the topic, ascending."""
        return numbers(self._records)

    def champion(self) -> Release | None:
        """The release that `@champion` names, verified; None where there is no champion.

        Raises ReleaseRefused.
        """
        number = champion(self._records)
        if number is None:
            return None
        manifest, blob = from_records(self._records, number)
        return verify(manifest, blob, number=number)

    def _keep(self, key: bytes | None, value: bytes | None) -> None:
        name = (key or b"").decode(errors="replace")
        if value is None:
            self._records.pop(name, None)
        else:
            self._records[name] = value


def publish(
    connection: Connection, topic: str, manifest: Manifest, blob: bytes, *, pointer: str = CHAMPION
) -> int:
    """Send a release and point `pointer` at it, in one transaction; the number that it got.

    Raises KafkaAway, NotAllowed, TopicError, CheckpointFailed (another publisher came in between).
    """
    with _publisher(connection, topic) as transactions:
        # Read after the transactional id is ours: whoever else was publishing can no longer commit.
        number = max(_all_numbers(connection, topic), default=0) + 1
        pointing = Record(pointer, pointer_value(number))
        for key, value in [*to_records(number, manifest, blob), pointing]:
            transactions.send(topic, 0, key=key.encode(), value=value)
        transactions.commit(topic, {}, None, seconds=60)
    return number


@contextmanager
def _publisher(connection: Connection, topic: str) -> Iterator[Transactions]:
    transactions = Transactions(connection, transactional_id=f"{topic}.publisher", timeout_ms=60_000)
    transactions.renew()
    try:
        yield transactions
    finally:
        transactions.drop()


def _all_numbers(connection: Connection, topic: str) -> list[int]:
    with ReleaseReader(connection, topic=topic).opened() as reader:
        reader.read()
        return reader.numbers()
