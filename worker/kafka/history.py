"""Reading of a whole topic, from its beginning to its current end.

The trainer reads training clicks this way, and commands read saved states.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import closing
from typing import Final, NamedTuple

from worker.errors import KafkaAway, NextclickError, NotAllowed, TopicError
from worker.kafka.interface import Connection, Reader, Record, TopicPartition

_POLL_MS: Final = 1_000
_SILENCE_POLLS: Final = 30
"""Maximum number of empty polls in a row while records remain; then the broker counts as unreachable."""


FETCH: Final[Mapping[str, int]] = {"max_partition_fetch_bytes": 4 << 20, "max_poll_records": 5_000}
"""Fetch arguments for reading many small records."""


class Span(NamedTuple):
    """The current offsets of a partition: from `first` to `end`, which is exclusive."""

    first: int
    end: int


def _all_of(spans: Mapping[int, Span]) -> dict[int, int]:
    return {partition: span.first for partition, span in spans.items()}


def read(
    connection: Connection,
    *,
    topic: str,
    fetch: Mapping[str, int] = FETCH,
    begins: Callable[[Mapping[int, Span]], Mapping[int, int]] = _all_of,
) -> Iterator[list[Record]]:
    """Yield the records of `topic` up to its current end, or up to the first open transaction.

    Each list has records of one partition, in order. `begins` chooses the start offset of each partition.
    Raises KafkaAway, NotAllowed, TopicError.
    """
    with connection.errors(f"read the topic {topic}"), closing(_reader(connection, fetch)) as reader:
        partitions = reader.partitions(topic)
        if not partitions:
            raise absence(connection, topic)
        ends = _ends(reader, topic, partitions, begins)
        silence = 0
        while left := {at for at, end in ends.items() if reader.position(at) < end}:
            reader.pause(ends.keys() - left)
            polled = reader.poll(_POLL_MS)
            silence = 0 if polled else silence + 1
            if silence > _SILENCE_POLLS:
                raise KafkaAway(
                    f"read the topic {topic}: {len(left)} partitions have more records, but none arrive"
                )
            for at, records in polled.items():
                yield [record for record in records if record.offset < ends[at]]


def _reader(connection: Connection, fetch: Mapping[str, int]) -> Reader:
    return connection.reader("nextclick-history", fetch=fetch)


def absence(connection: Connection, topic: str) -> NextclickError:
    """Return the error for a topic that a reader does not find: readers see no hidden topics."""
    with closing(connection.admin()) as admin:
        if admin.describe([topic])[topic].visible:
            return TopicError(f"topic {topic} does not exist", topic=topic)
    return NotAllowed(
        f"read the topic {topic}: no right to see it. `nextclick-worker check` prints the ACLs that the "
        "worker needs"
    )


def _ends(
    reader: Reader,
    topic: str,
    partitions: Collection[int],
    begins: Callable[[Mapping[int, Span]], Mapping[int, int]],
) -> dict[TopicPartition, int]:
    """Assign all partitions of `topic` at their start offsets; return the end offset of each."""
    assigned = [TopicPartition(topic, partition) for partition in sorted(partitions)]
    reader.assign(assigned)
    ends, firsts = reader.ends(assigned), reader.begins(assigned)
    chosen = begins({at.partition: Span(firsts[at], ends[at]) for at in assigned})
    for at in assigned:
        reader.seek(at, chosen[at.partition])
    return ends
