"""Draws what a larger catalogue costs, for tests/README.md, from the results of `make bench`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from tests.benchmarks.scale import SIZES
from tests.broker.process import ROOT

PATH: Final = ROOT / "tests" / "benchmarks" / "scale.svg"

_INK: Final = "#57606a"
"""Readable on a light and on a dark page."""

_STYLE: Final[Any] = {
    "svg.hashsalt": "nextclick",
    "svg.fonttype": "none",
    "font.size": 9,
    **dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), _INK),
}
_COLOURS: Final = ("#e0752d", "#3274d9")


class Panel(NamedTuple):
    """A panel: its title, the name of each line's figures by the line's label, and the unit of the title."""

    title: str
    lines: Mapping[str, str]
    unit: float = 1.0


PANELS: Final = (
    Panel(
        "CPU per list, µs",
        {"exact": "exact_{}_microseconds", "approximate": "approximate_{}_microseconds"},
    ),
    Panel("memory of a release, MB", {"": "release_{}_bytes"}, 1e6),
    Panel("adoption by two workers, s", {"": "adopt_{}_seconds"}),
)


def draw(figures: Mapping[str, float], path: Path = PATH) -> None:
    """Draw the panels over the number of items; sizes that were not measured are left out."""
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(9.6, 2.9), layout="constrained")
        figure.patch.set_alpha(0)
        for axes, panel in zip(figure.subplots(1, len(PANELS)), PANELS, strict=True):
            _draw(axes, panel, figures)
        figure.savefig(path, format="svg", metadata={"Date": None})


def _draw(axes: Axes, panel: Panel, figures: Mapping[str, float]) -> None:
    axes.patch.set_alpha(0)
    for (label, name), colour, above in zip(panel.lines.items(), _COLOURS, (5, -12), strict=False):
        found = {
            items: figures[name.format(size)] for size, items in SIZES.items() if name.format(size) in figures
        }
        values = [value / panel.unit for value in found.values()]
        axes.plot([*found], values, marker="o", markersize=4, color=colour, label=label or None)
        for items, value in zip(found, values, strict=True):
            text = f"{value:,.0f}" if value >= 10 else f"{value:.1f}"
            axes.annotate(
                text, (items, value), (0, above), textcoords="offset points", ha="center", fontsize=7
            )
    axes.set(title=panel.title, xscale="log", yscale="log", xlabel="items")
    axes.set_xticks([*SIZES.values()], [*SIZES])
    axes.minorticks_off()
    axes.margins(y=0.18)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    if any(panel.lines):
        axes.legend(frameon=False, loc="upper left")
