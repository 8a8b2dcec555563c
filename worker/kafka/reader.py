"""A reader over kafka-python's consumer, with a time limit on every request."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from kafka import KafkaConsumer
from kafka.errors import KafkaTimeoutError

from worker.errors import NotStable
from worker.kafka.interface import ANSWER_MS, Record, TopicPartition

_CLOSE_MS: Final = 500


class KafkaReader:
    """Implements `worker.kafka.interface.Reader`. Raises kafka-python's errors."""

    def __init__(self, client: KafkaConsumer) -> None:
        self._client = client

    def assign(self, partitions: Collection[TopicPartition]) -> None:
        """Read exactly these partitions; partitions assigned before keep their positions."""
        self._client.assign(list(partitions))

    def seek(self, at: TopicPartition, offset: int) -> None:
        """Read an assigned partition from `offset`."""
        self._client.seek(at, offset)

    def pause(self, partitions: Collection[TopicPartition]) -> None:
        """Stop reading some assigned partitions."""
        self._client.pause(*partitions)

    def poll(self, timeout_ms: int) -> Mapping[TopicPartition, Sequence[Record]]:
        """Return the next records by partition, in order."""
        polled: dict[TopicPartition, Any] = self._client.poll(timeout_ms=timeout_ms)
        return polled

    def position(self, at: TopicPartition, *, timeout_ms: int = ANSWER_MS) -> int:
        """Return the next offset to read; 0 if unknown."""
        return self._client.position(at, timeout_ms=timeout_ms) or 0

    def begins(self, partitions: Collection[TopicPartition]) -> dict[TopicPartition, int]:
        """Return the earliest offset of each partition."""
        # kafka-python 3.0.12 answers for only one of several topics, so callers pass one topic at a time.
        found: dict[TopicPartition, int] = self._client.beginning_offsets(
            list(partitions), timeout_ms=ANSWER_MS
        )
        return found

    def ends(self, partitions: Collection[TopicPartition]) -> dict[TopicPartition, int]:
        """Return the end of each partition.

        A reader of committed records returns the last stable offset, other readers the high-water mark.
        """
        found: dict[TopicPartition, int] = self._client.end_offsets(list(partitions), timeout_ms=ANSWER_MS)
        return found

    def committed(self, at: TopicPartition, *, timeout_ms: int = ANSWER_MS) -> int | None:
        """Return the group's committed offset; None if the group has not committed any. Raises NotStable."""
        try:
            committed: int | None = self._client.committed(at, timeout_ms=timeout_ms)
        except KafkaTimeoutError:
            # kafka-python 3.0.12 keeps the unanswered request, and would return its late answer to the next
            # call, although another worker may have committed in the meantime.
            self._client._coordinator._offset_fetch_futures.clear()  # noqa: SLF001  # there is no public way
            raise NotStable(f"the last transaction of partition {at.partition} is still open") from None
        return committed

    def partitions(self, topic: str) -> set[int]:
        """Return the partition numbers of a topic; empty if the topic does not exist."""
        return set(self._client.partitions_for_topic(topic) or ())

    def close(self) -> None:
        """Close the connection."""
        self._client.close(autocommit=False, timeout_ms=_CLOSE_MS)
