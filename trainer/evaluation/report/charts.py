"""Line charts: the coordinates that the template draws as inline SVG, and a description in words.

>>> line_chart("Loss", [4.0, 2.0]).points
'40.0,12.0 300.0,120.0'
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

_LEFT, _RIGHT, _TOP, _BOTTOM = 40.0, 300.0, 12.0, 120.0


class Tick(NamedTuple):
    """A tick on an axis: its coordinate and its label."""

    at: float
    label: str


class LineChart(NamedTuple):
    """A line with a value per epoch; `words` is the text alternative for screen readers."""

    title: str
    points: str
    dots: list[tuple[float, float]]
    across: list[Tick]
    up: list[Tick]
    words: str


def line_chart(title: str, values: Sequence[float]) -> LineChart:
    """Return a chart of `values`, one per epoch."""
    low, high = _range(values)
    step = (_RIGHT - _LEFT) / max(1, len(values) - 1)
    dots = [
        (round(_LEFT + number * step, 1), round(_height(value, low, high), 1))
        for number, value in enumerate(values)
    ]
    return LineChart(
        title=title,
        points=" ".join(f"{x},{y}" for x, y in dots),
        dots=dots,
        across=[Tick(dots[at][0], str(at + 1)) for at in _spread(len(values))],
        up=[
            Tick(round(_height(value, low, high), 1), number(value))
            for value in (low, (low + high) / 2, high)
        ],
        words=_words(title, values),
    )


def percent(share: float) -> str:
    """Format a share as a percentage for display, such as 25.3 % or 0.42 %."""
    size = abs(100 * share)
    return f"{100 * share:.{1 if size >= 1 or size == 0 else 2}f} %"


def number(value: float) -> str:
    """Format a number with three significant digits, or as a whole number from 1,000 on."""
    if not math.isfinite(value):
        return str(value)
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _height(value: float, low: float, high: float) -> float:
    return _BOTTOM - (_BOTTOM - _TOP) * (value - low) / (high - low)


def _range(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    return (low, high) if high > low else (low - abs(low) / 10 - 1e-9, high + abs(high) / 10 + 1e-9)


def _spread(count: int) -> list[int]:
    """Return up to five of `count` epochs to label, including the first and the last."""
    return sorted({round(part * (count - 1) / 4) for part in range(5)})


def _words(title: str, values: Sequence[float]) -> str:
    first, last = number(values[0]), number(values[-1])
    if len(values) == 1:
        return f"{title}: {first} after one epoch."
    low, high = min(values), max(values)
    return (
        f"{title}: {first} after the first of {len(values)} epochs, {last} after the last; "
        f"lowest {number(low)} (epoch {values.index(low) + 1}), "
        f"highest {number(high)} (epoch {values.index(high) + 1})."
    )
