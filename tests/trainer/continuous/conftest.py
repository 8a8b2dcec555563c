"""A desk for the tests of continuous training."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.trainer.desk import TrainerDesk


@pytest.fixture
def desk(tmp_path: Path) -> TrainerDesk:
    """Return a desk without clicks, releases and trainers."""
    return TrainerDesk(tmp_path)
