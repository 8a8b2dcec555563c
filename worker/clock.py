"""The clock, as an object that tests can replace."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime


@dataclass(frozen=True, slots=True)
class Clock:
    """The wall clock, a monotonic clock for measuring durations, and sleep."""

    wall: Callable[[], float] = time.time
    """Seconds since the epoch."""
    steady: Callable[[], float] = time.monotonic
    """Seconds since an arbitrary moment; monotonic."""
    sleep: Callable[[float], None] = time.sleep

    def now_ms(self) -> int:
        """Return the current time in milliseconds since the epoch."""
        return int(self.wall() * 1000)

    def now(self) -> datetime:
        """Return the current time in UTC."""
        return datetime.fromtimestamp(self.wall(), UTC)
