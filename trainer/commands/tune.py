"""`nextclick-trainer tune`: search for the best settings for given clicks."""

from __future__ import annotations

import math
import shlex
from pathlib import Path

import click

from trainer import console
from trainer.commands import options
from worker.commandline import OUTPUT, Command, Span, config_options, json_option, option, show
from worker.settings.loading import given


@click.command(cls=Command, resume="run the same command again to continue after the finished trials")
@click.argument("files", nargs=-1, required=True, type=options.FOLDER)
@option(
    "-o",
    "--output",
    "folder",
    default="tuned",
    type=options.FOLDER,
    group=OUTPUT,
    help="Folder for the trials and the best settings.",
)
@option(
    "--trials",
    default=30,
    type=click.IntRange(min=1),
    help="Total number of trials; a trial is one training.",
)
@option("--time", "seconds", type=Span(), help="Time limit of the search, such as 2h. [default: no limit]")
@options.columns
@options.split_at
@config_options
@json_option
def tune(files: tuple[Path, ...], folder: Path, trials: int, seconds: float | None, *, as_json: bool) -> None:
    """Search for the settings that score best on the validation split of the clicks in FILES.

    The search covers learning rate, batch size, layers, hidden size, loss, dropout and scale, except settings
    that you set yourself. Run the same command again to continue a search, with higher --trials or --time to
    extend it.
    """
    chosen, teller = options.settings(), console.for_this_place()
    scan = options.scan_clicks(files, chosen, teller)
    # TensorFlow takes seconds to load; load it only when needed.
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
