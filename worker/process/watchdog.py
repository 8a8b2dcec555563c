"""A watchdog that ends a worker whose loop is stuck in a call of the Kafka client, so that it is restarted.

`/livez` reports a stuck loop to an orchestrator; the watchdog works without an orchestrator. It also notices
if the whole process did not run for some seconds, which explains a loss of partitions and transactions.
"""

from __future__ import annotations

import faulthandler
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import structlog

from worker.http.readiness import LIVE_WITHIN_SECONDS, Readiness

TICK_SECONDS: Final = 1.0

PAUSED_SECONDS: Final = 3.0
"""A tick that comes later than this was not only delayed by other threads: the process did not run."""

EXIT_CODE: Final = 70
"""Exit code for a stuck loop: EX_SOFTWARE of sysexits.h."""

log = structlog.get_logger("worker")


@contextmanager
def watching(
    readiness: Readiness,
    *,
    paused: Callable[[float], object],
    steady: Callable[[], float] = time.monotonic,
    patience_seconds: float = LIVE_WITHIN_SECONDS,
    tick_seconds: float = TICK_SECONDS,
    end: Callable[[int], object] = os._exit,
) -> Iterator[None]:
    """Exit the process if the loop completes no round for `patience_seconds`, while the context is open.

    Time is counted in ticks of the watchdog thread, so that a suspended process or machine does not count as
    stuck. `paused` is called with the seconds for which the process did not run, because it was suspended or
    got no CPU. `steady` is the clock.
    """
    closed = threading.Event()

    def watch() -> None:
        beat, ticks, at = readiness.beaten, 0, steady()
        while not closed.wait(tick_seconds):
            late, at = steady() - at - tick_seconds, steady()
            if late > PAUSED_SECONDS:
                log.warning("the process did not run", seconds=round(late, 1))
                paused(late)
            beat, ticks = readiness.beaten, ticks + 1 if readiness.beaten == beat else 0
            if ticks * tick_seconds >= patience_seconds:
                _say(patience_seconds)
                end(EXIT_CODE)
                return

    thread = threading.Thread(target=watch, name="nextclick-watchdog", daemon=True)
    thread.start()
    try:
        yield
    finally:
        closed.set()
        thread.join()


def _say(seconds: float) -> None:
    faulthandler.dump_traceback(file=sys.stderr)
    sys.stderr.write(
        f"nextclick-worker: the loop has completed no round for {seconds:g} s; it is stuck in the call above "
        "(the main thread is listed last). Exiting, to be restarted; uncommitted work will be repeated\n"
    )
