"""The watchdog: a loop that does not come round ends the process, one that does never."""

from __future__ import annotations

import threading
from itertools import count

import pytest
from prometheus_client import CollectorRegistry, Gauge

from worker.http.readiness import Readiness
from worker.process.watchdog import EXIT_CODE, watching


def readiness() -> Readiness:
    """One whose clock gives another time at every look."""
    ticks = count()
    return Readiness(Gauge("ready", "", registry=CollectorRegistry()), lambda: float(next(ticks)))


def test_a_loop_that_stands_still_ends_the_process(capfd: pytest.CaptureFixture[str]) -> None:
    """With every thread's stack, so that whoever looks knows in which call, and what to do."""
    ended = threading.Event()
    codes: list[int] = []

    def end(code: int) -> None:
        codes.append(code)
        ended.set()

    with watching(readiness(), patience_seconds=0.05, tick_seconds=0.01, end=end):
        assert ended.wait(10)

    said = capfd.readouterr().err
    assert codes == [EXIT_CODE]
    assert "has completed no round for 0.05 s" in said
    assert "test_a_loop_that_stands_still_ends_the_process" in said


def test_a_loop_that_comes_round_goes_on() -> None:
    """However long it lives."""
    codes: list[int] = []
    loop = readiness()
    looked = threading.Event()
    with watching(loop, patience_seconds=0.2, tick_seconds=0.01, end=codes.append):
        for _ in range(50):
            loop.beat()
            looked.wait(0.01)

    assert codes == []
