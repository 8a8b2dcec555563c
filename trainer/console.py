"""Progress of what runs long: nothing, lines for a log, or a bar for a terminal."""

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
"""The interval between the lines of `Lines`."""

_SECONDS_BETWEEN_MOVES: Final = 0.1
"""The interval between moves of `Bar` for steps quicker than a training step."""

Item = TypeVar("Item")

_LOSS_MEMORY: Final = 0.98
"""The loss shown is an average in which a step counts that much less after every further step."""


class Progress:
    """Silent; the base of those that speak."""

    def say(self, line: str) -> None:
        """Print one line."""

    def through(self, items: Iterable[Item], total: int, task: str) -> Iterator[Item]:
        """Yield `items`, `total` of them, one after the other, and show meanwhile how far the `task` is."""
        yield from items

    def start(self, predictions: int) -> None:
        """Note that a training begins that predicts at most `predictions` clicks."""

    def advance(self, predictions: int, loss: float) -> None:
        """Count a training step over this many clicks with this average `loss`."""

    def epoch(self, number: int, results: Mapping[str, float]) -> None:
        """Note that epoch `number`, from 1, is over, with its `results`."""

    def stop(self) -> None:
        """Note that the training is over, perhaps early or by an error."""


class Lines(Progress):
    """Plain lines, at most one in ten seconds while something runs: for logs and pipes."""

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
        self._begin(predictions)

    def advance(self, predictions: int, loss: float) -> None:
        """Write how far it is, the loss, the speed and the time left, if it is time to."""
        self._speak(self._pace.advance(predictions, loss))

    def through(self, items: Iterable[Item], total: int, task: str) -> Iterator[Item]:
        """Yield `items` unchanged while showing progress on a `task` that has no loss."""
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
    """A progress bar below the lines printed before: for terminals."""

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
        """Move the bar."""
        self._pace.advance(predictions, loss)
        self._bar.update(self._task, advance=predictions, description=self._pace.text)

    def through(self, items: Iterable[Item], total: int, task: str) -> Iterator[Item]:
        """Yield `items` unchanged while showing progress on another `task`."""
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
        """Take the bar away."""
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
    """Progress and speed of a task; a training also has a loss."""

    def __init__(self, total: int, clock: Callable[[], float], task: str) -> None:
        self._task = task
        self.began = self.now = clock()
        self._clock = clock
        self._total = total
        self.done = 0
        self._loss = self._weight = 0.0

    def advance(self, clicks: int, loss: float | None = None) -> float:
        """Count a step; return the time."""
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
