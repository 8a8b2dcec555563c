"""The state topic: the owner of an input partition keeps its user states in the partition of that number.

Compacted. `block/<n>` is a block (`worker.core.blocks`) or, once nobody needs it, a tombstone. `replay` is
the offset of the clicks from which a replay adds what the blocks lack. `forget/<user>` is a deletion request:
`nextclick-worker forget` writes it, the owner obeys it. Only the owner writes in one transaction with the
offsets of the clicks (`worker.kafka.transactions`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

import msgpack

from worker.errors import StateRefused
from worker.kafka.interface import Record, Transactions

FORMAT: Final = 1
"""The version of the values of `replay` and `forget/<user>`."""

BLOCK: Final = "block/"
MAX_BLOCKS: Final = 1_000_000
"""No partition has blocks of a higher number than this: that would be a thousand million users."""

REPLAY: Final = "replay"
FORGET: Final = "forget/"

UNREADABLE: Final = "offsets/"
"""In the key of what cannot be decoded, and so has no key: its first and last offset follow. A tombstone
under this key says that it counts no more."""

FETCH: Final[Mapping[str, int]] = {
    # Measured: 380 MB/s, twice what larger or smaller ones give.
    "max_partition_fetch_bytes": 4 << 20,
    "fetch_max_bytes": 16 << 20,
    "max_poll_records": 8,
}
"""The consumer settings that read blocks fastest with kafka-python."""


class TopicIds(NamedTuple):
    """The ids of the topics that saved states refer to (KIP-516); empty where the broker has none."""

    clicks: str = ""
    releases: str = ""


class Replay(NamedTuple):
    """From which offset of the clicks on the blocks may lack something, and the release in force then."""

    offset: int
    release: int
    clicks_id: str = ""
    """The id of the topic that the offset belongs to; empty where it was not known."""
    releases_id: str = ""
    """The id of the topic that the release belongs to; likewise."""

    def value(self) -> bytes:
        """Return the record's value."""
        return msgpack.packb({"format": FORMAT, **self._asdict()})

    def is_of(self, clicks_id: str) -> bool:
        """Return whether the offset belongs to the topic with this id; True where that is not known."""
        return _same(self.clicks_id, clicks_id)

    def release_is_of(self, releases_id: str) -> bool:
        """Return whether the release belongs to the topic with this id; True where that is not known."""
        return _same(self.releases_id, releases_id)


class Forget(NamedTuple):
    """A deletion request: everything from clicks below offset `before` must go. `asked_at` in ms.

    The user may click again before the owner reads it: the owner raises `before` to its own position and
    writes the request again, marked `heard`.
    """

    before: int
    asked_at: int
    heard: bool = False

    def value(self) -> bytes:
        """Return the record's value."""
        return msgpack.packb({"format": FORMAT, **self._asdict()})

    def hear(self, position: int) -> Forget:
        """Return the request as obeyed by an owner whose next click is at `position`."""
        return self if self.heard else Forget(max(self.before, position), self.asked_at, heard=True)


def content(record: Record) -> tuple[bytes, bytes | None]:
    """Return key and value of a record; if it cannot be decoded, its offsets and the reason."""
    if record.unreadable is None:
        return record.key or b"", record.value
    return f"{UNREADABLE}{record.unreadable.first}-{record.offset}".encode(), record.unreadable.why.encode()


def parse_replay(value: bytes) -> Replay:
    """Parse a value from `Replay.value`, or one that an earlier version wrote. Raises StateRefused."""
    document = _document(value)
    ids = [document.get(name, "") for name in ("clicks_id", "releases_id")]
    if any(not isinstance(one, str) for one in ids):
        raise StateRefused(f"an id of a topic in it is no text: {ids}")
    offset, release = _numbers(document, ("offset", "release"))
    return Replay(offset, release, *ids)


def parse_forget(user_id: str, value: bytes) -> Forget:
    """Parse a value from `Forget.value` for a user. Raises StateRefused."""
    try:
        document = {"heard": False, **_document(value)}
        before, asked_at, heard = _numbers(document, ("before", "asked_at", "heard"))
    except StateRefused as error:
        again = f"`nextclick-worker forget {user_id}` writes it again"
        raise StateRefused(f"the request {FORGET}{user_id} cannot be read: {error}; {again}") from None
    return Forget(before, asked_at, bool(heard))


def _same(one: str, other: str) -> bool:
    return not (one and other) or one == other


def _document(value: bytes) -> dict[str, Any]:
    try:
        document = msgpack.unpackb(value)
    except (ValueError, msgpack.UnpackException):
        document = None
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise StateRefused(f"it is not a map of format {FORMAT} but {value[:60]!r}")
    return document


def _numbers(document: Mapping[str, Any], names: tuple[str, ...]) -> list[int]:
    for name in names:
        number = document.get(name)
        if not isinstance(number, int) or number < 0:
            raise StateRefused(f"its {name} is {number!r}, not a number from 0")
    return [document[name] for name in names]


class StateWriter:
    """Adds states to the transaction. Raises what `Transactions.send` raises.

    `sent` is called with the bytes of every record.
    """

    def __init__(self, transactions: Transactions, *, topic: str, sent: Callable[[int], object]) -> None:
        self._transactions = transactions
        self._sent = sent
        self.topic = topic

    def block(self, partition: int, number: int, value: bytes | None) -> None:
        """Add a block, or its tombstone."""
        self._send(partition, f"{BLOCK}{number}", value)

    def replay(self, partition: int, replay: Replay) -> None:
        """Add from where the clicks must be replayed."""
        self._send(partition, REPLAY, replay.value())

    def heard(self, partition: int, user_id: str, request: Forget) -> None:
        """Add a deletion request as the owner obeys it."""
        self._send(partition, f"{FORGET}{user_id}", request.value())

    def forgotten(self, partition: int, user_id: str) -> None:
        """Add that a deletion request is fulfilled."""
        self._send(partition, f"{FORGET}{user_id}", None)

    def _send(self, partition: int, key: str, value: bytes | None) -> None:
        self._transactions.send(self.topic, partition, key=key.encode(), value=value)
        self._sent(len(key) + len(value or b""))


def block_number(key: str) -> int:
    """Return the number in the key of a block. Raises StateRefused."""
    number = key.removeprefix(BLOCK)
    # Numbers are used again, so that they stay low; memory is reserved up to the highest.
    if not number.isdecimal() or len(number) > len(str(MAX_BLOCKS)) or int(number) > MAX_BLOCKS:
        raise StateRefused(f"the key {key!r} is not that of a block from 1 to {MAX_BLOCKS}")
    return int(number)
