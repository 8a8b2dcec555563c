"""The follower of the state topic: reads partitions back in a thread, and watches them for deletion requests.

A partition is read from its begin to the high-water mark, asked as a reader of uncommitted records: for a
reader of committed ones the end is the last stable offset, and the predecessor's last transaction may still
be open. After that the partition is followed for deletion requests.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Mapping
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, field
from typing import Final

from worker.core import blocks
from worker.errors import NotStable, Retriable, StateRefused, TopicError
from worker.kafka.interface import Connection, Reader, Record, TopicPartition
from worker.topics.states import BLOCK, FETCH, FORGET, block_number, content

_QUEUED: Final = 32
"""The number of records that may wait for the loop: at most 20 MiB."""

_POLL_MS: Final = 100
_AGAIN_SECONDS: Final = 1.0
_ASK_MS: Final = 500


@dataclass(frozen=True, slots=True)
class StateRecord:
    """A record of a partition that is read back; `done` is the progress of that, from 0 to 1."""

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
    """The offset that the group has committed; None if there is none."""
    begin: int
    """The first offset that is still there."""
    end: int
    """The high-water mark."""


@dataclass(frozen=True, slots=True)
class Copies:
    """All blocks of a partition with data of the users in `sought` that is older than their offsets there."""

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
    """The users looked for, in a reading that is a search."""
    heard: int
    """The offset up to which earlier readings passed on deletion requests: each is passed on once."""
    whole: bool = False
    """Whether the end was reached once."""
    found: dict[int, bool] = field(default_factory=dict)


class StateFollower:
    """Reads partitions of the state topic and makes events of them for the loop.

    Every event carries the token that `follow` returned, so that the events of an earlier reading of a
    partition can be distinguished from those of a later one. With `background` it reads in a thread of its
    own; without, in `take`.
    """

    def __init__(
        self, connection: Connection, *, topic: str, clicks: str, group: str, background: bool = True
    ) -> None:
        self._connection = connection
        self.topic = topic
        self._clicks = clicks
        self._group = group
        self._background = background
        self._lock = threading.Lock()
        self._wanted: dict[int, int] = {}
        self._searches: dict[int, dict[str, int]] = {}
        self._last_token = 0
        self._readings: dict[int, _Reading] = {}
        self._clients: tuple[Reader, Reader] | None = None
        """The reader of committed records, and one of uncommitted records that asks for offsets."""
        self._events: queue.Queue[Event] = queue.Queue(_QUEUED if background else 0)
        self._changed = threading.Event()
        self._closed = False
        self._thread: threading.Thread | None = None

    def follow(self, partition: int) -> int:
        """Read a partition from its begin; return the token of the events that will come."""
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
        """Return the next event, waiting at most `timeout_seconds`; None if there is none."""
        if not self._background:
            timeout_seconds = 0.0
            if not self._closed and self._events.empty():
                self._step()
        try:
            return self._events.get(timeout=timeout_seconds) if timeout_seconds else self._events.get_nowait()
        except queue.Empty:
            return None

    @property
    def waiting(self) -> bool:
        """Whether `take` would return an event at once."""
        return not self._events.empty()

    def close(self) -> None:
        """End the thread; it may take a moment, and is not waited for."""
        self._closed = True
        self._changed.set()
        if not self._background:
            self._drop_clients()

    def _wake(self) -> None:
        self._changed.set()
        if self._background and (self._thread is None or not self._thread.is_alive()):
            self._thread = threading.Thread(target=self._run, name="nextclick-states", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while not self._closed:
            if not self._step():
                self._changed.wait(_AGAIN_SECONDS)
            elif not self._readings and not self._closed:
                self._changed.wait()
            self._changed.clear()
        self._drop_clients()

    def _step(self) -> bool:
        """Read for one poll; return whether Kafka answered."""
        try:
            with self._connection.errors(f"read the state topic {self.topic}"):
                self._round(*self._opened())
        except (Retriable, TopicError) as error:
            # `worker.topics.watch` says whether the topic is gone.
            self._put(Waits(str(error)))
            self._drop_clients()
            return False
        except Exception as error:  # noqa: BLE001  # the loop decides about it; here it would end unheard
            self._put(Failed(error))
            self._closed = True
        return True

    def _opened(self) -> tuple[Reader, Reader]:
        if self._clients is None:
            name = f"nextclick-states-{self._group}"
            fetch = {**FETCH, "fetch_max_wait_ms": _POLL_MS}
            with ExitStack() as opened:
                reader = opened.enter_context(
                    closing(self._connection.reader(name, group=self._group, fetch=fetch))
                )
                self._clients = reader, self._connection.reader(name, committed=False)
                opened.pop_all()
            reader.assign([self._at(partition) for partition in self._readings])
            for partition, reading in self._readings.items():
                reader.seek(self._at(partition), reading.position)
        return self._clients

    def _drop_clients(self) -> None:
        clients, self._clients = self._clients, None
        for client in clients or ():
            client.close()

    def _round(self, reader: Reader, asker: Reader) -> None:
        self._adjust(reader, asker)
        if not self._readings:
            return
        for reading in self._readings.values():
            if not reading.whole and reading.position >= reading.end:
                self._ended(reading, reader, asker)
        for at, records in reader.poll(_POLL_MS if self._background else 0).items():
            for record in records:
                self._found(self._readings[at.partition], record)
        for partition, reading in self._readings.items():
            # Further than the last record where marks of transactions follow it.
            reading.position = reader.position(self._at(partition), timeout_ms=0)

    def _adjust(self, reader: Reader, asker: Reader) -> None:
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
        begins = asker.begins(ats) if ats else {}
        ends = asker.ends(ats) if ats else {}
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

    def _found(self, reading: _Reading, record: Record) -> None:
        name, value = content(record)
        key = name.decode(errors="replace")
        if reading.sought and key.startswith(BLOCK) and key.removeprefix(BLOCK).isdecimal():
            held = value is not None and _holds(value, reading.sought)
            reading.found[block_number(key)] = held
        request = key.startswith(FORGET) and record.offset >= reading.heard
        if request or not (reading.whole or reading.sought):
            done = (record.offset + 1 - reading.begin) / max(1, reading.end - reading.begin)
            self._put(StateRecord(reading.partition, reading.token, key, value, min(1.0, done)))
        reading.position = record.offset + 1

    def _ended(self, reading: _Reading, reader: Reader, asker: Reader) -> None:
        if reading.sought:
            copies = frozenset(number for number, found in reading.found.items() if found)
            self._put(Copies(reading.partition, reading.token, reading.sought, copies))
            reading.sought, reading.found, reading.whole = {}, {}, True
            return
        at, clicks = self._at(reading.partition), TopicPartition(self._clicks, reading.partition)
        try:
            # With a transaction of the predecessor open the offset is not stable, and is asked for again.
            committed = reader.committed(clicks, timeout_ms=_ASK_MS)
        except NotStable as error:
            self._put(Waits(str(error)))
            return
        end = asker.ends([at])[at]
        if end > reading.end:
            # Somebody has written meanwhile, as where this process was frozen and is no owner any more: what
            # was read and what is committed need not belong together.
            reading.end = end
            return
        # Not in one call: kafka-python 3.0.12 answers for one topic of several.
        begin = asker.begins([clicks])[clicks]
        end = asker.ends([clicks])[clicks]
        reading.whole = True
        self._put(AllRead(reading.partition, reading.token, committed, begin, end))

    def _put(self, event: Event) -> None:
        while not self._closed:
            with suppress(queue.Full):
                self._events.put(event, timeout=_POLL_MS / 1000)
                break

    def _at(self, partition: int) -> TopicPartition:
        return TopicPartition(self.topic, partition)


def _holds(value: bytes, sought: Mapping[str, int]) -> bool:
    """Return whether a block may hold a state of a user of `sought` that is older than the offset there.

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
