"""Timely stops, even while the worker waits for Kafka.

SIGTERM or SIGINT asks the loop to end. A call of the Kafka client may exceed its timeout (`poll` while the
group rebalances, a commit while the broker is unreachable). So after a grace period, the main thread is
interrupted, and at a time limit the process exits.
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
"""Grace period for the loop to end by itself, in seconds."""

LIMIT_SECONDS: Final = 9.0
"""Time until the process exits in any case: less than the 10 s after which orchestrators send SIGKILL."""


class StopNow(BaseException):
    """Raised in the main thread if the loop does not end within the grace period."""


class Stop:
    """A request to stop the worker; `installed` connects it to the signals."""

    def __init__(self) -> None:
        self._requested = threading.Event()
        self._requested_at = 0.0
        self._interrupted = False

    @property
    def requested(self) -> bool:
        """Whether a stop was requested."""
        return self._requested.is_set()

    def request(self) -> None:
        """Request a stop."""
        self._requested.set()

    def wait(self, seconds: float) -> bool:
        """Wait for up to `seconds` for a stop request; return whether there is one."""
        return self._requested.wait(seconds)

    def ending(self) -> None:
        """Disable the interruption during the final clean-up; the time limit stays in force."""
        self._interrupted = True
        if self._requested_at:
            left = self._requested_at + LIMIT_SECONDS - time.monotonic()
            signal.setitimer(signal.ITIMER_REAL, max(0.1, left))

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Handle SIGTERM and SIGINT while the context is open (see the module's docstring)."""
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
            f"nextclick-worker: exiting, still waiting for Kafka {LIMIT_SECONDS:g} s after a stop request. "
            "Nothing is lost: uncommitted work will be repeated\n"
        )
        os._exit(1)
