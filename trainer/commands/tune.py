"""`nextclick-trainer tune`: clicks in, the settings that suit them out."""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from trainer import console
from trainer.clicks.columns import Columns
from trainer.commands import options
from trainer.config import FitSettings
from trainer.settings_file import changed


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    "folder",
    default="tuned",
    type=click.Path(path_type=Path),
    help="Folder for the search.",
)
@click.option("--trials", default=30, type=click.IntRange(min=1), help="Number of trials, each a training.")
@click.option(
    "--minutes",
    type=click.FloatRange(min=0, min_open=True),
    help="Time limit of the search, in minutes. [default: no limit]",
)
@options.columns
@options.reading
@options.settings_file
@options.measuring
@options.preparing
@options.training
def tune(
    files: tuple[Path, ...],
    folder: Path,
    trials: int,
    minutes: float | None,
    **chosen: Any,
) -> None:
    """Search settings for the clicks in FILES, by trials judged on their validation split.

    It searches learning rate, batch, layers, size, loss, dropout and scale, except those that are given here
    or in --settings. The same command continues where it ended or was killed; more --trials or --minutes
    go further.
    """
    given = sorted(options.asked() & chosen.keys())
    columns, settings = options.columns_and_settings_of(chosen)
    teller = console.for_this_place()
    scan = options.scan_clicks(files, None, "", columns, teller)
    # TensorFlow takes seconds to load: only here, where it is needed.
    from trainer.tuning import tune as tuning  # noqa: PLC0415

    budget = tuning.Budget(trials, minutes * 60 if minutes else math.inf)
    best = tuning.tune(scan.clicks, settings, given=given, folder=folder, budget=budget, progress=teller)
    click.echo(f"best MRR@{settings.top} on the validation end: {best.value:.4f}, in {folder / tuning.BEST}:")
    click.echo(command_line(files, columns, best.settings))


def command_line(files: Sequence[Path], columns: Columns, settings: FitSettings) -> str:
    """What to type to train with `settings`."""
    named = {"user": columns.user, "item": columns.item, "timestamp": columns.timestamp}
    read = {"time_zone": columns.time_zone, "time_unit": columns.time_unit}
    words = ["nextclick-trainer", "fit", *map(str, files)]
    for name, value in {**named, **read, **changed(settings)}.items():
        words += _option(name, value)
    return shlex.join(words)


def _option(name: str, value: Any) -> list[str]:
    flag = name.replace("_", "-")
    if value is None:
        return []
    if isinstance(value, bool):
        return [f"--{flag}" if value else f"--no-{flag}"]
    if name in ("categorical", "numeric"):
        return [word for one in value for word in (f"--{flag}", one)]
    if name == "split_at_ms":
        flag, value = "split-at", datetime.fromtimestamp(value / 1000, UTC).isoformat()
    elif name == "session_gap_seconds":
        flag, value = "session-gap-minutes", f"{value / 60:g}"
    elif isinstance(value, list):
        value = ",".join(map(str, value)) or "none"
    return [f"--{flag}", str(value)]
