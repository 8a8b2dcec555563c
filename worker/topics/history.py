"""A topic as a whole, from its begin to where it ends at the moment.

So the trainer reads the clicks that it learns from, and commands the states that they look through.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import Any, Final

from kafka import KafkaConsumer, TopicPartition

from worker.errors import KafkaAway, TopicError
from worker.topics.clicks import ANSWER_MS, Record
from worker.topics.client import Connection

_POLL_MS: Final = 1_000
_SILENCE_POLLS: Final = 30
"""A broker that brings nothing in so many polls, though there is something, counts as away."""


FETCH: Final[Mapping[str, int]] = {"max_partition_fetch_bytes": 4 << 20, "max_poll_records": 5_000}
"""How small records are best read."""


def read(connection: Connection, *, topic: str, fetch: Mapping[str, int] = FETCH) -> Iterator[list[Record]]:
    """The records of `topic` up to the high-water mark of now (for open transactions, up to these).

    Some at a time; those of one partition in order. Raises KafkaAway, NotAllowed, TopicError.
    """
    with connection.errors(f"read the topic {topic}"), closing(_consumer(connection, fetch)) as client:
        ends = _ends(client, topic)
        silence = 0
        while left := {at for at, end in ends.items() if client.position(at, timeout_ms=ANSWER_MS) < end}:
            client.pause(*(ends.keys() - left))
            polled = client.poll(timeout_ms=_POLL_MS)
            silence = 0 if polled else silence + 1
            if silence > _SILENCE_POLLS:
                raise KafkaAway(
                    f"read the topic {topic}: {len(left)} partitions have more, but nothing comes"
                )
            for at, records in polled.items():
                yield [record for record in records if record.offset < ends[at]]


def _consumer(connection: Connection, fetch: Mapping[str, int]) -> Any:
    return KafkaConsumer(
        **connection.settings(),
        client_id="nextclick-history",
        group_id=None,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
        allow_auto_create_topics=False,
        **fetch,
        metrics_enabled=False,
    )


def _ends(client: Any, topic: str) -> dict[TopicPartition, int]:
    """Assign all partitions of `topic` to `client`; where each of them ends."""
    partitions = client.partitions_for_topic(topic)
    if not partitions:
        raise TopicError(f"there is no topic {topic}", topic=topic)
    assigned = [TopicPartition(topic, partition) for partition in sorted(partitions)]
    client.assign(assigned)
    client.seek_to_beginning(*assigned)
    ends: dict[TopicPartition, int] = client.end_offsets(assigned, timeout_ms=ANSWER_MS)
    return ends
