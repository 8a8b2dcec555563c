"""Scans of the whole state topic, from its beginning to its current end, for commands.

Unlike the owner of a partition (`worker.topics.states`), a scan does not stop at unreadable records: it
reports them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import numpy as np

from worker.core import blocks
from worker.core.user_states import Saved
from worker.errors import NotStable, StateRefused
from worker.kafka import history
from worker.kafka.interface import Connection, TopicPartition
from worker.topics.states import (
    BLOCK,
    FETCH,
    FORGET,
    REPLAY,
    UNREADABLE,
    Forget,
    Replay,
    block_number,
    content,
    parse_forget,
    parse_replay,
)

_STABLE_MS: Final = 500


class Entry(NamedTuple):
    """A record of the state topic. The key is kept as bytes, because anyone may have written it."""

    partition: int
    offset: int
    key: bytes
    value: bytes | None

    @property
    def name(self) -> str:
        """The key as text."""
        return self.key.decode(errors="replace")


@dataclass(frozen=True, slots=True)
class Marks:
    """Kafka's offsets of a partition of the clicks."""

    begin: int
    """The first offset that is still retained."""
    end: int
    """The high-water mark."""
    committed: int | None
    """The group's committed offset; None if the group has not committed any."""


@dataclass(frozen=True, slots=True)
class Copy:
    """A copy of a user's state: in block number `block`, in the record at offset `at` of the state topic."""

    partition: int
    block: int
    at: int
    saved: Saved
    """The block reduced to this user's state."""


@dataclass(slots=True)
class Trace:
    """Everything that the state topic has about one user."""

    copies: list[Copy] = field(default_factory=list)
    """Copies in current blocks, in log order."""
    superseded: list[Copy] = field(default_factory=list)
    """Copies in superseded records that compaction has not removed yet."""
    requests: dict[int, Forget] = field(default_factory=dict)
    """By partition: the deletion request that is not fulfilled yet."""
    deleted: bool = False
    """Whether a tombstone shows that a deletion request was fulfilled. Compaction removes such tombstones
    after some time.
    """
    unreadable: list[str] = field(default_factory=list)
    """Unreadable records that may have data of the user."""

    def __bool__(self) -> bool:
        return bool(self.copies or self.superseded or self.requests)


@dataclass(slots=True)
class Contents:
    """The contents of one partition of the state topic."""

    log_bytes: int = 0
    """The size of all records, including superseded records."""
    sizes: dict[bytes, int] = field(default_factory=dict)
    """By key: the size of the current record."""
    users: dict[bytes, list[str]] = field(default_factory=dict)
    """By key: the users of the current block."""
    replay: Replay | None = None
    requests: dict[str, Forget] = field(default_factory=dict)
    unreadable: dict[bytes, str] = field(default_factory=dict)
    """By key: why the current record cannot be read."""

    @property
    def blocks(self) -> int:
        """The number of blocks."""
        return sum(key.startswith(BLOCK.encode()) for key in self.sizes)

    def take(self, entry: Entry) -> None:
        """Add the next record of the partition."""
        key, name, value = entry.key, entry.name, entry.value
        size = len(key) + len(value or b"")
        self.log_bytes += size
        for known in (self.sizes, self.users, self.unreadable):
            known.pop(key, None)
        self.replay = None if name == REPLAY else self.replay
        self.requests.pop(name.removeprefix(FORGET), None) if name.startswith(FORGET) else None
        if value is None:
            return
        self.sizes[key] = size
        try:
            self._read(key, name, value)
        except StateRefused as error:
            self.unreadable[key] = str(error)

    def _read(self, key: bytes, name: str, value: bytes) -> None:
        if name.startswith(BLOCK):
            block_number(name)
            self.users[key] = blocks.user_ids(value)
        elif name == REPLAY:
            self.replay = parse_replay(value)
        elif name.startswith(FORGET):
            user_id = name.removeprefix(FORGET)
            self.requests[user_id] = parse_forget(user_id, value)
        elif name.startswith(UNREADABLE):
            raise StateRefused(value.decode())
        else:
            raise StateRefused("the key is unknown")


