"""Before a large training, `fit` says what it will need, and warns if the machine has less memory."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from tests.trainer.builders import sessions_of
from trainer.config import FitSettings
from trainer.console import Lines
from trainer.dataset.dataset import Data
from trainer.dataset.sessions import Sessions
from trainer.model.network import Network
from trainer.training import forecast
from trainer.training.forecast import Forecast, memory_limit, needed_bytes, say_memory
from trainer.training.loop import Training
from worker.core.catalogue import Catalogue

SETTINGS = FitSettings.of(hidden_size=2, epochs=3, batch_clicks=1)


def data_of(items: int) -> Data:
    """Data of a catalogue of so many items, with three clicks."""
    train = sessions_of([0, 1, 0])
    catalogue = Catalogue([f"i{number}" for number in range(items)])
    return Data(catalogue, train, Sessions.empty(), Sessions.empty(), {})


def test_memory_grows_with_items_and_with_their_vectors() -> None:
    """Ten times the items need ten times as much, without the program; vectors twice as long, twice."""
    program = needed_bytes(data_of(0), SETTINGS)
    few, many = (needed_bytes(data_of(items), SETTINGS) - program for items in (10, 100))
    no_counts = SETTINGS.replaced(transitions=0, co_occurrences=0)
    short, long = (
        needed_bytes(data_of(10), no_counts.replaced(hidden_size=size)) - program for size in (8, 16)
    )

    assert many == 10 * few
    assert long == 2 * short


@pytest.mark.parametrize(("limit", "lines"), [(10**12, 0), (10**3, 2)])
def test_too_little_memory_is_told_with_what_to_change(limit: int, lines: int) -> None:
    """Where there is enough for a small catalogue, nothing is said."""
    said = list[str]()
    say_memory(data_of(10), SETTINGS, Lines(said.append), limit)

    assert len(said) == lines
    assert all("dataset.min_item_count" in line for line in said[1:])


@pytest.mark.parametrize(("text", "limited"), [("4096\n", True), ("max\n", False), (None, False)])
def test_the_limit_of_a_container_counts(tmp_path: Path, text: str | None, *, limited: bool) -> None:
    """Without one, the memory of the machine does."""
    file = tmp_path / "memory.max"
    if text:
        file.write_text(text)

    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert memory_limit(file) == (4096 if limited else whole)


@pytest.mark.parametrize(("seconds", "said"), [(1.0, []), (100.0, ["0 h 20 min"])])
def test_a_long_training_is_announced_after_its_first_steps(
    monkeypatch: pytest.MonkeyPatch, seconds: float, said: list[str]
) -> None:
    """Six steps of 100 s, twice, are twenty minutes; a short one needs no words."""
    monkeypatch.setattr(forecast, "_WARM_UP", 1)
    monkeypatch.setattr(forecast, "_MEASURED", 2)
    now, lines = iter([5.0, 5.0 + 2 * seconds]), list[str]()
    training = Training(Network(np.array([2, 1]), SETTINGS), sessions_of([0, 1, 0]), SETTINGS)
    announced = Forecast(Lines(lines.append), times=2, clock=lambda: next(now))
    for _ in range(5):
        announced.after_step(training)

    assert training.steps == 6
    assert [line.split(" at ")[0].removeprefix("time: up to ") for line in lines] == said
