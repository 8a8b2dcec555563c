"""Workers of a desk that go round while a command waits for them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from tests.worker.desk import Desk


@contextmanager
def stepping(desk: Desk) -> Iterator[None]:
    """Let the workers go round in a thread of their own while the context is open."""
    over = threading.Event()

    def step() -> None:
        while not over.is_set():
            desk.step()

    with ThreadPoolExecutor(1) as threads:
        stepped = threads.submit(step)
        try:
            yield
        finally:
            over.set()
        stepped.result()
