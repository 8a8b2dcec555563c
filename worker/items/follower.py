"""The follower of a topic of items or rules: reads all of it, then passes on every change."""

from __future__ import annotations

import queue
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from itertools import islice
from typing import Any, Final, Generic, NamedTuple, Protocol, TypeVar

from worker.clock import Clock
from worker.core.reasons import Reason
from worker.errors import NotAllowed, Retriable, TopicError
from worker.topics.clicks import Invalid
from worker.topics.compacted import CompactedReader

_POLL_MS: Final = 500
_AGAIN_SECONDS: Final = 1.0

_CHANGES: Final = 1_000
"""Maximum number of changes in an event, so that the loop can stop between events."""


class Known(Protocol):
    """All that a topic says."""

    def put(self, changes: Iterable[Any], *, now_ms: int) -> object:
        """Apply changes, in their order."""
        ...

    def changes(self) -> Iterator[Any]:
        """Yield all that is known, as changes to put."""
        ...


K = TypeVar("K", bound=Known)
C = TypeVar("C", bound=tuple[str, object])


class CaughtUp(NamedTuple, Generic[K]):
    """Reported once: all records up to the end of the topic at the start were read."""

    known: K
    """From here on, it belongs to the receiver."""
    seconds: float
    """The time that it took."""
    refused: Counter[Reason]
    """The number of refused records, by reason."""


class Changed(NamedTuple, Generic[C]):
    """Reported when records changed something, or were refused, after the follower had caught up."""

    changes: Sequence[C]
    bad: list[Invalid]


class Reading(NamedTuple):
    """Reported until the follower has caught up: at most `left` records are left to read."""

    left: int


class Waits(NamedTuple):
    """Reported while reading is blocked, with the reason; an empty reason: not any more."""

    reason: str


class Failed(NamedTuple):
    """Reported when the follower has stopped with an error."""

    error: Exception


Event = CaughtUp[K] | Changed[C] | Reading | Waits | Failed


class Follower(Generic[K, C]):
    """Reads a topic and turns its records into events for the loop. `new` returns an empty `Known`.

    With `background`, a thread does this work after `start`; otherwise `take` does this work.

    If the topic is read from its beginning again, its changes are passed on only when they have caught up:
    an old description that is not compacted yet must not come back into service.
    """

    def __init__(
        self, reader: CompactedReader[C], new: Callable[[], K], *, clock: Clock, background: bool = True
    ) -> None:
        self._reader = reader
        self._new = new
        self._clock = clock
        self._background = background
        self._events: queue.SimpleQueue[Event[K, C]] = queue.SimpleQueue()
        self._again, self._closed = threading.Event(), threading.Event()
        self._open: ExitStack | None = None
        """The open connection; None while there is no connection."""
        self._reading: K | None = None
        """All that was read since the topic was opened; None after they have caught up."""
        self._refused = Counter[Reason]()
        self._began = 0.0
        self._caught_up = False
        """Whether all that is known has been handed over."""
        self._waits = ""

    def start(self) -> None:
        """Start to follow the topic."""
        if self._background:
            threading.Thread(target=self._run, name=f"nextclick-{self._reader.what}", daemon=True).start()

    def take(self, timeout_seconds: float = 0.0) -> Event[K, C] | None:
        """Return the next event; None if no event arrives within `timeout_seconds`."""
        if not self._background:
            timeout_seconds = 0.0
            if not self._closed.is_set() and self._events.empty():
                self._step(0)
        try:
            return self._events.get(timeout=timeout_seconds) if timeout_seconds else self._events.get_nowait()
        except queue.Empty:
            return None

    def read_again(self) -> None:
        """Read the topic from its beginning, over a new connection, because it was created again."""
        self._again.set()

    def close(self) -> None:
        """Stop the thread without waiting for its end."""
        self._closed.set()
        if not self._background:
            self._disconnect()

    def _run(self) -> None:
        while not self._closed.is_set():
            if not self._step(_POLL_MS):
                self._closed.wait(_AGAIN_SECONDS)
        self._disconnect()

    def _step(self, wait_ms: int) -> bool:
        """Poll once; return whether Kafka and, if it is needed, the schema registry answered."""
        try:
            self._follow(wait_ms)
        except Retriable as error:
            # The client resumes where it stopped, because a broker that was away has the same topic.
            self._say(str(error))
            return False
        except TopicError as error:
            # `worker.topics.watch` finds out whether the topic is gone.
            self._say(str(error))
            self._disconnect()
            return False
        except NotAllowed as error:
            self._disconnect()
            if not self._caught_up:
                self._fail(error)
                return True
            self._say(str(error))
            return False
        except Exception as error:  # noqa: BLE001  # the loop raises it; here it would be lost
            self._fail(error)
            return True
        self._say("")
        return True

    def _say(self, reason: str) -> None:
        if reason != self._waits:
            self._waits = reason
            self._events.put(Waits(reason))

    def _fail(self, error: Exception) -> None:
        self._events.put(Failed(error))
        self._closed.set()

    def _follow(self, wait_ms: int) -> None:
        if self._again.is_set():
            self._again.clear()
            self._disconnect()
        if self._open is None:
            life = ExitStack()
            life.enter_context(self._reader.opened())
            self._open, self._reading, self._began = life, self._new(), self._clock.steady()
            self._refused = Counter()
        is_more = self._reading is None or self._reader.left()
        changes, bad = self._reader.read(timeout_ms=wait_ms if is_more else 0)
        if self._reading is not None:
            self._catch_up(self._reading, changes, bad)
        elif changes or bad:
            self._pass_on(changes, bad)

    def _catch_up(self, reading: K, changes: Sequence[C], bad: Sequence[Invalid]) -> None:
        reading.put(changes, now_ms=self._clock.now_ms())
        self._refused.update(one.reason for one in bad)
        if left := self._reader.left():
            if not self._caught_up:
                self._events.put(Reading(left))
            return
        self._reading = None
        if self._caught_up:
            self._pass_on(reading.changes(), [])
        else:
            self._caught_up = True
            self._events.put(CaughtUp(reading, self._clock.steady() - self._began, self._refused))

    def _pass_on(self, changes: Iterable[C], bad: list[Invalid]) -> None:
        every = iter(changes)
        while some := [*islice(every, _CHANGES)]:
            self._events.put(Changed(some, []))
        if bad:
            self._events.put(Changed[C]((), bad))

    def _disconnect(self) -> None:
        life, self._open = self._open, None
        if life is not None:
            life.close()
