"""`nextclick-trainer compare`: whether one release is better than another."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import click
import orjson

from trainer import console
from trainer.commands import options
from trainer.commands.tables import show_differences
from trainer.config import FitSettings
from trainer.continuous.gate import METRICS, decision
from trainer.dataset.holdout import cleaned
from trainer.evaluation.compare import Aligned, align, paired, to_json
from trainer.files_on_disk import write_file
from trainer.release.folder import read_folder

EXIT_CODES: Final = {"better": 0, "no_difference": 1, "worse": 3}
"""By decision; 2 is that of an error, as everywhere."""


@click.command()
@click.argument("a", type=click.Path(path_type=Path))
@click.argument("b", type=click.Path(path_type=Path))
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@options.columns
@options.reading
@options.measuring
@click.option("--by", type=click.Choice(METRICS), default="recall", help="Metric that decides.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="File for the figures, as JSON.")
@click.pass_context
def compare(
    context: click.Context,
    /,
    a: Path,
    b: Path,
    files: tuple[Path, ...],
    *,
    by: str,
    json_file: Path | None,
    **chosen: Any,
) -> None:
    """Say whether the release in folder B is better than that in A on the clicks in FILES.

    Both answer the same predictions; a paired bootstrap over sessions gives the 95 % interval of
    their difference. Exit code: 0 B is better, 1 no difference shown, 3 B is worse, 2 an error.
    """
    columns = options.columns_of(chosen)
    settings, teller = FitSettings(**chosen), console.for_this_place()
    clicks = options.read_clicks(files, columns, teller)
    aligned = align(
        read_folder(a).release,
        read_folder(b).release,
        cleaned(clicks, teller, datetime.now(UTC)),
        from_ms=settings.split_at_ms,
        top=settings.top,
        exclude_recent=settings.exclude_recent,
        progress=teller,
    )
    found = paired(aligned.a, aligned.b, aligned.session, top=settings.top)
    metric = f"{by}_at_{settings.top}"
    show_differences([*found.values()])
    _tell_what_is_left_out(aligned)
    click.echo(found[metric].sentence())
    if json_file:
        write_file(json_file, orjson.dumps(to_json(found, metric), option=orjson.OPT_INDENT_2))
    context.exit(EXIT_CODES[decision(found[metric])])


def _tell_what_is_left_out(aligned: Aligned) -> None:
    for name, count in (("A", aligned.only_a), ("B", aligned.only_b)):
        if count:
            click.echo(f"left out: {count:,} clicks that only {name} predicts, by its session gap")
