"""A server that listens."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.worker.http.asking import Server


@pytest.fixture
def server() -> Iterator[Server]:
    """One that listens."""
    one = Server()
    with one.listening():
        yield one
