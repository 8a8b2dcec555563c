"""Ctrl-C during a training: it ends after the current step, so that it can save what it has learned."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, current_thread, main_thread
from types import FrameType
from typing import Final

STOPPING: Final = "\nstopping after the current step; press Ctrl-C again to stop at once, without saving\n"


@contextmanager
def noticed() -> Iterator[Event]:
    """Yield an event, which the first Ctrl-C sets instead of raising KeyboardInterrupt; the second raises.

    The first one also says on standard error that the training stops after the current step.

    If nobody raised it after the first Ctrl-C, KeyboardInterrupt is raised at the end. Ctrl-C sets no event
    where it would not raise: outside the main thread, and in a program that ignores it or handles it itself.
    """
    event = Event()
    raises = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if not raises or current_thread() is not main_thread():
        yield event
        return

    def note(_number: int, _frame: FrameType | None) -> None:
        event.set()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        # A `print` would fail if the signal came in the middle of another one.
        os.write(2, STOPPING.encode())

    signal.signal(signal.SIGINT, note)
    try:
        yield event
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if event.is_set():
        raise KeyboardInterrupt
