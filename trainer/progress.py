"""What a training tells of itself while it runs: nothing, lines for a log, or a bar for a terminal."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Final

import click
from rich import progress as rich_progress
from rich.console import Console

_SECONDS_BETWEEN_LINES: Final = 10.0
"""How often `Lines` speaks while a training runs."""

_LOSS_MEMORY: Final = 0.98
"""The loss shown is an average in which a step counts that much less after every further step."""


class Progress:
    """Silent; the base of those that speak."""

    def say(self, line: str) -> None:
        """Tell one fact."""

    def start(self, predictions: int) -> None:
        """A training of at most `predictions` clicks to be predicted begins."""

    def advance(self, predictions: int, loss: float) -> None:
        """A training step over so many clicks came to an average `loss`."""

    def stop(self) -> None:
        """The training is over, perhaps early or by an error."""


class Lines(Progress):
    """Plain lines, at most one in ten seconds while a training runs: for logs and pipes."""

    def __init__(
        self, write: Callable[[str], None] = print, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._write = write
        self._clock = clock
        self._total = self._done = 0
        self._began = self._spoke = 0.0
        self._loss = _Average()

    def say(self, line: str) -> None:
        """Write `line`."""
        self._write(line)

    def start(self, predictions: int) -> None:
        """Begin to count and to measure the speed."""
        self._total, self._done, self._loss = predictions, 0, _Average()
        self._began = self._spoke = self._clock()

    def advance(self, predictions: int, loss: float) -> None:
        """Write how far it is, the loss, the speed and the time left, if it is time to."""
        self._done += predictions
        self._loss.add(loss)
        now = self._clock()
        if now - self._spoke >= _SECONDS_BETWEEN_LINES:
            self._spoke = now
            self._write(self._line(now - self._began))

    def _line(self, seconds: float) -> str:
        speed = self._done / seconds
        left = (self._total - self._done) / speed
        done = f"{self._done / self._total:4.0%}, loss {self._loss.value:.3f}"
        return f"{done}, {speed:,.0f} clicks/s, {left:.0f} s left"


class Bar(Progress):
    """A bar that moves, below the facts told so far: for terminals."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bar = rich_progress.Progress(
            rich_progress.TextColumn("training"),
            rich_progress.BarColumn(),
            rich_progress.TaskProgressColumn(),
            rich_progress.TextColumn("loss {task.fields[loss]:.3f}, {task.speed:,.0f} clicks/s, left"),
            rich_progress.TimeRemainingColumn(),
            console=console,
            transient=True,
        )
        self._loss = _Average()

    def say(self, line: str) -> None:
        """Print `line` above the bar."""
        self._console.print(line, markup=False, highlight=False)

    def start(self, predictions: int) -> None:
        """Show the bar."""
        self._loss = _Average()
        self._task = self._bar.add_task("", total=predictions, loss=0.0)
        self._bar.start()

    def advance(self, predictions: int, loss: float) -> None:
        """Move the bar."""
        self._loss.add(loss)
        self._bar.update(self._task, advance=predictions, loss=self._loss.value)

    def stop(self) -> None:
        """Take the bar away."""
        self._bar.stop()


def for_this_place() -> Progress:
    """A bar where standard error is a terminal, else lines to it."""
    console = Console(stderr=True)
    return Bar(console) if console.is_terminal else Lines(partial(click.echo, err=True))


class _Average:
    """An average of the latest values."""

    def __init__(self) -> None:
        self.value = 0.0
        self._weight = 0.0

    def add(self, value: float) -> None:
        self._weight = _LOSS_MEMORY * self._weight + 1
        self.value += (value - self.value) / self._weight
