"""The follower of releases: reads their topic, and verifies the releases that the pointers name."""

from __future__ import annotations

import queue
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Final, NamedTuple

from worker.core.release import CANDIDATE_SHARE, Release, numbers, verify
from worker.errors import NotAllowed, ReleaseRefused, Retriable, TopicError
from worker.process.memory import give_back
from worker.topics.releases import CANDIDATE, CHAMPION, ReleaseReader

_POLL_MS: Final = 500
_AGAIN_SECONDS: Final = 1.0

_TURN_SECONDS: Final = 0.001
"""The longest time for which the loop waits for Python's global lock while a release is verified."""


class Verified(NamedTuple):
    """Reported when there are new verified releases to serve."""

    champion: Release
    candidate: Release | None
    share: float
    """The share of users that the candidate serves."""


class Refused(NamedTuple):
    """Reported when the release that a pointer names is refused."""

    pointer: str
    number: int | None
    error: ReleaseRefused


class Looked(NamedTuple):
    """Reported after a check of the pointers: releases up to `number` were adopted, refused or skipped."""

    number: int
    """The highest release number in the topic."""
    remark: str
    """The current refusals and undecodable offsets, with the reasons; empty if there are none."""


class Waits(NamedTuple):
    """Reported while there is no release yet, or while reading is blocked, with the reason."""

    reason: str


class Denied(NamedTuple):
    """Reported when a follower that has handed over a release may not read the topic any more."""

    reason: str


class Failed(NamedTuple):
    """Reported when the follower has stopped with an error."""

    error: Exception


Event = Verified | Refused | Looked | Waits | Denied | Failed


class ReleaseFollower:
    """Reads, verifies and builds releases, and turns them into events for the loop.

    With `background`, a thread does this work after `start`; otherwise `take` does this work.
    """

    def __init__(self, reader: ReleaseReader, *, background: bool = True) -> None:
        self._reader = reader
        self._background = background
        self._events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._adopted, self._again, self._closed = threading.Event(), threading.Event(), threading.Event()
        self._serving: Verified | None = None
        self._refused: dict[str, tuple[int, str]] = {}
        """By pointer: the refused release's identity (so that it is logged only once), and the reason."""
        self._open: ExitStack | None = None
        """The open connection; None while there is no connection."""

    def start(self) -> None:
        """Start to follow the releases."""
        if self._background:
            threading.Thread(target=self._run, name="nextclick-releases", daemon=True).start()

    def take(self, timeout_seconds: float = 0.0) -> Event | None:
        """Return the next event; None if no event arrives within `timeout_seconds`."""
        if not self._background:
            timeout_seconds = 0.0
            if not self._closed.is_set() and self._events.empty():
                self._step(0)
        try:
            return self._events.get(timeout=timeout_seconds) if timeout_seconds else self._events.get_nowait()
        except queue.Empty:
            return None

    def adopted(self) -> None:
        """Request that the memory of the previous releases be freed, because new releases are in service."""
        self._adopted.set()

    def read_again(self) -> None:
        """Read the topic from its beginning, over a new connection."""
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
        """Poll once; return whether Kafka answered."""
        try:
            self._follow(wait_ms)
        except (Retriable, TopicError) as error:
            # `worker.topics.watch` finds out whether the topic is gone.
            self._events.put(Waits(str(error)))
            self._disconnect()
            return False
        except NotAllowed as error:
            self._disconnect()
            if self._serving is None:
                self._fail(error)
                return True
            self._events.put(Denied(str(error)))
            return False
        except Exception as error:  # noqa: BLE001  # the loop raises it; here it would be lost
            self._fail(error)
        return True

    def _fail(self, error: Exception) -> None:
        self._events.put(Failed(error))
        self._closed.set()

    def _follow(self, wait_ms: int) -> None:
        if self._again.is_set():
            self._again.clear()
            self._disconnect()
        new = self._open is None
        if self._open is None:
            life = ExitStack()
            life.enter_context(self._reader.opened())
            self._open = life
        if self._reader.read(timeout_ms=0 if new else wait_ms) or new:
            self._look()
        if self._adopted.is_set():
            self._adopted.clear()
            give_back()

    def _disconnect(self) -> None:
        life, self._open = self._open, None
        if life is not None:
            life.close()

    def _look(self) -> None:
        """Verify the releases that the pointers name, and report the result."""
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
        unreadable = [self._reader.unreadable] if self._reader.unreadable else []
        remark = "; ".join([*(why for _, why in self._refused.values()), *unreadable])
        self._events.put(Looked(max(numbers(self._reader.held()), default=0), remark))

    def _release(self, name: str) -> Release | None:
        """Return the verified release that a pointer names; None without a pointer or after a refusal."""
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
            if release is not None and release.number == number and self._is_still(release):
                return release
        with _short_turns():
            manifest, blob = self._reader.fetch(number)
            return verify(manifest, blob, number=number)

    def _is_still(self, release: Release) -> bool:
        """Return whether the topic has this release, or no release, under the release's number."""
        number = release.number
        return not self._reader.holds(number) or self._reader.manifest(number) == release.manifest

    def _say_what_is_missing(self) -> None:
        if CHAMPION not in self._reader.held():
            self._events.put(
                Waits(
                    self._reader.unreadable
                    or f"no release: topic {self._reader.topic} has no {CHAMPION}. Train one with "
                    "`nextclick-trainer fit`, then publish it with `nextclick-trainer publish`"
                )
            )


@contextmanager
def _short_turns() -> Iterator[None]:
    """Let threads take shorter turns than Python's default of 5 ms.

    The loop gives up the lock dozens of times per batch, and would wait a turn each time.
    """
    before = sys.getswitchinterval()
    sys.setswitchinterval(_TURN_SECONDS)
    try:
        yield
    finally:
        sys.setswitchinterval(before)
