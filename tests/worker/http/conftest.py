"""A server that listens."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from tests.worker.http.asking import Server


@pytest.fixture
def server() -> Iterator[Server]:
    """One that listens."""
    one = Server()
    with one.listening():
        yield one


@pytest.fixture(autouse=True)
def switch_interval() -> Iterator[None]:
    """Threads take turns as before after a test."""
    before = sys.getswitchinterval()
    yield
    sys.setswitchinterval(before)
