"""`nextclick-trainer compare`: compare two releases on the same clicks."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import click
import orjson

from trainer import console
from trainer.commands import options
from trainer.commands.tables import show_differences
from trainer.continuous.gate import METRICS as DECIDING
from trainer.continuous.gate import decision, exclusion_set
from trainer.dataset.holdout import cleaned
from trainer.evaluation.compare import Aligned, align, paired, to_json
from trainer.release.folder import read_folder
from worker.commandline import METRICS, Command, config_options, json_option, option

EXIT_CODES: Final = {"better": 0, "no_difference": 1, "worse": 3}
"""Exit code by decision; 2 means an error, as in all commands."""


@click.command(cls=Command)
@click.argument("a", type=options.FOLDER)
@click.argument("b", type=options.FOLDER)
@click.argument("files", nargs=-1, type=options.FOLDER)
@options.columns
@options.split_at
@options.leave_last
@options.tops
@options.min_context
@option(
    "--by",
    type=click.Choice(DECIDING),
    default="recall",
    group=METRICS,
    help="Metric that decides which is better, at the largest K.",
)
@config_options
@json_option
@click.pass_context
def compare(
    context: click.Context,
    /,
    a: Path,
    b: Path,
    files: tuple[Path, ...],
    *,
    tops: tuple[int, ...] | None,
    by: str,
    as_json: bool,
) -> None:
    """Test whether the release in folder B is better than the release in folder A.

    The clicks come from FILES or from the clicks topic. Both releases predict the same clicks; a paired
    bootstrap over sessions gives the 95 % confidence interval of the difference. Exit code: 0 B is better, 1
    no significant difference, 3 B is worse, 2 error.
    """
    chosen, teller = options.with_tops(options.settings(), tops), console.for_this_place()
    clicks, top = options.read_clicks(files, chosen, teller), chosen.evaluation.top
    aligned = align(
        read_folder(a).release,
        read_folder(b).release,
        cleaned(clicks, teller, datetime.now(UTC)),
        from_ms=chosen.dataset.split_at,
        leave_last=chosen.dataset.leave_last,
        min_context=chosen.evaluation.min_context,
        top=top,
        exclude_recent=exclusion_set(chosen),
        progress=teller,
    )
    found = paired(aligned.a, aligned.b, aligned.session, top=top, smaller_tops=tops or ())
    metric = f"{by}_at_{top}"
    if as_json:
        click.echo(orjson.dumps(to_json(found, metric), option=orjson.OPT_INDENT_2))
    else:
        show_differences([*found.values()])
        _tell_what_is_left_out(aligned)
        click.echo(found[metric].sentence())
    context.exit(EXIT_CODES[decision(found[metric])])


def _tell_what_is_left_out(aligned: Aligned) -> None:
    for name, count in (("A", aligned.only_a), ("B", aligned.only_b)):
        if count:
            click.echo(f"left out: {count:,} clicks that only {name} predicts, because of its session gap")
