"""Tables of metrics: ruled and coloured on a terminal, plain columns in a file or a pipe."""

from __future__ import annotations

from collections.abc import Sequence

import click
from rich.console import Console
from rich.table import Table

from trainer.evaluation.compare import Difference, title
from trainer.evaluation.metrics import Figure
from trainer.evaluation.slices import EvaluationResult, Figures

Rows = Sequence[Sequence[str]]


def show_result(found: EvaluationResult) -> None:
    """Print all metrics of all models with confidence intervals, then Recall@K and MRR@K by slice.

    There is a table of the metrics for each K. The slices are for the largest K.
    """
    heading = f"{found.predictions:,} held-out clicks in {found.sessions:,} sessions, 95 % intervals"
    metrics = list(dict.fromkeys(name for metrics in found.models.values() for name in metrics))
    smaller = {top: [name for name in metrics if name.endswith(f"_at_{top}")] for top in found.smaller_tops}
    rest = [name for name in metrics if not any(name in names for names in smaller.values())]
    for names in (*smaller.values(), rest):
        _show(heading, ["", *map(title, names)], _rows(found.models, names))
    for metric in (f"recall_at_{found.top}", f"mrr_at_{found.top}"):
        rows = [
            [name, f"{one.predictions:,}", *(f"{models[metric].value:.4f}" for models in one.models.values())]
            for name, one in found.slices.items()
        ]
        _show(f"{title(metric)} by slice", ["", "n", *found.models], rows)


def show_differences(found: Sequence[Difference], a: str = "A", b: str = "B") -> None:
    """Print a row per metric: A, B, the difference, its interval, and the probability that B is better.

    `a` and `b`: the names of A and B.
    """
    rows = [
        [
            title(one.metric),
            f"{one.a:.4f}",
            f"{one.b:.4f}",
            f"{one.difference:+.4f}",
            f"{one.low:+.4f} to {one.high:+.4f}",
            f"{one.probability:.1%}",
        ]
        for one in found
    ]
    heading = f"{found[0].predictions:,} predictions in {found[0].sessions:,} sessions"
    _show(heading, ["", a, b, f"{b} - {a}", "95 % interval", f"{b} is better"], rows)


def _rows(models: dict[str, Figures], metrics: Sequence[str]) -> Rows:
    return [[name, *(_cell(figures.get(metric)) for metric in metrics)] for name, figures in models.items()]


def _cell(figure: Figure | None) -> str:
    if figure is None:
        return "-"
    value = f"{figure.value:.4f}"
    if figure.low is None or figure.high is None:
        return value
    return f"{value} ({figure.low:.4f}-{figure.high:.4f})"


def _show(heading: str, header: Sequence[str], rows: Rows) -> None:
    console = Console()
    # A figure that is cut off is of no use: a table that is too wide is left to the terminal to wrap.
    width = sum(max(map(len, column)) + 3 for column in zip(header, *rows, strict=True)) + 1
    if not console.is_terminal or width > console.width:
        click.echo("\n".join([heading, *_plain([header, *rows]), ""]))
        return
    table = Table(title=heading, title_justify="left")
    for number, name in enumerate(header):
        table.add_column(name, justify="right" if number else "left")
    for row in rows:
        table.add_row(*row)
    console.print(table)


def _plain(rows: Rows) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if number else cell.ljust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
