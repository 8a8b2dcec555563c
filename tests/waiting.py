"""Waiting for something another process does: the one place in the tests that sleeps."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def eventually(predicate: Callable[[], T], timeout_seconds: float = 30.0, what: str = "it") -> T:
    """The first true value that `predicate` returns; AssertionError when none came in time.

    `what` says in the error what was waited for: "the worker to be ready". Errors of the predicate pass.
    """
    deadline = time.monotonic() + timeout_seconds
    while not (value := predicate()):
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout_seconds:g} s for {what}; the last answer was {value!r}")
        time.sleep(0.02)
    return value
