"""Forecast of a training: its memory from its shapes, its time from its first steps."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from trainer.config import FitSettings
from trainer.console import Progress
from trainer.dataset.dataset import Data
from trainer.model.compared import MOST_ITEMS
from trainer.training.loop import Training
from worker.core.cells import CELLS
from worker.core.tables import MAX_INPUTS_BYTES

_PROGRAM: Final = 900_000_000
"""Bytes of TensorFlow, its compiled functions and a batch."""

_TABLES: Final = 8
"""Copies of the item vectors at the peak, which is a checkpoint or an evaluation: the weights, two moments of
Adam, the best weights, and what is written or served."""

_PER_ENTRY: Final = 48
"""Bytes per item and per entry of the counts, while they are sorted and served."""

_PER_CLICK: Final = 60
"""Bytes per click of the sessions, of their users' histories and of counting them."""

_LIMIT: Final = Path("/sys/fs/cgroup/memory.max")
"""The limit of a container, in bytes or `max` (cgroup v2)."""

_LONG: Final = 600.0
"""A training of at least this many seconds is announced."""

_WARM_UP: Final = 20
_MEASURED: Final = 50
"""Steps that are not measured, because they compile and allocate, and steps that are."""


def needed_bytes(data: Data, settings: FitSettings) -> int:
    """Return about how many bytes of memory the rest of `fit` needs at its peak."""
    items, model, blend = len(data.catalogue), settings.model, settings.blend
    numbers = model.input_size + (model.hidden_size if model.output_table == "separate" else 0)
    entries = (blend.transitions if blend.transition_half_lives else 0) + blend.co_occurrences
    inputs = 4 * items * CELLS[model.cell].gates * model.hidden_size
    # Without lists and with lists, a model has its inputs precomputed.
    tables = 4 * items * numbers * _TABLES + (2 * inputs if inputs <= MAX_INPUTS_BYTES else 0)
    parts = [data.train, data.validation, data.test]
    if data.every_item:
        parts += [data.every_item.past, data.every_item.test]
    clicks = sum(len(part.items) for part in parts)
    return _PROGRAM + tables + items * _PER_ENTRY * entries + clicks * _PER_CLICK


def memory_limit(limit: Path = _LIMIT) -> int:
    """Return the memory of this machine, or of this container if it may use less, in bytes."""
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    with suppress(OSError, ValueError):
        return min(whole, int(limit.read_text()))
    return whole


def say_memory(data: Data, settings: FitSettings, progress: Progress, limit: int | None = None) -> None:
    """Say how much memory the training of a large catalogue needs; warn if there is less."""
    items = len(data.catalogue)
    needed, limit = needed_bytes(data, settings), limit or memory_limit()
    if items > MOST_ITEMS or needed > limit:
        progress.say(f"memory: about {needed / 1e9:.1f} GB, for {items:,} items")
    if needed > limit:
        progress.say(
            f"careful: there are only {limit / 1e9:.1f} GB, so this training may be killed. Raise "
            "dataset.min_item_count, lower model.hidden_size, or train on fewer clicks"
        )


class Forecast:
    """The forecast of the time of a training; `times`: the number of such trainings that `fit` does."""

    def __init__(
        self, progress: Progress, *, times: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._progress, self._times, self._clock = progress, times, clock
        self._steps, self._began = 0, 0.0

    def after_step(self, training: Training) -> None:
        """Count a step; after the first few, say how long a long training takes at most."""
        self._steps += 1
        if self._steps == _WARM_UP:
            self._began = self._clock()
        if self._steps != _WARM_UP + _MEASURED:
            return
        seconds = (self._clock() - self._began) / _MEASURED * training.steps * self._times
        if seconds >= _LONG:
            hours, minutes = divmod(round(seconds / 60), 60)
            twice = ", twice: once more with the validation clicks" if self._times > 1 else ""
            self._progress.say(
                f"time: up to {hours} h {minutes} min at the speed of the first steps, for "
                f"{training.steps:,} steps in {training.epochs} epochs{twice}; validation and evaluation "
                "come on top"
            )
