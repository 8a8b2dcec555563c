"""Retries after retriable failures: how long to wait, and when to give up."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

from worker.errors import CheckpointFailed, Failure, Retriable, SharedIdentity
from worker.process.stop import Stop, StopNow

T = TypeVar("T")

FENCED_TWICE_SECONDS: Final = 60.0
"""A worker fenced twice within this time may share its transactional id with another worker."""

_BACKOFF_SECONDS: Final = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)


class Retry:
    """Counts failures since the last success, and waits longer after each."""

    def __init__(
        self,
        stop: Stop,
        *,
        steady: Callable[[], float],
        waiting: Callable[[str], object],
        count: Callable[[Failure], object],
        rival: Callable[[], str],
    ) -> None:
        self._stop = stop
        self._steady = steady
        self._waiting = waiting
        """Called with the message of every failure, before the wait."""
        self._count = count
        """Called with the reason of every failure."""
        self._rival = rival
        """Returns where another worker has the name of this one; empty if there is none."""
        self._failures = 0
        self._fenced_at = -FENCED_TWICE_SECONDS

    def succeeded(self) -> None:
        """Reset the count of failures after a committed checkpoint."""
        self._failures = 0

    def failed(self, error: Retriable) -> None:
        """Count a failure. Raises SharedIdentity if another worker fenced this one twice in a short time.

        Kafka also fences a worker whose transaction takes too long, for example because a broker was frozen.
        """
        self._note(error)
        self._failures += 1
        if not (isinstance(error, CheckpointFailed) and error.fenced):
            return
        now = self._steady()
        if now - self._fenced_at < FENCED_TWICE_SECONDS and (other := self._rival()):
            raise SharedIdentity(
                f"fenced twice within {FENCED_TWICE_SECONDS:g} s: another worker runs with the same group "
                f"and worker_id {other}; give each worker of a group a different worker_id"
            )
        self._fenced_at = now

    def back_off(self) -> None:
        """Wait after a failure, but not after the first failure. Raises StopNow if a stop is requested."""
        self._wait(self._failures - 2)

    def until_done(self, action: Callable[[], T]) -> T:
        """Repeat `action` until it raises no Retriable; return its result. Raises StopNow on a stop."""
        attempt = 0
        while True:
            try:
                return action()
            except Retriable as error:
                self._note(error)
            self._wait(attempt)
            attempt += 1

    def _note(self, error: Retriable) -> None:
        self._count(error.reason)
        self._waiting(str(error))

    def _wait(self, attempt: int) -> None:
        seconds = _BACKOFF_SECONDS[min(attempt, len(_BACKOFF_SECONDS) - 1)] if attempt >= 0 else 0.0
        if self._stop.wait(seconds):
            raise StopNow
