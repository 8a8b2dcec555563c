"""Fixtures of the desk tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from structlog.testing import capture_logs
from structlog.typing import EventDict

from worker.core import blocks


@pytest.fixture
def logged() -> Iterator[list[EventDict]]:
    """All that is logged while the test runs: `{"event": ..., "log_level": ..., ...}`."""
    with capture_logs() as events:
        yield events


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of two rows, so that few users have many."""
    monkeypatch.setattr(blocks, "MAX_ROWS", 2)
