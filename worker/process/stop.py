"""Stopping in time, also while the worker waits.

SIGTERM or SIGINT asks the loop to end. A call into the client may wait longer than it promised
(`poll` while the group rebalances, a commit while the broker is away), so the request gets teeth:
after a grace it interrupts the main thread, and near the limit it ends the process.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

GRACE_SECONDS: Final = 4.0
"""The time that the loop has to end by itself."""

LIMIT_SECONDS: Final = 9.0
"""When the process ends in any case: an orchestrator that allows 10 s must not need SIGKILL."""


class StopNow(BaseException):
    """Raised in the main thread when the loop did not end within its grace."""


class Stop:
    """Whether the worker was asked to stop. `installed` connects it with the signals."""

    def __init__(self) -> None:
        self._requested = threading.Event()
        self._requested_at = 0.0
        self._interrupted = False

    @property
    def requested(self) -> bool:
        """Whether a stop was asked for."""
        return self._requested.is_set()

    def request(self) -> None:
        """Ask for a stop."""
        self._requested.set()

    def wait(self, seconds: float) -> bool:
        """Wait until the time is over or a stop is requested; return whether it was."""
        return self._requested.wait(seconds)

    def ending(self) -> None:
        """Note that the loop has ended and only cleans up: that is not interrupted, the limit stays."""
        self._interrupted = True
        if self._requested_at:
            left = self._requested_at + LIMIT_SECONDS - time.monotonic()
            signal.setitimer(signal.ITIMER_REAL, max(0.1, left))

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Handle SIGTERM and SIGINT while the context is open (see the module)."""
        handlers = {
            signal.SIGTERM: self._on_stop,
            signal.SIGINT: self._on_stop,
            signal.SIGALRM: self._on_alarm,
        }
        before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            for number, handler in before.items():
                signal.signal(number, handler)

    def _on_stop(self, number: int, frame: FrameType | None) -> None:
        if not self.requested:
            self.request()
            self._requested_at = time.monotonic()
            signal.setitimer(signal.ITIMER_REAL, GRACE_SECONDS, LIMIT_SECONDS - GRACE_SECONDS)

    def _on_alarm(self, number: int, frame: FrameType | None) -> None:
        if not self._interrupted:
            self._interrupted = True
            raise StopNow
        sys.stderr.write(
            f"nextclick-worker: still waiting for Kafka {LIMIT_SECONDS:g} s after a request to stop. "
            "Nothing is lost: uncommitted work will be done again\n"
        )
        os._exit(1)
