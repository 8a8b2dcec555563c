"""The watchdog: a loop that does not come round ends the process, one that does never."""

from __future__ import annotations

import threading
from itertools import count

import pytest
from prometheus_client import CollectorRegistry, Gauge
from structlog.typing import EventDict

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

    with watching(readiness(), paused=print, patience_seconds=0.05, tick_seconds=0.01, end=end):
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
    with watching(loop, paused=print, patience_seconds=0.2, tick_seconds=0.01, end=codes.append):
        for _ in range(50):
            loop.beat()
            looked.wait(0.01)

    assert codes == []


def test_a_process_that_did_not_run_is_said(logged: list[EventDict]) -> None:
    """With how long; a tick that comes in time says nothing."""
    times = iter([0.0, 1.0, 1.0, 27.0, 27.0])
    pauses: list[float] = []
    over = threading.Event()

    def steady() -> float:
        found = next(times, None)
        if found is None:
            over.set()
            return 27.0
        return found

    with watching(readiness(), paused=pauses.append, steady=steady, tick_seconds=0.01, patience_seconds=60):
        assert over.wait(10)

    assert pauses == [pytest.approx(25.99)]
    assert [one["seconds"] for one in logged if one["event"] == "the process did not run"] == [26.0]
