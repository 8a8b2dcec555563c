"""A stop in three steps: ask the loop, interrupt it, end the process."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Final

import pytest

from worker.process.stop import GRACE_SECONDS, LIMIT_SECONDS, Stop, StopNow


@pytest.fixture
def stop() -> Iterator[Stop]:
    """One that is connected with the signals."""
    one = Stop()
    with one.installed():
        yield one


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_asks_for_a_stop(stop: Stop, number: int) -> None:
    """The loop sees it; a second signal changes nothing."""
    before = stop.requested
    signal.raise_signal(number)
    left = signal.getitimer(signal.ITIMER_REAL)[0]
    signal.raise_signal(number)

    assert (before, stop.requested) == (False, True)
    assert 0 < signal.getitimer(signal.ITIMER_REAL)[0] <= left


def test_a_stop_ends_waiting() -> None:
    """At once; without one the time passes."""
    stop, outcome = Stop(), list[bool]()
    thread = threading.Thread(target=lambda: outcome.append(stop.wait(60)))
    thread.start()
    stop.request()
    thread.join(10)

    assert outcome == [True]
    assert not Stop().wait(0)


def test_a_loop_that_does_not_end_is_interrupted(stop: Stop) -> None:
    """Once, in whatever it waits for."""
    signal.raise_signal(signal.SIGTERM)

    with pytest.raises(StopNow):
        signal.raise_signal(signal.SIGALRM)


def test_who_cleans_up_is_not_interrupted(stop: Stop) -> None:
    """But has no more time than was left."""
    signal.raise_signal(signal.SIGTERM)
    stop.ending()

    assert GRACE_SECONDS < signal.getitimer(signal.ITIMER_REAL)[0] <= LIMIT_SECONDS


def test_without_a_request_the_end_has_no_limit() -> None:
    """A worker that ends by itself takes its time."""
    stop = Stop()
    with stop.installed():
        stop.ending()
        left = signal.getitimer(signal.ITIMER_REAL)[0]

    # The timer may be that of the test's own limit.
    assert not 0 < left <= LIMIT_SECONDS


def test_the_signals_are_given_back() -> None:
    """When the context ends, the timer ends too."""
    before = signal.getsignal(signal.SIGTERM)
    with Stop().installed():
        signal.raise_signal(signal.SIGTERM)

    assert signal.getsignal(signal.SIGTERM) is before
    assert signal.getitimer(signal.ITIMER_REAL)[0] == 0


_STUCK: Final = """
import signal
from worker.process.stop import Stop, StopNow

with Stop().installed():
    signal.raise_signal(signal.SIGTERM)
    try:
        signal.raise_signal(signal.SIGALRM)
    except StopNow:
        signal.raise_signal(signal.SIGALRM)
    print("went on")
"""


def test_at_the_limit_the_process_ends() -> None:
    """With exit code 1, and what that means for the clicks."""
    ended = subprocess.run([sys.executable, "-c", _STUCK], capture_output=True, text=True, check=False)

    assert (ended.returncode, ended.stdout) == (1, "")
    assert "still waiting for Kafka 9 s after a stop request. Nothing is lost" in ended.stderr
