"""The time, in the units that its users take."""

from __future__ import annotations

import time
from datetime import UTC, datetime

from worker.clock import Clock


def test_the_time_of_day_comes_in_milliseconds_and_in_utc() -> None:
    """From whatever is given as the time."""
    clock = Clock(wall=lambda: 1_700_000_000.1239)

    assert clock.now_ms() == 1_700_000_000_123
    assert clock.now() == datetime(2023, 11, 14, 22, 13, 20, 123_900, UTC)


def test_by_default_it_is_that_of_the_machine() -> None:
    """Of day, and since it started."""
    clock = Clock()
    before = time.time(), time.monotonic()

    assert before[0] <= clock.wall()
    assert before[1] <= clock.steady()
