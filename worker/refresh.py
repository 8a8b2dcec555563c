"""Refresh: how a release gets from its topic into service while the worker goes on serving.

A thread follows the topic, verifies what the pointers name and builds its tables beside those that
serve; the loop takes it up between two batches, by one reference. Rows that another release made are
rewarmed when their users next click (`worker.core.recommender`), and in idle time from here.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Final, NamedTuple

import structlog

from worker.core.recommender import Recommender
from worker.core.release import Pointer, Release, verify
from worker.core.states import States
from worker.errors import NextclickError, ReleaseRefused, Retriable
from worker.http.readiness import Readiness
from worker.metrics import Metrics
from worker.topics.releases import CHAMPION, ReleaseReader

log = structlog.get_logger("worker")

_POLL_MS: Final = 500
_AGAIN_SECONDS: Final = 1.0

_ROWS_LOOKED_AT: Final = 4096
_ROWS_REWARMED: Final = 128
"""Rows at a time: a few milliseconds each, so that no click waits for long."""


class Verified(NamedTuple):
    """A release that is ready to serve."""

    champion: Release


class Refused(NamedTuple):
    """Why what a pointer names does not serve."""

    pointer: str
    number: int | None
    error: ReleaseRefused


class Waits(NamedTuple):
    """Why there is no release yet, or why following does not get on at the moment."""

    reason: str


class Failed(NamedTuple):
    """Following has ended with an error."""

    error: NextclickError


Event = Verified | Refused | Waits | Failed


class ReleaseFollower:
    """Reads, verifies and builds in a thread of its own; what it finds the loop `take`s."""

    def __init__(self, reader: ReleaseReader) -> None:
        self._reader = reader
        self._events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._closed = threading.Event()
        self._serving: Release | None = None
        self._refused: set[object] = set()
        """What was refused already, so that it is said once."""

    def start(self) -> None:
        """Begin to follow."""
        threading.Thread(target=self._run, name="nextclick-releases", daemon=True).start()

    def take(self, timeout_seconds: float = 0.0) -> Event | None:
        """The next thing that was found, waiting so long for it; None where there is none."""
        try:
            return self._events.get(timeout=timeout_seconds) if timeout_seconds else self._events.get_nowait()
        except queue.Empty:
            return None

    def close(self) -> None:
        """End the thread; it may take a moment, and is not waited for."""
        self._closed.set()

    def _run(self) -> None:
        while not self._closed.is_set():
            try:
                self._follow()
            except Retriable as error:
                self._events.put(Waits(str(error)))
                self._closed.wait(_AGAIN_SECONDS)
            except NextclickError as error:
                self._events.put(Failed(error))
                break

    def _follow(self) -> None:
        with self._reader.opened() as reader:
            changed = True
            while not self._closed.is_set():
                if reader.read(timeout_ms=0 if changed else _POLL_MS) or changed:
                    self._look()
                changed = False

    def _look(self) -> None:
        """Verify what the pointer names, and hand it over."""
        pointer = None
        try:
            pointer = self._reader.pointer(CHAMPION)
            if pointer is not None:
                self._serve(pointer)
            elif self._serving is not None:
                raise ReleaseRefused("pointer", f"{CHAMPION} was deleted from topic {self._reader.topic}")
            else:
                self._events.put(
                    Waits(
                        f"no release: topic {self._reader.topic} has no {CHAMPION}. "
                        "`nextclick-trainer fit` makes one, `nextclick-trainer publish` sends it"
                    )
                )
        except ReleaseRefused as error:
            number = None if pointer is None else pointer.release
            what = (str(error), () if number is None else self._reader.identity(number))
            if what not in self._refused:
                self._refused.add(what)
                self._events.put(Refused(CHAMPION, number, error))

    def _serve(self, pointer: Pointer) -> None:
        number = pointer.release
        if self._serving is not None and self._serving.number == number:
            return
        manifest, blob = self._reader.fetch(number)
        self._serving = verify(manifest, blob, number=number)
        self._events.put(Verified(self._serving))


class Refresh:
    """What serves, and how it came to: the loop's side of the follower.

    `recommender` and `states` are there once `wait` said so.
    """

    recommender: Recommender
    states: States

    def __init__(
        self,
        follower: ReleaseFollower,
        new_recommender: Callable[[Release, States], Recommender],
        *,
        metrics: Metrics,
        readiness: Readiness,
        steady: Callable[[], float],
    ) -> None:
        self._follower = follower
        self._new_recommender = new_recommender
        self._metrics = metrics
        self._readiness = readiness
        self._steady = steady
        self._serves = False
        self._looked_at = 0
        """All rows below this are rewarmed."""

    def start(self) -> None:
        """Begin to follow the releases."""
        self._follower.start()

    def close(self) -> None:
        """End following them."""
        self._follower.close()

    def wait(self, seconds: float) -> bool:
        """Wait so long for the first release; whether one serves."""
        self._act(self._follower.take(seconds))
        return self._serves

    def adopt(self) -> None:
        """Take up what is ready: to be called between two batches. Raises what ended the follower."""
        while event := self._follower.take():
            self._act(event)

    @property
    def rewarming(self) -> bool:
        """Whether there are rows left that another release may have made."""
        return self._looked_at < self.states.end

    def rewarm_from_start(self) -> None:
        """Look at all rows again: states that another release made were loaded."""
        self._looked_at = 0

    def rewarm(self, seconds: float) -> None:
        """Rewarm rows in the background for about so long."""
        deadline = self._steady() + seconds
        states, number = self.states, self.recommender.release.number
        while self.rewarming and self._steady() < deadline:
            end = self._looked_at + _ROWS_LOOKED_AT
            rows = states.used(self._looked_at, end)
            stale = rows[states.read_column("release", rows) != number]
            if len(stale) > _ROWS_REWARMED:
                stale = stale[:_ROWS_REWARMED]
                end = int(stale[-1]) + 1
            self._metrics.rewarmed.labels("background").inc(self.recommender.rewarm(stale))
            self._looked_at = min(end, states.end)

    def note(self) -> None:
        """Tell the metrics how rewarming gets on."""
        by_click, self.recommender.rewarmed = self.recommender.rewarmed, 0
        self._metrics.rewarmed.labels("click").inc(by_click)
        self._metrics.rewarm_left.set(self.states.end - self._looked_at)

    def _act(self, event: Event | None) -> None:
        if isinstance(event, Failed):
            raise event.error
        if isinstance(event, Verified):
            self._adopt(event.champion)
        elif isinstance(event, Refused):
            self._refuse(event)
        elif isinstance(event, Waits) and not self._serves and self._readiness.not_ready(event.reason):
            log.warning("not ready", reason=event.reason)

    def _adopt(self, release: Release) -> None:
        if self._serves:
            self.states.resize(release.state_size)
            self.note()
        else:
            self.states = States(state_size=release.state_size)
        self.recommender, self._serves = self._new_recommender(release, self.states), True
        self._looked_at = 0
        self._readiness.remark = ""
        self._metrics.release.set(release.number)
        log.info("adopted a release", release=release.number, **release.summary())

    def _refuse(self, refused: Refused) -> None:
        error = refused.error
        self._metrics.releases_refused.labels(error.reason).inc()
        log.error("release refused", release=refused.number, reason=error.reason, error=str(error))
        if self._serves:
            named = "" if refused.number is None else f" {refused.number}"
            self._readiness.remark = f"release{named} was refused: {error}"
        else:
            self._readiness.not_ready(f"the champion was refused: {error}. Publish another")
