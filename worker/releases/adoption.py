"""Refresh: how a release gets from its topic into service while the worker goes on serving.

A thread follows the topic, verifies what the pointers name and builds its tables beside those that
serve; the loop takes it up between two batches, by one reference. Rows that another release made are
rebuilt when their users next click (`worker.core.recommender`), and in idle time from here.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Collection
from typing import Final, NamedTuple

import structlog

from worker.core.recommender import Recommender
from worker.core.release import CANDIDATE_SHARE, Release, numbers, verify
from worker.core.serving import Serving
from worker.core.states import States
from worker.errors import ReleaseRefused, Retriable
from worker.http.readiness import Readiness
from worker.metrics import Metrics
from worker.process.memory import give_back
from worker.topics.releases import CANDIDATE, CHAMPION, ReleaseReader

log = structlog.get_logger("worker")

_POLL_MS: Final = 500
_AGAIN_SECONDS: Final = 1.0

_ROWS_LOOKED_AT: Final = 4096
_ROWS_REBUILT: Final = 128
"""Rows at a time: a few milliseconds each, so that no click waits for long."""


class Verified(NamedTuple):
    """What is to serve, ready for it."""

    champion: Release
    candidate: Release | None
    share: float
    """The part of the users that the candidate serves."""


class Refused(NamedTuple):
    """Why what a pointer names does not serve."""

    pointer: str
    number: int | None
    error: ReleaseRefused


class Looked(NamedTuple):
    """What the pointers name was dealt with."""

    number: int
    """The highest number of a release in the topic."""
    remark: str
    """What is refused at the moment, and why; empty where nothing is."""


class Waits(NamedTuple):
    """Why there is no release yet, or why following does not get on at the moment."""

    reason: str


class Failed(NamedTuple):
    """Following has ended with an error."""

    error: Exception


Event = Verified | Refused | Looked | Waits | Failed


class ReleaseFollower:
    """Reads, verifies and builds in a thread of its own; what it finds the loop `take`s."""

    def __init__(self, reader: ReleaseReader) -> None:
        self._reader = reader
        self._events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._adopted, self._closed = threading.Event(), threading.Event()
        self._serving: Verified | None = None
        self._refused: dict[str, tuple[int, str]] = {}
        """By pointer: what it names that is refused, as a hash, so that it is said once; and why."""

    def start(self) -> None:
        """Begin to follow."""
        threading.Thread(target=self._run, name="nextclick-releases", daemon=True).start()

    def take(self, timeout_seconds: float = 0.0) -> Event | None:
        """The next thing that was found, waiting so long for it; None where there is none."""
        try:
            return self._events.get(timeout=timeout_seconds) if timeout_seconds else self._events.get_nowait()
        except queue.Empty:
            return None

    def adopted(self) -> None:
        """Note that what was handed over serves, and what served before is gone."""
        self._adopted.set()

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
            except Exception as error:  # noqa: BLE001  # the loop decides about it; here it would end unheard
                self._events.put(Failed(error))
                break

    def _follow(self) -> None:
        with self._reader.opened() as reader:
            changed = True
            while not self._closed.is_set():
                if reader.read(timeout_ms=0 if changed else _POLL_MS) or changed:
                    self._look()
                changed = False
                if self._adopted.is_set():
                    self._adopted.clear()
                    give_back()

    def _look(self) -> None:
        """Verify what the pointers name, and hand it over."""
        before = self._serving
        champion = self._release(CHAMPION) or (before and before.champion)
        if champion is None:
            self._say_what_is_missing()
            return
        candidate = self._release(CANDIDATE)
        pointer = self._reader.pointer(CANDIDATE) if candidate else None
        share = (pointer and pointer.share) or CANDIDATE_SHARE
        found = Verified(champion, None if candidate is champion else candidate, share)
        if found != before:
            self._serving = found
            self._events.put(found)
        remark = "; ".join(why for _, why in self._refused.values())
        self._events.put(Looked(max(numbers(self._reader.held()), default=0), remark))

    def _release(self, name: str) -> Release | None:
        """The release that a pointer names, verified; None where there is none, or it is refused."""
        number, what = None, 0
        try:
            pointer = self._reader.pointer(name)
            if pointer is not None:
                number, what = pointer.release, hash(self._reader.identity(pointer.release))
                if self._refused.get(name, (-1, ""))[0] == what:
                    return None
                release = self._verified(number)
                self._refused.pop(name, None)
                return release
            if name == CHAMPION and self._serving is not None:
                raise ReleaseRefused("pointer", f"{name} was deleted from topic {self._reader.topic}")
            self._refused.pop(name, None)
        except ReleaseRefused as error:
            self._refuse(name, number, what, error)
        return None

    def _refuse(self, name: str, number: int | None, what: int, error: ReleaseRefused) -> None:
        named = "" if number is None else f" release {number}"
        said = what, f"{name}{named} was refused: {error}"
        if self._refused.get(name) != said:
            self._refused[name] = said
            self._events.put(Refused(name, number, error))

    def _verified(self, number: int) -> Release:
        serving = self._serving[:2] if self._serving else ()
        for release in serving:
            if release is not None and release.number == number:
                return release
        manifest, blob = self._reader.fetch(number)
        return verify(manifest, blob, number=number)

    def _say_what_is_missing(self) -> None:
        if CHAMPION not in self._reader.held():
            self._events.put(
                Waits(
                    f"no release: topic {self._reader.topic} has no {CHAMPION}. "
                    "`nextclick-trainer fit` makes one, `nextclick-trainer publish` sends it"
                )
            )


class Refresh:
    """What serves, and how it came to: the loop's side of the follower.

    `serving` is there once `wait` said so.
    """

    serving: Serving

    def __init__(
        self,
        follower: ReleaseFollower,
        states: States,
        new_recommender: Callable[[Release], Recommender],
        *,
        metrics: Metrics,
        readiness: Readiness,
        steady: Callable[[], float],
    ) -> None:
        self._follower = follower
        self._states = states
        self._new_recommender = new_recommender
        self._metrics = metrics
        self._readiness = readiness
        self._steady = steady
        self._serves = False
        self._seen = 0
        self._looked_at = 0
        """All rows below this are rebuilt."""

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

    def knows(self, number: int) -> bool:
        """Whether release `number`, or a later one, was dealt with: adopted, refused or passed over."""
        return number <= self._seen

    @property
    def rebuilding(self) -> bool:
        """Whether there are rows left that another release may have made."""
        return self._looked_at < self._states.end

    def rebuild_from_start(self) -> None:
        """Look at all rows again: states that another release made may have been loaded."""
        self._looked_at = 0

    def rebuild(self, seconds: float) -> None:
        """Rebuild rows in the background for about so long."""
        deadline, states = self._steady() + seconds, self._states
        while self.rebuilding and self._steady() < deadline:
            end = self._looked_at + _ROWS_LOOKED_AT
            stale = self.serving.stale(states.used(self._looked_at, end))
            if len(stale) > _ROWS_REBUILT:
                stale = stale[:_ROWS_REBUILT]
                end = int(stale[-1]) + 1
            self._metrics.rebuilt.labels("background").inc(self.serving.rebuild(stale))
            self._looked_at = min(end, states.end)

    def note(self) -> None:
        """Tell the metrics how rebuilding gets on."""
        for recommender in self.serving.recommenders:
            self._metrics.rebuilt.labels("click").inc(recommender.rebuilt)
            recommender.rebuilt = 0
        self._metrics.rebuild_left.set(self._states.end - self._looked_at)

    def _act(self, event: Event | None) -> None:
        if isinstance(event, Failed):
            raise event.error
        if isinstance(event, Verified):
            self._adopt(event)
        elif isinstance(event, Refused):
            self._refuse(event)
        elif isinstance(event, Looked):
            self._seen, self._readiness.remark = event.number, event.remark
        elif isinstance(event, Waits) and not self._serves and self._readiness.not_ready(event.reason):
            log.warning("not ready", reason=event.reason)

    def _adopt(self, verified: Verified) -> None:
        champion, candidate, share = verified
        size = max(champion.state_size, candidate.state_size if candidate else 0)
        known = {one.release.number: one for one in self.serving.recommenders} if self._serves else {}
        if self._serves:
            self.note()
        self._states.resize(size)

        def recommender(release: Release) -> Recommender:
            return known.get(release.number) or self._new_recommender(release)

        tried = recommender(candidate) if candidate else None
        self.serving, self._serves = Serving(self._states, recommender(champion), tried, share), True
        self._looked_at = 0
        self._tell(verified, known)
        self._follower.adopted()

    def _tell(self, verified: Verified, known: Collection[int]) -> None:
        champion, candidate, share = verified
        self._metrics.release.set(champion.number)
        self._metrics.candidate.set(candidate.number if candidate else 0)
        self._metrics.candidate_share.set(self.serving.share)
        new = {} if champion.number in known else champion.summary()
        log.info("adopted a release", release=champion.number, **new)
        if candidate:
            log.info("trying a candidate", release=candidate.number, share=share, **candidate.summary())

    def _refuse(self, refused: Refused) -> None:
        error = refused.error
        self._metrics.releases_refused.labels(error.reason).inc()
        log.error(
            "release refused",
            pointer=refused.pointer,
            release=refused.number,
            reason=error.reason,
            error=str(error),
        )
        if not self._serves:
            self._readiness.not_ready(f"the champion was refused: {error}. Publish another")
