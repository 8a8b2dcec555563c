"""Draws the panels of the dashboards from the answers of a real Prometheus, for deploy/README.md.

    make pictures

These are no screenshots: no Grafana is installed. Places, titles, units, limits and colours of the panels
come from the committed dashboards, the numbers from their queries.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, Locator, MaxNLocator, MultipleLocator
from numpy.typing import NDArray
from PIL import Image

from tests.deploy.grafana.answers import Line, Panel, dashboards
from tests.deploy.grafana.story import Answers, told
from tests.documents import ROOT

FOLDER: Final = ROOT / "deploy/grafana/pictures"

WIDTH: Final = 24
"""The width of a dashboard, in units of Grafana."""
PIXELS: Final = (56, 30)
"""Width and height of a unit."""
DPI: Final = 100
GAP: Final = 0.12
Floats = NDArray[np.float64]
LINES: Final = (
    *("#56a64b", "#f2a900", "#3274d9", "#e0752d", "#a352cc", "#1f9bb8", "#c4162a", "#7c6a4e"),
    *("#8ab8ff", "#96d98d"),
)
COLOURS: Final = {"green": "#1a7f37", "yellow": "#d29922", "red": "#cf222e", "text": "#24292f"}
INK, FAINT, PAPER, WALL = "#24292f", "#6e7781", "#ffffff", "#f4f5f5"


def main() -> None:
    """Play the story and draw the pictures."""
    answers = told()
    for name in dashboards():
        path = draw(name, answers, FOLDER)
        print(f"{path.relative_to(ROOT)}: {path.stat().st_size / 1_000:.0f} kB")


def draw(name: str, answers: Answers, folder: Path) -> Path:
    """Draw a dashboard as a picture; return its path."""
    dashboard = dashboards()[name]
    rows = max(one["gridPos"]["y"] + one["gridPos"]["h"] for one in dashboard["panels"]) + 1
    size = (WIDTH * PIXELS[0] / DPI, rows * PIXELS[1] / DPI)
    with mpl.rc_context({"font.size": 8, "font.family": "DejaVu Sans", "text.color": INK}):
        figure = Figure(figsize=size, dpi=DPI, facecolor=WALL)
        figure.text(0.008, 1 - 0.5 / rows, dashboard["title"], fontsize=13, weight="bold", va="center")
        for one in dashboard["panels"]:
            if one["type"] == "row":
                height = 1 - (one["gridPos"]["y"] + 1.55) / rows
                figure.text(0.008, height, one["title"], fontsize=10, va="center", color=FAINT)
        for panel, lines in answers.panels:
            if panel.dashboard == name:
                _panel(figure, rows, panel, lines, answers)
        return _saved(figure, folder / f"{name}.png")


def _saved(figure: Figure, path: Path) -> Path:
    """Save a figure with a palette, which takes a third of the bytes."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    path.parent.mkdir(exist_ok=True)
    Image.open(buffer).convert("RGB").quantize(128, dither=Image.Dither.NONE).save(path, optimize=True)
    return path


def _panel(figure: Figure, rows: int, panel: Panel, lines: Sequence[Line], answers: Answers) -> None:
    place = panel.document["gridPos"]
    x, y, width, height = (place[one] for one in "xywh")
    left, bottom = (x + GAP) / WIDTH, 1 - (y + 1 + height - GAP) / rows
    card = figure.add_axes((left, bottom, (width - 2 * GAP) / WIDTH, (height - 2 * GAP) / rows))
    card.set(xticks=[], yticks=[], facecolor=PAPER)
    for spine in card.spines.values():
        spine.set_color("#d8dee4")
    card.text(
        0.5 * 0.25 / width,
        1 - 0.55 / height,
        panel.title,
        transform=card.transAxes,
        va="center",
        weight="bold",
    )
    if not lines:
        nothing = panel.document["fieldConfig"]["defaults"]["noValue"]
        card.text(0.5, 0.4, nothing, transform=card.transAxes, ha="center", va="center", color=FAINT)
        return
    if panel.is_stat:
        _number(card, panel, lines)
        return
    inside = (
        left + 1.15 / WIDTH,
        bottom + 1.75 / rows,
        (width - 1.6) / WIDTH,
        (height - 3.1) / rows,
    )
    _graph(figure.add_axes(inside), panel, lines, answers)


