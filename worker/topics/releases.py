"""The topic of releases: one partition, compacted. The trainer writes it; every worker follows it.

A release is a set of chunks and, last, its manifest (`worker.core.release`); the pointers `@champion` and
`@candidate` name the releases in service. All records of a publication are in one transaction, so a release
is published as a whole or not at all.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager, nullcontext, suppress
from itertools import chain
from typing import Any, Final, Self

from worker.core.blob import Blob
from worker.core.manifest import Manifest
from worker.core.release import (
    CANDIDATE_SHARE,
    Pointer,
    Record,
    assembled,
    chunk_key,
    numbers,
    parse_pointer,
    parts_of,
    require_parts,
    to_records,
)
from worker.errors import ReleaseRefused, TopicError
from worker.kafka.interface import Connection, TopicPartition, Transactions
from worker.kafka.interface import Record as KafkaRecord

PARTITION: Final = 0

CHAMPION: Final = "@champion"
CANDIDATE: Final = "@candidate"

KEPT: Final = 5
"""The number of latest releases that stay in the topic; older releases stay while a pointer names them."""

_FEW: Final = 100
"""With more foreign records than this, a topic is certainly not a topic of releases."""

_FETCH: Final[Mapping[str, int]] = {"max_partition_fetch_bytes": 4 << 20}
_FETCH_MS: Final = 1_000
_FETCH_POLLS: Final = 30
"""After this number of polls without a record, chunks that are still missing have been removed."""

_TIMEOUT_MS: Final = 60_000
_MAX_TIMEOUT_MS: Final = 900_000
_BYTES_PER_MS: Final = 1_000
"""Time limit of a transaction. A large release gets the time that it takes with 1 MB a second, but no more
than a broker allows by default.
"""


def publisher(topic: str) -> str:
    """Return the transactional id of everyone who writes to the topic of releases `topic`."""
    return f"{topic}.publisher"


def trainers(topic: str) -> str:
    """Return the consumer group of the trainers that publish to `topic`."""
    return f"{topic}.trainer"


class ReleaseReader:
    """Follows the topic from its beginning, and keeps the latest manifests, pointers and offsets of chunks.

    The chunks themselves are too large to keep: the chunks of one release are read again by `fetch`.
    """

    def __init__(self, connection: Connection, *, topic: str) -> None:
        self._connection = connection
        self.topic = topic
        self._small: dict[str, bytes] = {}
        self._times_ms: dict[str, int] = {}
        """By key: the timestamp of its record."""
        self._chunks: dict[str, int] = {}
        """By key of a chunk: its offset."""
        self._foreign: dict[str, int] = {}
        """By key of a record that is neither part of a release nor a pointer: its offset."""
        self.unreadable = ""
        """The offsets that could not be decoded, and why; empty once a later record has set the champion."""
        self.end = 0
        """The offset up to which the topic was read."""

    @contextmanager
    def opened(self) -> Iterator[Self]:
        """Open a connection for the duration of the context. Raises KafkaAway, NotAllowed."""
        self._small, self._times_ms, self._chunks, self._foreign = {}, {}, {}, {}
        self._foreign_seen, self.unreadable = 0, ""
        with self._connection.errors(f"read the releases topic {self.topic}"):
            reader = self._reader = self._connection.reader("nextclick-releases", fetch=_FETCH)
        with closing(reader):
            reader.assign([self._at])
            yield self

    def read(self, *, timeout_ms: int = 0, strict: bool = False) -> bool:
        """Read all committed records, waiting up to `timeout_ms` for the first; return whether any was new.

        With `strict`, raise TopicError if the topic has records other than releases and pointers.
        """
        changed = False
        with self._connection.errors(f"read the releases topic {self.topic}"):
            while True:
                for record in self._reader.poll(timeout_ms).get(self._at, ()):
                    self._keep(record)
                    changed = True
                self.end = self._reader.position(self._at)
                at_end = self.end >= self._reader.ends([self._at])[self._at]
                # A clicks topic given by mistake may be large; its first records are enough to tell.
                if strict and (at_end or self._foreign_seen > _FEW):
                    self._refuse_foreign()
                if at_end:
                    return changed

    def _refuse_foreign(self) -> None:
        count = len(self._reader.partitions(self.topic))
        if self._foreign:
            name, offset = next(iter(self._foreign.items()))
            what = f"the record at offset {offset} has the key {name[:80]!r}"
        elif count > 1 and not self._small:
            what = f"it has {count} partitions but no release"
        else:
            return
        raise TopicError(
            f"topic {self.topic} is not a topic of releases: {what}. Nothing was published. "
            "Set the topic of releases with --releases-topic (topics.releases)",
            topic=self.topic,
        )

    def held(self) -> list[str]:
        """Return every key that has a value."""
        return [*self._small, *self._chunks]

    def holds(self, number: int) -> bool:
        """Return whether the topic has the manifest of release `number`."""
        return f"release/{number:04}" in self._small

    def number_of(self, manifest: Manifest) -> int | None:
        """Return the number of the newest release with this manifest; None if there is no such release."""
        held = (number for number in reversed(numbers(self._small)) if self.holds(number))
        return next((one for one in held if self.identity(one)[0] == manifest.to_json()), None)

    def require(self, number: int) -> None:
        """Raise ReleaseRefused if the topic does not have release `number`."""
        if not self.holds(number):
            there = f"there is no release {number} in topic {self.topic}"
            raise ReleaseRefused(
                "missing", f"{there}; `nextclick-trainer releases` lists the available releases"
            )

    def manifest(self, number: int) -> Manifest:
        """Return the manifest of release `number`, unverified. Raises ReleaseRefused."""
        self.require(number)
        return Manifest.from_json(self._small[f"release/{number:04}"])

    def pointer(self, name: str) -> Pointer | None:
        """Return the pointer `name`; None if it does not exist. Raises ReleaseRefused."""
        value = self._small.get(name)
        if value is None:
            return None
        try:
            return parse_pointer(value)
        except ReleaseRefused as error:
            raise ReleaseRefused(error.reason, f"{name}: {error}") from None

    def readable_pointer(self, name: str) -> Pointer | None:
        """Return the pointer `name`; None if it does not exist or is invalid."""
        with suppress(ReleaseRefused):
            return self.pointer(name)
        return None

    def pointed_at_ms(self, name: str) -> int | None:
        """Return the time when the pointer `name` was set, in ms; None if it does not exist."""
        return self._times_ms.get(name) if name in self._small else None

    def identity(self, number: int) -> tuple[object, ...]:
        """Return a value that changes whenever a record of release `number` changes."""
        key = f"release/{number:04}"
        return self._small.get(key), *sorted(self._chunks_of(key).items())

    def fetch(self, number: int) -> tuple[Manifest, Blob]:
        """Return the unverified manifest and blob of release `number`. Raises ReleaseRefused, KafkaAway."""
        key = f"release/{number:04}"
        if key not in self._small:
            raise ReleaseRefused("missing", f"there is no manifest with the key {key}")
        manifest = Manifest.from_json(self._small[key])
        keys = {part: chunk_key(number, part) for part in parts_of(manifest)}
        parts = {self._chunks[key]: part for part, key in keys.items() if key in self._chunks}
        # Report missing records before reading anything.
        require_parts(manifest, number, {*parts.values()})
        doing = f"fetch {key} from topic {self.topic}"
        with self._connection.errors(doing), closing(self._values(parts)) as values:
            return manifest, assembled(manifest, number, values)

    @property
    def _at(self) -> TopicPartition:
        return TopicPartition(self.topic, PARTITION)

    def _chunks_of(self, key: str) -> dict[str, int]:
        return {name: offset for name, offset in self._chunks.items() if name.startswith(f"{key}/")}

    def _values(self, parts: Mapping[int, int]) -> Generator[tuple[int, bytes], None, None]:
        """Yield each of the `parts`, by offset, with its value, except those that compaction has removed."""
        last, idle = max(parts), 0
        self._reader.seek(self._at, min(parts))
        try:
            while self._reader.position(self._at) <= last and idle < _FETCH_POLLS:
                records = self._reader.poll(_FETCH_MS).get(self._at, ())
                idle = 0 if records else idle + 1
                for record in records:
                    if record.offset in parts and record.unreadable is None:
                        yield parts[record.offset], record.value or b""
        finally:
            self._reader.seek(self._at, self.end)

    def _keep(self, record: KafkaRecord) -> None:
        if record.unreadable is not None:
            self.unreadable = (
                f"the records at offsets {record.unreadable.first} to {record.offset} of topic "
                f"{self.topic} cannot be decoded: {record.unreadable.why}. Publish again"
            )
            return
        name, value = (record.key or b"").decode(errors="replace"), record.value
        self.unreadable = "" if name == CHAMPION else self.unreadable
        self._small.pop(name, None)
        self._chunks.pop(name, None)
        self._foreign.pop(name, None)
        if value is not None and not (name.startswith("@") or numbers([name])):
            self._foreign[name] = record.offset
            self._foreign_seen += 1
        if value is not None and name.count("/") > 1:
            self._chunks[name] = record.offset
        elif value is not None:
            self._small[name], self._times_ms[name] = value, record.timestamp


def publish(
    connection: Connection,
    topic: str,
    manifest: Manifest,
    blob: Blob,
    *,
    pointer: str = CHAMPION,
    share: float = CANDIDATE_SHARE,
    keep: int = KEPT,
    expected: Mapping[str, int | None] | None = None,
    fence: Callable[[], Any] | None = None,
    repeated: bool = False,
    reader: ReleaseReader | None = None,
) -> int:
    """Publish a release and set `pointer` to it, in one transaction; return its number.

    `share`: the share of users that the release serves as a candidate. Releases that are neither among the
    latest `keep` nor named by a pointer are deleted in the same transaction. `expected`: see `point`.

    `fence`: if several trainers run, a function that returns the leader's group metadata. It raises
    CheckpointFailed once another trainer leads; then nothing is published.

    `repeated`: whether an earlier attempt failed or its answer was lost. Then a release with this manifest
    that is already in the topic is not sent again; its number is returned.

    `reader`: an open reader of the topic, if there is one; then only new records are read.

    Raises KafkaAway, NotAllowed, TopicError (the topic does not exist, or has records other than releases),
    ReleaseRefused (a pointer is not as expected), CheckpointFailed (another publisher interfered, or another
    trainer leads).
    """
    if fence:
        # A trainer that no longer leads must not take the transactional id from the leader.
        fence()
    with _publisher(connection, topic, timeout_ms := _timeout_ms(blob)) as transactions:
        # Read only after taking the transactional id: from now on, no other publisher can commit.
        opened = nullcontext(reader) if reader else ReleaseReader(connection, topic=topic).opened()
        with opened as there:
            there.read(strict=True)
        if repeated and (sent := there.number_of(manifest)):
            return sent
        _require(there, expected or {})
        number = max(numbers(there.held()), default=0) + 1
        pointers = {name: there.readable_pointer(name) for name in (CHAMPION, CANDIDATE)}
        pointers[pointer] = pointing = _pointing(there, pointer, number, share)
        records = chain(to_records(number, manifest, blob), [Record(pointer, pointing.value())])
        for key, value in chain(records, _outdated(there, pointers.values(), keep)):
            transactions.send(topic, PARTITION, key=key.encode(), value=value)
        offsets, group = ({PARTITION: there.end}, fence()) if fence else ({}, None)
        transactions.commit(topic, offsets, group, seconds=timeout_ms / 1_000)
    return number


def point(
    connection: Connection,
    topic: str,
    pointers: Mapping[str, Pointer | None],
    *,
    expected: Mapping[str, int | None] | None = None,
) -> None:
    """Set pointers, or delete the pointers that are None, in one transaction.

    `expected`: for each pointer, the release that the pointer must name before the change (None: the pointer
    must not exist); otherwise nothing is changed. To promote: `{CHAMPION: Pointer(n), CANDIDATE: None}`,
    expecting `{CANDIDATE: n}`. To roll back: set the champion to its `previous`.

    Raises ReleaseRefused (a release does not exist, or a pointer is not as expected), KafkaAway, NotAllowed,
    TopicError, CheckpointFailed.
    """
    with _publisher(connection, topic) as transactions:
        with ReleaseReader(connection, topic=topic).opened() as reader:
            reader.read()
        _require(reader, expected or {})
        for name, pointer in pointers.items():
            if pointer is not None:
                reader.require(pointer.release)
            pointing = pointer and _pointing(reader, name, pointer.release, pointer.share)
            transactions.send(topic, PARTITION, key=name.encode(), value=pointing and pointing.value())
        transactions.commit(topic, {}, None, seconds=_TIMEOUT_MS / 1_000)


def _require(reader: ReleaseReader, expected: Mapping[str, int | None]) -> None:
    for name, number in expected.items():
        pointer = reader.readable_pointer(name)
        found = pointer and pointer.release
        if found != number:
            was = "did not exist" if number is None else f"named release {number}"
            now = "no longer exists" if found is None else f"now names release {found}"
            raise ReleaseRefused(
                "pointer", f"{name} {was} and {now}: nothing was changed; you can repeat the command"
            )


def _pointing(reader: ReleaseReader, name: str, number: int, share: float | None) -> Pointer:
    before, share = reader.readable_pointer(name), share if name == CANDIDATE else None
    return before.moved(number, share) if before else Pointer(number, share)


def _outdated(reader: ReleaseReader, pointers: Iterable[Pointer | None], keep: int) -> list[Record]:
    """Return the records that delete each release not named by `pointers`, except the latest releases."""
    named = {number for pointer in pointers if pointer for number in (pointer.release, pointer.previous)}
    there = numbers(reader.held())
    # Plus one for the release that is being published.
    gone = set(there[: max(0, len(there) + 1 - keep)]) - named
    return [Record(key, None) for key in reader.held() if gone.intersection(numbers([key]))]


def _timeout_ms(blob: Blob) -> int:
    return min(_MAX_TIMEOUT_MS, max(_TIMEOUT_MS, len(blob) // _BYTES_PER_MS))


@contextmanager
def _publisher(connection: Connection, topic: str, timeout_ms: int = _TIMEOUT_MS) -> Iterator[Transactions]:
    transactions = connection.transactions(publisher(topic), timeout_ms=timeout_ms)
    transactions.renew()
    try:
        yield transactions
    finally:
        transactions.drop()
