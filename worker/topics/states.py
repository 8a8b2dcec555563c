"""The state topic: the owner of an input partition keeps its user states in the partition of that number.

Compacted. `block/<n>` is a block (`worker.core.blocks`) or, once nobody needs it, a tombstone. `replay` is
where reading the clicks must begin again to have what the blocks lack. `forget/<user>` is a person's wish,
written by `nextclick-worker forget` and obeyed by the owner, whoever that is. What is in one transaction
with the offsets of the clicks is written by the owner alone (`worker.kafka.transactions`).
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import msgpack
from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaTimeoutError

from worker.core import blocks
from worker.errors import Retriable, StateRefused
from worker.kafka.connection import Connection
from worker.kafka.transactions import Transactions
from worker.topics.clicks import ANSWER_MS

FORMAT: Final = 1
"""The version of the values of `replay` and `forget/<user>`."""

BLOCK: Final = "block/"
MAX_BLOCKS: Final = 1_000_000
"""No partition has blocks of a higher number than this: that would be a thousand million users."""

REPLAY: Final = "replay"
FORGET: Final = "forget/"

FETCH: Final[Mapping[str, int]] = {
    # Measured: 380 MB/s, twice what larger or smaller ones give.
    "max_partition_fetch_bytes": 4 << 20,
    "fetch_max_bytes": 16 << 20,
    "max_poll_records": 8,
}
"""How blocks are best read with kafka-python."""

_QUEUED: Final = 32
"""How many records may wait for the loop: at most 20 MiB."""

_POLL_MS: Final = 100
_AGAIN_SECONDS: Final = 1.0
_ASK_MS: Final = 500


class Replay(NamedTuple):
    """From which offset of the clicks on the blocks may lack something, and the release in force then."""

    offset: int
    release: int

    def value(self) -> bytes:
        """As a record's value."""
        return msgpack.packb({"format": FORMAT, "offset": self.offset, "release": self.release})


class Forget(NamedTuple):
    """A person's wish: what came of clicks below offset `before` must go. `asked_at` in ms.

    The person may click again before the owner hears of it: the owner raises `before` to where it is then,
    and writes the wish anew as `heard`.
    """

    before: int
    asked_at: int
    heard: bool = False

    def value(self) -> bytes:
        """As a record's value."""
        return msgpack.packb({"format": FORMAT, **self._asdict()})

    def hear(self, position: int) -> Forget:
        """As obeyed by an owner whose next click is at `position`."""
        return self if self.heard else Forget(max(self.before, position), self.asked_at, heard=True)


def parse_replay(value: bytes) -> Replay:
    """What `Replay.value` wrote. Raises StateRefused."""
    return Replay(*_numbers(value, ("offset", "release")))


def parse_forget(user_id: str, value: bytes) -> Forget:
    """What `Forget.value` wrote for a user. Raises StateRefused."""
    try:
        before, asked_at, heard = _numbers(value, ("before", "asked_at", "heard"), {"heard": False})
    except StateRefused as error:
        again = f"`nextclick-worker forget {user_id}` writes it again"
        raise StateRefused(f"the wish {FORGET}{user_id} cannot be read: {error}; {again}") from None
    return Forget(before, asked_at, bool(heard))


def _numbers(value: bytes, names: tuple[str, ...], absent: Mapping[str, int] | None = None) -> list[int]:
    try:
        document = msgpack.unpackb(value)
    except (ValueError, msgpack.UnpackException):
        document = None
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise StateRefused(f"it is no map of format {FORMAT} but {value[:60]!r}")
    document = {**(absent or {}), **document}
    for name in names:
        number = document.get(name)
        if not isinstance(number, int) or number < 0:
            raise StateRefused(f"its {name} is {number!r}, not a number from 0")
    return [document[name] for name in names]


class StateWriter:
    """Adds the states to the transaction. Raises what `Transactions.send` raises."""

    def __init__(self, transactions: Transactions, *, topic: str) -> None:
        self._transactions = transactions
        self.topic = topic

    def block(self, partition: int, number: int, value: bytes | None) -> int:
        """A block, or its tombstone; how many bytes that was."""
        return self._send(partition, f"{BLOCK}{number}", value)

    def replay(self, partition: int, replay: Replay) -> int:
        """Where replay begins from now on."""
        return self._send(partition, REPLAY, replay.value())

    def heard(self, partition: int, user_id: str, wish: Forget) -> int:
        """A wish as the owner obeys it."""
        return self._send(partition, f"{FORGET}{user_id}", wish.value())

    def forgotten(self, partition: int, user_id: str) -> int:
        """A wish has been fulfilled."""
        return self._send(partition, f"{FORGET}{user_id}", None)

    def _send(self, partition: int, key: str, value: bytes | None) -> int:
        self._transactions.send(self.topic, partition, key=key.encode(), value=value)
        return len(key) + len(value or b"")


@dataclass(frozen=True, slots=True)
class StateRecord:
    """A record of a partition that is read back; `done` tells how far along that is, from 0 to 1."""

    partition: int
    token: int
    key: str
    value: bytes | None
    done: float


