"""Changes that commands, not the owner, make to the state topic: deletion requests and resets."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from typing import Final

from worker.core.blocks import without_offsets
from worker.kafka.interface import Connection, TopicPartition
from worker.topics import state_scan
from worker.topics.states import FORGET, REPLAY, Forget, Replay, TopicIds, parse_forget

COMMIT_SECONDS: Final = 60.0
"""Maximum time for committing a reset, in seconds."""

REWRITE_MS: Final = 600_000
"""Maximum time for rewriting all blocks, in milliseconds: the blocks of a million users take 630 MB. By
default, brokers allow transactions of up to 900 s.
"""

_NO_IDS: Final = TopicIds()

_POLL_MS: Final = 200
_FETCH: Final[Mapping[str, int]] = {"max_partition_fetch_bytes": 4 << 20}


@dataclass(frozen=True, slots=True)
class Beginning:
    """The offset at which reading of a clicks partition resumes, and the states to drop."""

    partition: int
    offset: int
    dropped: Collection[bytes] = ()
    """The keys that get a tombstone."""
    release: int | None = 0
    """The release number of the new `replay` record; None leaves the `replay` record as it is."""
    blocks_anew: bool = False
    """Whether blocks are kept, but without their offsets, because the clicks topic was created again."""
    requests: Mapping[str, Forget] = field(default_factory=dict)
    """By user: deletion requests that are rewritten to cover all clicks before `offset`.
    """


def ask_to_forget(
    connection: Connection, user_id: str, before: Mapping[int, int], *, topic: str, asked_at: int
) -> dict[int, int]:
    """Write a deletion request to every partition in `before`; return its offset in each.

    `before` maps each partition to the offset below which clicks are deleted. Raises KafkaAway, NotAllowed,
    TopicError.
    """
    values = {partition: Forget(offset, asked_at).value() for partition, offset in before.items()}
    return connection.write(topic, f"{FORGET}{user_id}".encode(), values)


def pending(
    connection: Connection, user_id: str, asked: Mapping[int, int], *, topic: str
) -> Iterator[set[int]]:
    """Yield, after each poll, the partitions whose requests are not fulfilled yet. Never ends by itself.

    `asked` maps each partition to the offset of its request. Raises KafkaAway, NotAllowed, StateRefused.
    """
    left, heard, key = set(asked), set[int](), f"{FORGET}{user_id}".encode()
    with (
        connection.errors(f"read the state topic {topic}"),
        closing(connection.reader("nextclick-forget", fetch=_FETCH)) as reader,
    ):
        reader.assign([TopicPartition(topic, partition) for partition in asked])
        for partition, offset in asked.items():
            reader.seek(TopicPartition(topic, partition), offset + 1)
        while True:
            for at, records in reader.poll(_POLL_MS).items():
                for record in records:
                    if record.key != key:
                        continue
                    if record.value is not None:
                        heard |= {at.partition} if parse_forget(user_id, record.value).heard else set()
                    elif at.partition in heard:
                        # A tombstone before the owner's acknowledgement belongs to an earlier request.
                        left.discard(at.partition)
            yield set(left)


def reset(
    connection: Connection,
    beginnings: Collection[Beginning],
    *,
    group: str,
    topic: str,
    clicks: str,
    ids: TopicIds = _NO_IDS,
    timeout_ms: int,
) -> None:
    """Drop states and set the group's offsets in one transaction.

    `ids` are the current ids of the topics. No worker of the group may run. Raises KafkaAway, NotAllowed,
    TopicError, CheckpointFailed, StateRefused (a block to keep cannot be read).
    """
    stays = {one.partition for one in beginnings if one.blocks_anew}
    limit_ms = max(timeout_ms, REWRITE_MS) if stays else timeout_ms
    transactions = connection.transactions(f"{group}//reset", timeout_ms=limit_ms)
    transactions.renew()
    try:
        for one in beginnings:
            for key in one.dropped:
                transactions.send(topic, one.partition, key=key, value=None)
            if one.release is not None:
                value = Replay(one.offset, one.release, *ids).value()
                transactions.send(topic, one.partition, key=REPLAY.encode(), value=value)
            for user_id, request in one.requests.items():
                value = Forget(one.offset, request.asked_at).value()
                transactions.send(topic, one.partition, key=f"{FORGET}{user_id}".encode(), value=value)
        for entry in state_scan.current_blocks(connection, stays, topic=topic) if stays else ():
            value = without_offsets(entry.value or b"")
            transactions.send(topic, entry.partition, key=entry.key, value=value)
        offsets = {one.partition: one.offset for one in beginnings}
        transactions.commit(clicks, offsets, group, seconds=COMMIT_SECONDS)
    finally:
        transactions.drop()
