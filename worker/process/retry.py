"""Retries after a failure that may pass: how long to wait, and when waiting does not help."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

from worker.errors import CheckpointFailed, Retriable, SharedIdentity
from worker.process.stop import Stop, StopNow

T = TypeVar("T")

FENCED_TWICE_SECONDS: Final = 60.0
"""Two workers that share a transactional id fence each other at least this often."""

_BACKOFF_SECONDS: Final = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)


class Retry:
    """Counts the failures since the last success, and waits the longer the more they are."""

    def __init__(self, stop: Stop, *, steady: Callable[[], float], waiting: Callable[[str], object]) -> None:
        self._stop = stop
        self._steady = steady
        self._waiting = waiting
        """Called with the reason whenever there is something to wait for."""
        self._failures = 0
        self._fenced_at = -FENCED_TWICE_SECONDS

    def succeeded(self) -> None:
        """Note that a checkpoint was committed: what fails next fails for the first time."""
        self._failures = 0

    def failed(self, error: Retriable) -> None:
        """Count a failure. Raises SharedIdentity if another worker took our transactional id twice."""
        self._waiting(str(error))
        self._failures += 1
        if not (isinstance(error, CheckpointFailed) and error.fenced):
            return
        now = self._steady()
        if now - self._fenced_at < FENCED_TWICE_SECONDS:
            raise SharedIdentity(
                f"fenced twice within {FENCED_TWICE_SECONDS:g} s: another worker runs with the same "
                "group and worker_id: give every worker a worker_id of its own. (If there is no other: its "
                "transactions outlasted kafka.transaction_timeout_ms, as when the process is frozen)"
            )
        self._fenced_at = now

    def back_off(self) -> None:
        """Wait after failures; not at all after the first. Raises StopNow when asked to stop."""
        self._wait(self._failures - 2)

    def until_done(self, action: Callable[[], T]) -> T:
        """Repeat `action` while its failure may pass; return its result. Raises StopNow on a stop."""
        attempt = 0
        while True:
            try:
                return action()
            except Retriable as error:
                self._waiting(str(error))
            self._wait(attempt)
            attempt += 1

    def _wait(self, attempt: int) -> None:
        seconds = _BACKOFF_SECONDS[min(attempt, len(_BACKOFF_SECONDS) - 1)] if attempt >= 0 else 0.0
        if self._stop.wait(seconds):
            raise StopNow