@dataclass(frozen=True, slots=True)
class AllRead:
    """A partition was read to its end; and what Kafka knows of the clicks in it."""

    partition: int
    token: int
    committed: int | None
    """The offset that the group has committed; None where there is none."""
    begin: int
    """The first offset that is still there."""
    end: int
    """The high-water mark."""


@dataclass(frozen=True, slots=True)
class Copies:
    """All blocks of a partition that hold something of people who asked to be forgotten before `sought`."""

    partition: int
    token: int
    sought: Mapping[str, int]
    blocks: frozenset[int]


@dataclass(frozen=True, slots=True)
class Waits:
    """Why reading does not get on at the moment."""

    reason: str


@dataclass(frozen=True, slots=True)
class Failed:
    """Reading has ended with an error, for all partitions."""

    error: Exception


Event = StateRecord | AllRead | Copies | Waits | Failed


@dataclass(slots=True)
class _Reading:
    """One partition that is read: until `end`, and then on for what others write to it."""

    partition: int
    token: int
    begin: int
    end: int
    position: int
    sought: Mapping[str, int]
    """Who is looked for, in a reading that is a search."""
    heard: int
    """Up to which offset wishes were passed on by earlier readings: each is, once."""
    whole: bool = False
    """Whether the end was reached once."""
    found: dict[int, bool] = field(default_factory=dict)


