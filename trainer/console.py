"""Progress of long-running tasks: silent, as lines for a log, or as a bar in a terminal."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Final, TypeVar

import click
import rich.progress
from rich.console import Console
from rich.progress import BarColumn, TaskProgressColumn, TextColumn

_SECONDS_BETWEEN_LINES: Final = 10.0
"""Minimum interval between two progress lines."""

_SECONDS_BETWEEN_MOVES: Final = 0.1
"""Minimum interval between two updates of the bar in `through`."""

Item = TypeVar("Item")

_LOSS_MEMORY: Final = 0.98
"""Decay per training step of the displayed loss, which is an exponential moving average."""


class Progress:
    """Progress that is not shown; the base class of `Lines` and `Bar`."""

    def say(self, line: str) -> None:
        """Show one line of text."""

    def through(self, items: Iterable[Item], total: int, task: str) -> Iterator[Item]:
        """Yield the `total` items of `items`, and show the progress under the name `task`."""
        yield from items

    def start(self, predictions: int) -> None:
        """Show that a training of at most `predictions` predictions starts."""

    def advance(self, predictions: int, loss: float) -> None:
        """Add a training step of `predictions` predictions, with the mean loss `loss`."""

    def epoch(self, number: int, results: Mapping[str, float]) -> None:
        """Show the `results` of the finished epoch `number`; epochs are numbered from 1."""

    def stop(self) -> None:
        """Show that the training has ended: completed, stopped early, or failed."""


class Lines(Progress):
    """Progress as plain lines, at most one every ten seconds: for logs and pipes."""

    def __init__(
        self, write: Callable[[str], None] = print, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._write = write
        self._clock = clock

    def say(self, line: str) -> None:
        """Write `line`."""
        self._write(line)

    def start(self, predictions: int) -> None:
        """Start counting predictions and measuring the speed."""
        self._begin(predictions)

    def advance(self, predictions: int, loss: float) -> None:
        """Add a training step; if a line is due, write progress, loss, speed and remaining time."""
        self._speak(self._pace.advance(predictions, loss))

    def through(self, items: Iterable[Item], total: int, task: str) -> Iterator[Item]:
        """Yield `items` unchanged, writing the progress of `task` as lines."""
        self._begin(total, task)
        for item in items:
            yield item
            self._speak(self._pace.advance(1))

    def _begin(self, total: int, task: str = "") -> None:
        self._pace = _Pace(total, self._clock, task)
        self._spoke = self._pace.began

    def _speak(self, now: float) -> None:
        if now - self._spoke >= _SECONDS_BETWEEN_LINES:
            self._spoke = now
            self._write(f"{self._pace.share:4.0%}  {self._pace.text}")


class Bar(Progress):
    """A progress bar below the printed lines: for terminals."""

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
        self._begin(predictions, "training")

    def advance(self, predictions: int, loss: float) -> None:
        """Advance the bar."""
        self._pace.advance(predictions, loss)
        self._bar.update(self._task, advance=predictions, description=self._pace.text)

    def through(self, items: Iterable[Item], total: int, task: str) -> Iterator[Item]:
        """Yield `items` unchanged, showing the progress of `task` as a bar."""
        self._begin(total, task)
        shown = self._pace.now
        try:
            for item in items:
                yield item
                if self._pace.advance(1) - shown >= _SECONDS_BETWEEN_MOVES:
                    shown = self._pace.now
                    self._bar.update(self._task, completed=self._pace.done, description=self._pace.text)
        finally:
            self.stop()

    def stop(self) -> None:
        """Remove the bar."""
        self._bar.stop()
        self._bar.remove_task(self._task)

    def _begin(self, total: int, task: str) -> None:
        self._pace = _Pace(total, self._clock, task)
        self._task = self._bar.add_task(task, total=total)
        self._bar.start()


def for_this_place() -> Progress:
    """Return a progress bar if standard error is a terminal, else progress as lines."""
    console = Console(stderr=True)
    return Bar(console) if console.is_terminal else Lines(partial(click.echo, err=True))


class _Pace:
    """Progress and speed of a task, and the loss if the task is a training."""

    def __init__(self, total: int, clock: Callable[[], float], task: str) -> None:
        self._task = task
        self.began = self.now = clock()
        self._clock = clock
        self._total = total
        self.done = 0
        self._loss = self._weight = 0.0

    def advance(self, clicks: int, loss: float | None = None) -> float:
        """Add a step of `clicks` clicks, and update the average `loss`; return the current time."""
        self.done += clicks
        if loss is not None:
            self._weight = _LOSS_MEMORY * self._weight + 1
            self._loss += (loss - self._loss) / self._weight
        self.now = self._clock()
        return self.now

    @property
    def share(self) -> float:
        return self.done / self._total

    @property
    def text(self) -> str:
        speed = self.done / max(self.now - self.began, 1e-9)
        left = (self._total - self.done) / speed
        what = f"loss {self._loss:.3f}" if self._weight else self._task
        return f"{what}, {speed:,.0f} clicks/s, {left:.0f} s left"
