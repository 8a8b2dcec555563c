from __future__ import annotations

import io
import itertools
from collections.abc import Iterator

from rich.console import Console

from trainer.console import Bar, Lines


def test_lines_tell_share_loss_speed_and_time_left() -> None:
    """At most one line in ten seconds: at 12 s half is done, 100 clicks/s, 12 s are left."""
    told: list[str] = []
    times: Iterator[float] = iter([0.0, 6.0, 12.0, 13.0])
    lines = Lines(told.append, clock=lambda: next(times))

    lines.start(2400)
    for _ in range(3):
        lines.advance(600, 2.5)

    assert told == [" 50%  loss 2.500, 100 clicks/s, 12 s left"]


def test_a_task_without_a_loss_tells_the_rest() -> None:
    """In lines and as a bar; nothing is lost of what is gone through."""
    told: list[str] = []
    terminal, times = io.StringIO(), itertools.count(0.0, 6.0)
    bar = Bar(Console(file=terminal, force_terminal=True, width=100), clock=lambda: next(times))
    lines = Lines(told.append, clock=lambda: next(times))

    assert [*lines.through("abcd", 4, "walking")] == [*bar.through("abcd", 4, "walking")] == [*"abcd"]
    assert told == [" 50%  walking, 0 clicks/s, 12 s left", "100%  walking, 0 clicks/s, 0 s left"]
    assert "walking, 0 clicks/s, 0 s left" in terminal.getvalue()


def test_a_bar_shows_the_same_on_a_terminal() -> None:
    """Facts stand above the bar."""
    terminal, times = io.StringIO(), itertools.count(0.0, 10.0)
    bar = Bar(Console(file=terminal, force_terminal=True, width=100), clock=lambda: next(times))

    bar.start(200)
    bar.advance(100, 1.25)
    bar.say("epoch 1 [of 2]")
    bar.stop()

    assert "loss 1.250, 10 clicks/s, 10 s left" in terminal.getvalue()
    assert "epoch 1 [of 2]" in terminal.getvalue()
