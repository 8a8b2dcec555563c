"""Whether the worker can do its work at the moment, and if not, why: what /readyz and /livez say."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

import structlog
from prometheus_client import Gauge

log = structlog.get_logger("worker")

LIVE_WITHIN_SECONDS: Final = 60.0
"""A loop that has not come round for so long is stuck: /livez says no, the orchestrator restarts it."""


class Readiness:
    """Set by the loop, read by the HTTP threads. `clock` counts seconds, steadily."""

    def __init__(self, gauge: Gauge, clock: Callable[[], float]) -> None:
        self._lock = threading.Lock()
        self._gauge = gauge
        self._clock = clock
        self._reason = "starting"
        self.remark = ""
        """What is worth knowing though the worker serves; empty where there is nothing."""
        self.notice = ""
        """What /readyz?verbose adds: what is wrong with most records; empty where there is nothing."""
        self._beaten = clock()

    @property
    def reason(self) -> str:
        """Why the worker is not ready; empty when it is."""
        with self._lock:
            return self._reason

    def ready(self) -> bool:
        """Note that the worker serves; whether that is news."""
        return self.not_ready("")

    def not_ready(self, reason: str) -> bool:
        """Note why the worker does not serve; whether that is news."""
        self.beat()
        with self._lock:
            changed = self._reason != reason
            self._reason = reason
        self._gauge.set(not reason)
        return changed

    def waiting(self, reason: str) -> None:
        """Note why the worker does not serve, and log it where that is news."""
        if self.not_ready(reason):
            log.warning("not ready", reason=reason)

    def beat(self) -> None:
        """Note that the loop came round."""
        with self._lock:
            self._beaten = self._clock()

    @property
    def beaten(self) -> float:
        """When the loop last came round, by the clock."""
        with self._lock:
            return self._beaten

    @property
    def silent_seconds(self) -> float:
        """How long ago the loop came round."""
        with self._lock:
            return self._clock() - self._beaten