class StateFollower:
    """Reads partitions of the state topic back in a thread of its own; what it finds the loop `take`s.

    Partitions are read from their begin to the high-water mark, asked as a reader of uncommitted records:
    for a committed one the end is the last stable offset, and the predecessor's last transaction may still be
    open. Then they are followed for wishes to be forgotten. Every event carries the token that `follow`
    gave: what an earlier reading of the same partition still brings is told from what a later one does.
    """

    def __init__(self, connection: Connection, *, topic: str, clicks: str, group: str) -> None:
        self._connection = connection
        self.topic = topic
        self._clicks = clicks
        self._group = group
        self._lock = threading.Lock()
        self._wanted: dict[int, int] = {}
        self._searches: dict[int, dict[str, int]] = {}
        self._last_token = 0
        self._readings: dict[int, _Reading] = {}
        self._events: queue.Queue[Event] = queue.Queue(_QUEUED)
        self._changed = threading.Event()
        self._closed = False
        self._thread: threading.Thread | None = None

    def follow(self, partition: int) -> int:
        """Begin to read a partition, or begin anew; the token of what will come."""
        with self._lock:
            self._last_token += 1
            self._wanted[partition] = self._last_token
        self._wake()
        return self._last_token

    def leave(self, partition: int) -> None:
        """End the reading of a partition."""
        with self._lock:
            self._wanted.pop(partition, None)
            self._searches.pop(partition, None)
        self._wake()

    def search(self, partition: int, sought: Mapping[str, int]) -> None:
        """Look through a partition, once it was read, for blocks with states of users below an offset."""
        with self._lock:
            self._searches[partition] = dict(sought)
        self._wake()

    def take(self, timeout_seconds: float = 0.0) -> Event | None:
        """The next thing that was found, waiting so long for it; None where there is none."""
        try:
            return self._events.get(timeout=timeout_seconds) if timeout_seconds else self._events.get_nowait()
        except queue.Empty:
            return None

    @property
    def waiting(self) -> bool:
        """Whether `take` would give something at once."""
        return not self._events.empty()

    def close(self) -> None:
        """End the thread; it may take a moment, and is not waited for."""
        self._closed = True
        self._changed.set()

    def _wake(self) -> None:
        self._changed.set()
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._run, name="nextclick-states", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while not self._closed:
            try:
                with self._connection.errors(f"read the state topic {self.topic}"):
                    self._read()
            except Retriable as error:
                self._put(Waits(str(error)))
                self._changed.wait(_AGAIN_SECONDS)
            except Exception as error:  # noqa: BLE001  # the loop decides about it; here it would end unheard
                self._put(Failed(error))
                break

    def _read(self) -> None:
        shared = {
            **self._connection.settings(),
            "client_id": f"nextclick-states-{self._group}",
            "enable_auto_commit": False,
            "auto_offset_reset": "earliest",
            "allow_auto_create_topics": False,
            "metrics_enabled": False,
        }
        with ExitStack() as clients:
            reader = KafkaConsumer(
                **shared,
                **FETCH,
                group_id=self._group,
                isolation_level="read_committed",
                fetch_max_wait_ms=_POLL_MS,
            )
            clients.callback(reader.close, autocommit=False, timeout_ms=500)
            asker = KafkaConsumer(**shared, group_id=None, isolation_level="read_uncommitted")
            clients.callback(asker.close, autocommit=False, timeout_ms=500)
            reader.assign([self._at(partition) for partition in self._readings])
            for partition, reading in self._readings.items():
                reader.seek(self._at(partition), reading.position)
            while not self._closed:
                self._round(reader, asker)

    def _round(self, reader: Any, asker: Any) -> None:
        self._adjust(reader, asker)
        if not self._readings:
            self._changed.wait()
            self._changed.clear()
            return
        for reading in self._readings.values():
            if not reading.whole and reading.position >= reading.end:
                self._ended(reading, reader, asker)
        for at, records in reader.poll(timeout_ms=_POLL_MS).items():
            for record in records:
                self._found(self._readings[at.partition], record)
        for partition, reading in self._readings.items():
            # Further than the last record where marks of transactions follow it.
            reading.position = reader.position(self._at(partition), timeout_ms=0)

    def _adjust(self, reader: Any, asker: Any) -> None:
        """Begin and end readings as they are wanted now."""
        readings = self._readings
        with self._lock:
            wanted, searches = dict(self._wanted), dict(self._searches)
        again = {partition for partition in searches if partition in wanted}
        new = {p for p, token in wanted.items() if p not in readings or readings[p].token != token} | again
        gone = readings.keys() - wanted.keys()
        if not (new or gone):
            return
        for partition in gone:
            del readings[partition]
        reader.assign([self._at(partition) for partition in sorted(wanted)])
        ats = [self._at(partition) for partition in sorted(new)]
        begins = asker.beginning_offsets(ats, timeout_ms=ANSWER_MS) if ats else {}
        ends = asker.end_offsets(ats, timeout_ms=ANSWER_MS) if ats else {}
        for at in ats:
            partition, token = at.partition, wanted[at.partition]
            before = readings.get(partition)
            heard = begins[at]
            if before is not None and before.token == token:
                heard = max(before.heard, before.position)
            sought = searches.get(partition, {})
            reader.seek(at, begins[at])
            readings[partition] = _Reading(partition, token, begins[at], ends[at], begins[at], sought, heard)
        with self._lock:
            for partition in again:
                if self._searches.get(partition) is searches[partition]:
                    del self._searches[partition]

    def _found(self, reading: _Reading, record: Any) -> None:
        key = (record.key or b"").decode(errors="replace")
        if reading.sought and key.startswith(BLOCK) and key.removeprefix(BLOCK).isdecimal():
            held = record.value is not None and _holds(record.value, reading.sought)
            reading.found[block_number(key)] = held
        wish = key.startswith(FORGET) and record.offset >= reading.heard
        if wish or not (reading.whole or reading.sought):
            done = (record.offset + 1 - reading.begin) / max(1, reading.end - reading.begin)
            self._put(StateRecord(reading.partition, reading.token, key, record.value, min(1.0, done)))
        reading.position = record.offset + 1

    def _ended(self, reading: _Reading, reader: Any, asker: Any) -> None:
        if reading.sought:
            copies = frozenset(number for number, found in reading.found.items() if found)
            self._put(Copies(reading.partition, reading.token, reading.sought, copies))
            reading.sought, reading.found, reading.whole = {}, {}, True
            return
        at, clicks = self._at(reading.partition), TopicPartition(self._clicks, reading.partition)
        try:
            # With a transaction of the predecessor open the offset is not stable, and is asked for again.
            committed = reader.committed(clicks, timeout_ms=_ASK_MS)
        except KafkaTimeoutError:
            self._put(Waits(f"the last transaction of partition {reading.partition} is still open"))
            return
        end = asker.end_offsets([at], timeout_ms=ANSWER_MS)[at]
        if end > reading.end:
            # Somebody has written meanwhile, as where this process was frozen and is no owner any more: what
            # was read and what is committed need not belong together.
            reading.end = end
            return
        # Not in one call: kafka-python 3.0.12 answers for one topic of several.
        begin = asker.beginning_offsets([clicks], timeout_ms=ANSWER_MS)[clicks]
        end = asker.end_offsets([clicks], timeout_ms=ANSWER_MS)[clicks]
        reading.whole = True
        self._put(AllRead(reading.partition, reading.token, committed, begin, end))

    def _put(self, event: Event) -> None:
        while not self._closed:
            with suppress(queue.Full):
                self._events.put(event, timeout=_POLL_MS / 1000)
                break

    def _at(self, partition: int) -> TopicPartition:
        return TopicPartition(self.topic, partition)


def block_number(key: str) -> int:
    """The number in the key of a block. Raises StateRefused."""
    number = key.removeprefix(BLOCK)
    # Numbers are used again, so that they stay low; memory is reserved up to the highest.
    if not number.isdecimal() or len(number) > len(str(MAX_BLOCKS)) or int(number) > MAX_BLOCKS:
        raise StateRefused(f"the key {key!r} is none of a block from 1 to {MAX_BLOCKS}")
    return int(number)


def _holds(value: bytes, sought: Mapping[str, int]) -> bool:
    """Whether a block may hold a state of a user of `sought` that is older than the offset there.

    One that cannot be read may; such a one counts no more, or its partition would not be served.
    """
    if not any(blocks.may_hold(value, user_id) for user_id in sought):
        return False
    try:
        saved = blocks.decode(value)
    except StateRefused:
        return True
    return any(
        user_id in sought and offset < sought[user_id]
        for user_id, offset in zip(saved.user_ids, saved.states.offset.tolist(), strict=True)
    )
