"""What a training tells of itself while it runs: nothing, lines for a log, or a bar for a terminal."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

import click
import rich.progress
from rich.console import Console
from rich.progress import BarColumn, TaskProgressColumn, TextColumn

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

    def epoch(self, number: int, results: Mapping[str, float]) -> None:
        """Epoch `number`, from 1, is over and came to `results`."""

    def stop(self) -> None:
        """The training is over, perhaps early or by an error."""


class Lines(Progress):
    """Plain lines, at most one in ten seconds while a training runs: for logs and pipes."""

    def __init__(
        self, write: Callable[[str], None] = print, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._write = write
        self._clock = clock

    def say(self, line: str) -> None:
        """Write `line`."""
        self._write(line)

    def start(self, predictions: int) -> None:
        """Begin to count and to measure the speed."""
        self._pace = _Pace(predictions, self._clock)
        self._spoke = self._pace.began

    def advance(self, predictions: int, loss: float) -> None:
        """Write how far it is, the loss, the speed and the time left, if it is time to."""
        now = self._pace.advance(predictions, loss)
        if now - self._spoke >= _SECONDS_BETWEEN_LINES:
            self._spoke = now
            self._write(f"{self._pace.share:4.0%}  {self._pace.told}")


class Bar(Progress):
    """A bar that moves, below the facts told so far: for terminals."""

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self._console = console
        self._clock = clock
        columns = (BarColumn(), TaskProgressColumn(), TextColumn("{task.description}"))
        self._bar = rich.progress.Progress(*columns, console=console, transient=True)

    def say(self, line: str) -> None:
        """Print `line` above the bar."""
        self._console.print(line, markup=False, highlight=False)

    def start(self, predictions: int) -> None:
        """Show the bar."""
        self._pace = _Pace(predictions, self._clock)
        self._task = self._bar.add_task("training", total=predictions)
        self._bar.start()

    def advance(self, predictions: int, loss: float) -> None:
        """Move the bar."""
        self._pace.advance(predictions, loss)
        self._bar.update(self._task, advance=predictions, description=self._pace.told)

    def stop(self) -> None:
        """Take the bar away."""
        self._bar.stop()
        self._bar.remove_task(self._task)


def for_this_place() -> Progress:
    """A bar where standard error is a terminal, else lines to it."""
    console = Console(stderr=True)
    return Bar(console) if console.is_terminal else Lines(partial(click.echo, err=True))


class _Pace:
    """How far a training is and how fast it goes."""

    def __init__(self, total: int, clock: Callable[[], float]) -> None:
        self.began = self._now = clock()
        self._clock = clock
        self._total = total
        self._done = 0
        self._loss = self._weight = 0.0

    def advance(self, predictions: int, loss: float) -> float:
        """Count a step; the time."""
        self._done += predictions
        self._weight = _LOSS_MEMORY * self._weight + 1
        self._loss += (loss - self._loss) / self._weight
        self._now = self._clock()
        return self._now

    @property
    def share(self) -> float:
        return self._done / self._total

    @property
    def told(self) -> str:
        speed = self._done / max(self._now - self.began, 1e-9)
        left = (self._total - self._done) / speed
        return f"loss {self._loss:.3f}, {speed:,.0f} clicks/s, {left:.0f} s left"
