"""The follower of the state topic: reads partitions during recovery, then watches for deletion requests.

It runs in a thread. It reads a partition from the beginning to the end, then follows it for deletion
requests. The end is the high-water mark that a reader of uncommitted records sees. A reader of committed
records would see the last stable offset instead, and miss the predecessor's last transaction if it is still
open.
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
from worker.process.memory import give_back
from worker.topics.states import BLOCK, FETCH, FORGET, block_number, content

_QUEUED: Final = 32
"""Maximum number of records queued for the loop: at most 20 MiB."""

_POLL_MS: Final = 100
_AGAIN_SECONDS: Final = 1.0
_ASK_MS: Final = 500


@dataclass(frozen=True, slots=True)
class StateRecord:
    """A state record of a partition in recovery; `done` is the progress of the reading, from 0 to 1."""

    partition: int
    token: int
    key: str
    value: bytes | None
    done: float


@dataclass(frozen=True, slots=True)
class AllRead:
    """Reported when a partition has been read to its end, with Kafka's offsets of the partition's clicks."""

    partition: int
    token: int
    committed: int | None
    """The group's committed offset; None if the group has not committed any."""
    begin: int
    """The first offset that is still retained."""
    end: int
    """The high-water mark."""


@dataclass(frozen=True, slots=True)
class Copies:
    """The blocks of a partition that have data of a `sought` user from clicks below the user's offset."""

    partition: int
    token: int
    sought: Mapping[str, int]
    blocks: frozenset[int]


@dataclass(frozen=True, slots=True)
class Waits:
    """Reported while reading is blocked, with the reason."""

    reason: str


@dataclass(frozen=True, slots=True)
class Failed:
    """Reported when reading has ended with an error, for all partitions."""

    error: Exception


Event = StateRecord | AllRead | Copies | Waits | Failed


@dataclass(slots=True)
class _Reading:
    """The reading of one partition: up to `end`, then onwards for new deletion requests."""

    partition: int
    token: int
    begin: int
    end: int
    position: int
    sought: Mapping[str, int]
    """If the reading is a search: by user, the offset below which data are sought; otherwise empty."""
    heard: int
    """Deletion requests below this offset were passed on earlier: each request is passed on only once."""
    whole: bool = False
    """Whether `end` has been reached."""
    found: dict[int, bool] = field(default_factory=dict)


class StateFollower:
    """Reads partitions of the state topic and turns them into events for the loop.

    Every event has the token that `follow` returned, which distinguishes events of the current reading of a
    partition from those of earlier readings. With `background`, a thread reads; otherwise `take` reads.
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
        """A reader of committed records, and a reader of uncommitted records that only looks up offsets."""
        self._events: queue.Queue[Event] = queue.Queue(_QUEUED if background else 0)
        self._changed = threading.Event()
        self._closed = False
        self._thread: threading.Thread | None = None

    def follow(self, partition: int) -> int:
        """Read a partition from its beginning; return the token of the events to come."""
        with self._lock:
            self._last_token += 1
            self._wanted[partition] = self._last_token
        self._wake()
        return self._last_token

    def leave(self, partition: int) -> None:
        """Stop reading a partition."""
        with self._lock:
            self._wanted.pop(partition, None)
            self._searches.pop(partition, None)
        self._wake()

    def search(self, partition: int, sought: Mapping[str, int]) -> None:
        """Search a partition, once it has been read, for blocks with states of the `sought` users.

        `sought`: by user, an offset; only states with lower offsets are sought.
        """
        with self._lock:
            self._searches[partition] = dict(sought)
        self._wake()

    def take(self, timeout_seconds: float = 0.0) -> Event | None:
        """Return the next event; None if no event arrives within `timeout_seconds`."""
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
        """Stop the thread without waiting for its end."""
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
        """Poll once; return whether Kafka answered."""
        try:
            with self._connection.errors(f"read the state topic {self.topic}"):
                self._round(*self._opened())
        except (Retriable, TopicError) as error:
            # `worker.topics.watch` finds out whether the topic is gone.
            self._put(Waits(str(error)))
            self._drop_clients()
            return False
        except Exception as error:  # noqa: BLE001  # the loop raises it; here it would be lost
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
            # A client that is given up need not end well, and its error must not end the thread in silence.
            with suppress(Exception):
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
            # The position is beyond the last record if transaction markers follow.
            reading.position = reader.position(self._at(partition), timeout_ms=0)

    def _adjust(self, reader: Reader, asker: Reader) -> None:
        """Start and stop readings as currently requested."""
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
            # A search reads all blocks. With a request a second, memory grew by 4 MiB a minute without this.
            give_back()
            return
        at, clicks = self._at(reading.partition), TopicPartition(self._clicks, reading.partition)
        try:
            # While a transaction of the predecessor is open, the offset is not stable; the next round asks
            # again.
            committed = reader.committed(clicks, timeout_ms=_ASK_MS)
        except NotStable as error:
            self._put(Waits(str(error)))
            return
        end = asker.ends([at])[at]
        if end > reading.end:
            # Another process has written in the meantime, for example because this process was frozen and
            # lost the partition. The records read and the committed offset may not be consistent.
            reading.end = end
            return
        # Two calls, because kafka-python 3.0.12 answers for only one of several topics.
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
    """Return whether a block may have a state of a user in `sought` from below the user's offset.

    True for an unreadable block, which may have such a state. It does no harm: because the partition is in
    service, a later record supersedes the block.
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
