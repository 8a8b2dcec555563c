"""The time, as one object that tests replace."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime


@dataclass(frozen=True, slots=True)
class Clock:
    """The time of day, a steady count for measuring how long something takes, and a way to let it pass."""

    wall: Callable[[], float] = time.time
    """Seconds since the epoch."""
    steady: Callable[[], float] = time.monotonic
    """Seconds since some moment; never goes back."""
    sleep: Callable[[float], None] = time.sleep

    def now_ms(self) -> int:
        """Return the milliseconds since the epoch."""
        return int(self.wall() * 1000)

    def now(self) -> datetime:
        """Return the time of day in UTC."""
        return datetime.fromtimestamp(self.wall(), UTC)
