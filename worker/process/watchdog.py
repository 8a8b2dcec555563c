"""The last resort where a call of the Kafka client waits without a limit: end, to be started again.

`/livez` says the same to an orchestrator that asks; this is for those where none does, or not soon.
"""

from __future__ import annotations

import faulthandler
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from worker.http.readiness import LIVE_WITHIN_SECONDS, Readiness

TICK_SECONDS: Final = 1.0

EXIT_CODE: Final = 70
"""EX_SOFTWARE of sysexits.h."""


@contextmanager
def watching(
    readiness: Readiness,
    *,
    patience_seconds: float = LIVE_WITHIN_SECONDS,
    tick_seconds: float = TICK_SECONDS,
    end: Callable[[int], object] = os._exit,
) -> Iterator[None]:
    """End the process when the loop does not come round, while the context is open.

    Time is counted in ticks of this thread: while the whole process stands still (SIGSTOP, a suspended
    machine) nobody is stuck.
    """
    closed = threading.Event()

    def watch() -> None:
        beat, ticks = readiness.beaten, 0
        while not closed.wait(tick_seconds):
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
        f"nextclick-worker: the loop has not come round for {seconds:g} s, it is stuck in the call above "
        "(the main thread is named last). Ending, to be restarted; uncommitted work is done again\n"
    )
