"""The readiness and liveness of the worker, as reported by /readyz and /livez."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

import structlog
from prometheus_client import Gauge

log = structlog.get_logger("worker")

LIVE_WITHIN_SECONDS: Final = 60.0
"""Maximum duration of a round; if it is exceeded, /livez fails, and the orchestrator restarts the worker."""


class Readiness:
    """The worker's readiness: set by the loop and the topic watch, read by the HTTP server.

    `clock` returns monotonic seconds.
    """

    def __init__(self, gauge: Gauge, clock: Callable[[], float]) -> None:
        self._lock = threading.Lock()
        self._gauge = gauge
        self.clock = clock
        self._reason = "starting"
        self._trouble = ""
        self.remark = ""
        """A remark to report while the worker is ready; empty if there is no remark."""
        self.remarks: dict[str, str] = {}
        """More remarks to report while the worker is ready, such as those on items; empty: no remark."""
        self.notice = ""
        """Why the records yield no useful lists, for /readyz?verbose; empty if the lists are useful."""
        self._beaten = clock()

    @property
    def reason(self) -> str:
        """The reason why the worker is not ready; empty if it is ready."""
        with self._lock:
            return self._trouble or self._reason

    @property
    def trouble(self) -> str:
        """A reason for not being ready that overrides the loop's reason; empty if there is none."""
        with self._lock:
            return self._trouble

    @trouble.setter
    def trouble(self, reason: str) -> None:
        with self._lock:
            self._trouble = reason
            self._gauge.set(not (self._trouble or self._reason))

    def ready(self) -> bool:
        """Mark the worker as ready; return whether it was not ready before."""
        return self.not_ready("")

    def not_ready(self, reason: str) -> bool:
        """Set the reason why the worker is not ready; return whether the reason changed."""
        self.beat()
        with self._lock:
            changed = self._reason != reason
            self._reason = reason
            self._gauge.set(not (self._trouble or self._reason))
        return changed

    def waiting(self, reason: str) -> None:
        """Set the reason why the worker is not ready, and log the reason if it changed."""
        news = self.reason != reason
        if self.not_ready(reason) and news:
            log.warning("not ready", reason=reason)

    def beat(self) -> None:
        """Record that the loop completed a round."""
        with self._lock:
            self._beaten = self.clock()

    @property
    def beaten(self) -> float:
        """The time of the loop's last round, by `clock`."""
        with self._lock:
            return self._beaten

    @property
    def silent_seconds(self) -> float:
        """Seconds since the loop's last round."""
        with self._lock:
            return self.clock() - self._beaten
