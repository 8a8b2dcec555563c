"""How a command that runs for ever ends."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def ending_on_request() -> Iterator[None]:
    """On SIGTERM end in order: what was opened is closed, and whoever stands by takes over at once."""
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
