"""The state topic: the owner of clicks partition N saves its user states in state partition N.

The topic is compacted. `block/<n>` is a block (`worker.core.blocks`) or, once all its rows are superseded, a
tombstone. `replay` has the offset of the first click that the blocks may lack; recovery replays clicks from
there. `forget/<user>` is a deletion request: `nextclick-worker forget` writes it, the owner fulfils it. The
owner writes in the transactions that commit the offsets of the clicks (`worker.kafka.transactions`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

import msgpack

from worker.errors import StateRefused
from worker.kafka.interface import Record, Transactions

FORMAT: Final = 1
"""The format version of the values of `replay` and `forget/<user>`."""

BLOCK: Final = "block/"
MAX_BLOCKS: Final = 1_000_000
"""The highest block number in a partition: enough for a billion users."""

REPLAY: Final = "replay"
FORGET: Final = "forget/"

UNREADABLE: Final = "offsets/"
"""The prefix of the key that stands for an undecodable range of records; the range's first and last offset
follow. A tombstone with this key marks the range as no longer needed.
"""

FETCH: Final[Mapping[str, int]] = {
    # Measured: 380 MB/s, twice as fast as with larger or smaller values.
    "max_partition_fetch_bytes": 4 << 20,
    "fetch_max_bytes": 16 << 20,
    "max_poll_records": 8,
}
"""The consumer settings with which kafka-python reads blocks fastest."""


class TopicIds(NamedTuple):
    """The ids of the topics to which saved states refer (KIP-516); empty if the broker has no topic ids."""

    clicks: str = ""
    releases: str = ""


class Replay(NamedTuple):
    """The offset from which the blocks may lack clicks, and the release in service when they were saved."""

    offset: int
    release: int
    clicks_id: str = ""
    """The id of the clicks topic to which the offset belongs; empty if unknown."""
    releases_id: str = ""
    """The id of the releases topic to which the release belongs; empty if unknown."""

    def value(self) -> bytes:
        """Return the record's value."""
        return msgpack.packb({"format": FORMAT, **self._asdict()})

    def is_of(self, clicks_id: str) -> bool:
        """Return whether the offset belongs to the topic with this id; True if an id is unknown."""
        return _same(self.clicks_id, clicks_id)

    def release_is_of(self, releases_id: str) -> bool:
        """Return whether the release belongs to the topic with this id; True if an id is unknown."""
        return _same(self.releases_id, releases_id)


class Forget(NamedTuple):
    """A request to delete a user's data from clicks below offset `before`. `asked_at` is in ms.

    The user may click again before the owner reads the request. So the owner raises `before` to its own
    position and writes the request again, marked `heard`.
    """

    before: int
    asked_at: int
    heard: bool = False

    def value(self) -> bytes:
        """Return the record's value."""
        return msgpack.packb({"format": FORMAT, **self._asdict()})

    def hear(self, position: int) -> Forget:
        """Return the request as written by an owner that read it when its next click was at `position`."""
        return self if self.heard else Forget(max(self.before, position), self.asked_at, heard=True)


def content(record: Record) -> tuple[bytes, bytes | None]:
    """Return a record's key and value. For an undecodable range, they are its offsets and the error."""
    if record.unreadable is None:
        return record.key or b"", record.value
    return f"{UNREADABLE}{record.unreadable.first}-{record.offset}".encode(), record.unreadable.why.encode()


def parse_replay(value: bytes) -> Replay:
    """Parse the value of a `replay` record, of this or an earlier version. Raises StateRefused."""
    document = _document(value)
    ids = [document.get(name, "") for name in ("clicks_id", "releases_id")]
    if any(not isinstance(one, str) for one in ids):
        raise StateRefused(f"it has a topic id that is not text: {ids}")
    offset, release = _numbers(document, ("offset", "release"))
    return Replay(offset, release, *ids)


def parse_forget(user_id: str, value: bytes) -> Forget:
    """Parse the value of a user's deletion request. Raises StateRefused."""
    try:
        document = {"heard": False, **_document(value)}
        before, asked_at, heard = _numbers(document, ("before", "asked_at", "heard"))
    except StateRefused as error:
        again = f"run `nextclick-worker forget {user_id}` to write it again"
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
        raise StateRefused(f"it is not a map of format {FORMAT}: {value[:60]!r}")
    return document


def _numbers(document: Mapping[str, Any], names: tuple[str, ...]) -> list[int]:
    for name in names:
        number = document.get(name)
        if not isinstance(number, int) or number < 0:
            raise StateRefused(f"its {name} is {number!r}; it must be an integer of at least 0")
    return [document[name] for name in names]


class StateWriter:
    """Adds state records to the transaction. Raises the errors of `Transactions.send`.

    `sent` is called with the size of every record, in bytes.
    """

    def __init__(self, transactions: Transactions, *, topic: str, sent: Callable[[int], object]) -> None:
        self._transactions = transactions
        self._sent = sent
        self.topic = topic

    def block(self, partition: int, number: int, value: bytes | None) -> None:
        """Add a block, or its tombstone if `value` is None."""
        self._send(partition, f"{BLOCK}{number}", value)

    def replay(self, partition: int, replay: Replay) -> None:
        """Add the record with the offset from which clicks must be replayed."""
        self._send(partition, REPLAY, replay.value())

    def heard(self, partition: int, user_id: str, request: Forget) -> None:
        """Add a deletion request that the owner has acknowledged."""
        self._send(partition, f"{FORGET}{user_id}", request.value())

    def forgotten(self, partition: int, user_id: str) -> None:
        """Add the tombstone of a fulfilled deletion request."""
        self._send(partition, f"{FORGET}{user_id}", None)

    def _send(self, partition: int, key: str, value: bytes | None) -> None:
        self._transactions.send(self.topic, partition, key=key.encode(), value=value)
        self._sent(len(key) + len(value or b""))


def block_number(key: str) -> int:
    """Return the number in the key of a block. Raises StateRefused."""
    number = key.removeprefix(BLOCK)
    # Numbers are reused, so they stay low; memory is reserved up to the highest number.
    if not number.isdecimal() or len(number) > len(str(MAX_BLOCKS)) or int(number) > MAX_BLOCKS:
        raise StateRefused(f"the key {key!r} is not that of a block numbered from 1 to {MAX_BLOCKS}")
    return int(number)
