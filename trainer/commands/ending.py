"""Shutdown of the commands that run until stopped."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def ending_on_request() -> Iterator[None]:
    """Exit cleanly on SIGTERM, so that a standby trainer takes over at once."""
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