def _number(card: Axes, panel: Panel, lines: Sequence[Line]) -> None:
    """Draw the number of a panel, on the colour of its limit."""
    defaults = panel.document["fieldConfig"]["defaults"]
    value = lines[0].points[-1][1]
    steps = defaults["thresholds"]["steps"]
    colour = [step["color"] for step in steps if step["value"] is None or value >= step["value"]][-1]
    if colour != "text":
        card.set_facecolor(COLOURS[colour])
        card.texts[0].set_color(PAPER)
    ink = INK if colour == "text" else PAPER
    text = shown(value, defaults["unit"])
    card.text(
        0.5,
        0.4,
        text,
        transform=card.transAxes,
        ha="center",
        va="center",
        fontsize=20,
        weight="bold",
        color=ink,
    )


def _graph(axes: Axes, panel: Panel, lines: Sequence[Line], answers: Answers) -> None:
    """Draw the lines of a panel, with the limits that are in sight."""
    defaults = panel.document["fieldConfig"]["defaults"]
    custom = defaults["custom"]
    axes.set_prop_cycle(color=LINES)
    if "stacking" in custom:
        times, values = _grid(lines)
        axes.stackplot(
            times - answers.begin, np.nan_to_num(values), labels=[one.name for one in lines], alpha=0.6, lw=0
        )
    else:
        for line in lines:
            times, values = _grid([line])
            axes.plot(times - answers.begin, values[0], label=line.name, lw=1.2)
    axes.set_xlim(0, answers.end - answers.begin)
    _, top = axes.get_ylim()
    if "min" in defaults:
        axes.set_ylim(0, top if any(value for line in lines for _, value in line.points) else 1)
    for step in defaults.get("thresholds", {}).get("steps", ())[1:]:
        if step["value"] < axes.get_ylim()[1]:
            axes.axhline(step["value"], color=COLOURS[step["color"]], lw=1, ls="--")
    _finish(axes, defaults["unit"])


def _finish(axes: Axes, unit: str) -> None:
    """Give the axes their ticks and the legend."""
    axes.yaxis.set_major_locator(_locator(unit, axes.get_ylim()[1]))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: shown(value, unit)))
    axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 3, 6, 10], integer=True))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value // 60:.0f}:{value % 60:02.0f}"))
    axes.tick_params(length=0, colors=FAINT, labelsize=7)
    axes.grid(color="#eaeef2", lw=0.7)
    axes.set_axisbelow(True)
    axes.spines[:].set_visible(False)
    handles, labels = axes.get_legend_handles_labels()
    axes.legend(
        handles[:8],
        labels[:8],
        loc="upper left",
        bbox_to_anchor=(-0.06, -0.11),
        ncols=4 if max(map(len, labels), default=0) < 14 else 3,
        frameon=False,
        fontsize=7,
        handlelength=1,
        columnspacing=1,
        labelspacing=0.2,
    )


def _locator(unit: str, top: float) -> Locator:
    """Return the locator of the ticks up to `top`: at round numbers of the unit that is shown."""
    if unit == "bytes":
        return MultipleLocator(2 ** math.floor(math.log2(top / 3)))
    return MaxNLocator(4, steps=[1, 2, 3, 6, 10] if unit == "s" and top > 60 else [1, 2, 5, 10])


def _grid(lines: Sequence[Line]) -> tuple[Floats, Floats]:
    """Return all times of some lines, in steps, and their values; NaN where a line has no value."""
    known = np.unique([time for line in lines for time, _ in line.points])
    step = np.diff(known).min(initial=np.inf)
    times = np.arange(known[0], known[-1] + step / 2, step) if np.isfinite(step) else known
    values = np.full((len(lines), len(times)), np.nan)
    for row, line in enumerate(lines):
        for time, value in line.points:
            values[row, np.abs(times - time).argmin()] = value
    return times, values


def shown(value: float, unit: str) -> str:
    """Return a number with its unit, as Grafana writes it, in few digits."""
    if unit == "percentunit":
        return f"{100 * value:.3g} %"
    if unit == "s":
        return _seconds(value)
    if unit == "bytes":
        return f"{value / 2**20:.4g} MiB"
    text = f"{value:.3g}" if value < 1_000 else f"{value / 1_000:.3g} K"
    return f"{text} c/s" if unit == "cps" else text


def _seconds(value: float) -> str:
    if value == 0:
        return "0 s"
    if value < 1:
        return f"{1_000 * value:.3g} ms"
    return f"{value:.3g} s" if value < 60 else f"{value / 60:.3g} min"


if __name__ == "__main__":
    main()