def contents(connection: Connection, *, topic: str) -> dict[int, Contents]:
    """Return the contents of each partition that has records. Raises KafkaAway, NotAllowed, TopicError."""
    found: dict[int, Contents] = {}
    for entry in _entries(connection, topic):
        found.setdefault(entry.partition, Contents()).take(entry)
    return found


def current_blocks(connection: Connection, partitions: Collection[int], *, topic: str) -> Iterator[Entry]:
    """Yield the current blocks of some partitions. Raises KafkaAway, NotAllowed, TopicError."""
    latest: dict[tuple[int, bytes], int] = {}
    for entry in _entries(connection, topic):
        latest[entry.partition, entry.key] = entry.offset
    for entry in _entries(connection, topic):
        counts = latest.get((entry.partition, entry.key)) == entry.offset and entry.value is not None
        if entry.partition in partitions and counts and entry.name.startswith(BLOCK):
            yield entry


def look_for(connection: Connection, user_id: str, *, topic: str) -> Trace:
    """Return everything that the topic has about a user. Raises KafkaAway, NotAllowed, TopicError."""
    return trace(_entries(connection, topic), user_id)


def trace(entries: Iterable[Entry], user_id: str) -> Trace:
    """Return everything that `entries` have about a user; the entries of each partition must be in order."""
    latest: dict[tuple[int, bytes], int] = {}
    copies: list[tuple[bytes, Copy]] = []
    lost: dict[tuple[int, str], str] = {}
    found = Trace()
    for entry in entries:
        latest[entry.partition, entry.key] = entry.offset
        try:
            if entry.name == FORGET + user_id:
                _note_request(found, entry)
            elif entry.name.startswith(BLOCK) and entry.value and blocks.may_hold(entry.value, user_id):
                copies += ((entry.key, copy) for copy in _copies(entry, entry.value, user_id))
            elif entry.name.startswith(UNREADABLE):
                lost[entry.partition, entry.name] = (entry.value or b"").decode()
        except StateRefused as error:
            found.unreadable.append(
                f"{entry.name} at offset {entry.offset} of partition {entry.partition}: {error}"
            )
    found.unreadable += [
        f"{name} of partition {partition}: {why}" for (partition, name), why in lost.items() if why
    ]
    for key, copy in copies:
        counts = latest[copy.partition, key] == copy.at
        (found.copies if counts else found.superseded).append(copy)
    return found


def marks(connection: Connection, *, topic: str, group: str, partitions: Iterable[int]) -> dict[int, Marks]:
    """Return the first offset, the end and the group's committed offset of each partition of the clicks."""
    ats = [TopicPartition(topic, partition) for partition in partitions]
    with (
        connection.errors(f"ask for the offsets of topic {topic}"),
        closing(connection.reader("nextclick-look", group=group, committed=False)) as reader,
    ):
        begins, ends = reader.begins(ats), reader.ends(ats)
        return {at.partition: Marks(begins[at], ends[at], reader.committed(at)) for at in ats}


def unsettled(connection: Connection, *, topic: str, group: str, partitions: Iterable[int]) -> list[int]:
    """Return the partitions of the clicks for which an open transaction may still commit offsets."""
    found = []
    with (
        connection.errors(f"ask for the offsets of group {group}"),
        closing(connection.reader("nextclick-look", group=group)) as reader,
    ):
        for partition in partitions:
            try:
                reader.committed(TopicPartition(topic, partition), timeout_ms=_STABLE_MS)
            except NotStable:
                found.append(partition)
    return found


def _entries(connection: Connection, topic: str) -> Iterator[Entry]:
    for records in history.read(connection, topic=topic, fetch=FETCH):
        for record in records:
            yield Entry(record.partition, record.offset, *content(record))


def _note_request(found: Trace, entry: Entry) -> None:
    found.requests.pop(entry.partition, None)
    found.deleted |= entry.value is None
    if entry.value is not None:
        found.requests[entry.partition] = parse_forget(entry.name.removeprefix(FORGET), entry.value)


def _copies(entry: Entry, value: bytes, user_id: str) -> Iterator[Copy]:
    saved = blocks.decode(value)
    for place in (place for place, its in enumerate(saved.user_ids) if its == user_id):
        one = saved.taken(np.array([place]))
        yield Copy(entry.partition, block_number(entry.name), entry.offset, one)
