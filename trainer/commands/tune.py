"""`nextclick-trainer tune`: clicks in, the settings that suit them out."""

from __future__ import annotations

import math
import shlex
from pathlib import Path

import click

from trainer import console
from trainer.commands import options
from worker.commandline import OUTPUT, Command, Span, config_options, json_option, option, show
from worker.settings.loading import given


@click.command(cls=Command, resume="the same command goes on after the finished trials")
@click.argument("files", nargs=-1, required=True, type=options.FOLDER)
@option(
    "-o",
    "--output",
    "folder",
    default="tuned",
    type=options.FOLDER,
    group=OUTPUT,
    help="Folder for the search.",
)
@option("--trials", default=30, type=click.IntRange(min=1), help="Number of trials, each a training.")
@option("--time", "seconds", type=Span(), help="Time limit of the search, such as 2h. [default: no limit]")
@options.columns
@options.split_at
@config_options
@json_option
def tune(files: tuple[Path, ...], folder: Path, trials: int, seconds: float | None, *, as_json: bool) -> None:
    """Search settings for the clicks in FILES, by trials judged on their validation split.

    It searches learning rate, batch, layers, size, loss, dropout and scale, except those that somebody chose.
    The same command continues where it ended or was killed; more --trials or --time go further.
    """
    chosen, teller = options.settings(), console.for_this_place()
    scan = options.scan_clicks(files, chosen, teller)
    # TensorFlow takes seconds to load: only here, where it is needed.
    from trainer.tuning import tune as tuning  # noqa: PLC0415

    budget = tuning.Budget(trials, seconds or math.inf)
    best = tuning.tune(
        scan.clicks, chosen, given=given(chosen), folder=folder, budget=budget, progress=teller
    )
    file = folder / tuning.BEST
    top, words = chosen.evaluation.top, ["nextclick-trainer", "fit", *map(str, files), "--config", str(file)]
    show(
        {"config": str(file), f"mrr_at_{top}": best.value},
        f"best MRR@{top} on the validation split: {best.value:.4f}, in {file}:",
        shlex.join(words),
        as_json=as_json,
    )
