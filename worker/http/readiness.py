"""Whether the worker can do its work at the moment, and if not, why: what /readyz and /livez say."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

import structlog
from prometheus_client import Gauge

log = structlog.get_logger("worker")

LIVE_WITHIN_SECONDS: Final = 60.0
"""Silence of the loop after which it is stuck: /livez fails, and the orchestrator restarts the worker."""


class Readiness:
    """Set by the loop, and by who watches the topics; read by the HTTP server. `clock` counts seconds."""

    def __init__(self, gauge: Gauge, clock: Callable[[], float]) -> None:
        self._lock = threading.Lock()
        self._gauge = gauge
        self.clock = clock
        self._reason = "starting"
        self._trouble = ""
        self.remark = ""
        """Remarks on a worker that serves; empty if there are none."""
        self.notice = ""
        """Added by /readyz?verbose: why nothing useful comes of the records; empty if something does."""
        self._beaten = clock()

    @property
    def reason(self) -> str:
        """Why the worker is not ready; empty when it is."""
        with self._lock:
            return self._trouble or self._reason

    @property
    def trouble(self) -> str:
        """Why it is not ready, whatever its loop may say; empty if there is no such reason."""
        with self._lock:
            return self._trouble

    @trouble.setter
    def trouble(self, reason: str) -> None:
        with self._lock:
            self._trouble = reason
            self._gauge.set(not (self._trouble or self._reason))

    def ready(self) -> bool:
        """Note that the worker serves; return whether that is new."""
        return self.not_ready("")

    def not_ready(self, reason: str) -> bool:
        """Note why the worker does not serve; return whether that is new."""
        self.beat()
        with self._lock:
            changed = self._reason != reason
            self._reason = reason
            self._gauge.set(not (self._trouble or self._reason))
        return changed

    def waiting(self, reason: str) -> None:
        """Note why the worker does not serve, and log it where that is news."""
        news = self.reason != reason
        if self.not_ready(reason) and news:
            log.warning("not ready", reason=reason)

    def beat(self) -> None:
        """Note that the loop came round."""
        with self._lock:
            self._beaten = self.clock()

    @property
    def beaten(self) -> float:
        """When the loop last came round, by the clock."""
        with self._lock:
            return self._beaten

    @property
    def silent_seconds(self) -> float:
        """The seconds since the loop last completed a round."""
        with self._lock:
            return self.clock() - self._beaten
