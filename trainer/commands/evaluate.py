"""`nextclick-trainer evaluate`: a release on clicks that it was not trained on."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import orjson

from trainer import console
from trainer.commands import options
from trainer.commands.tables import show_result
from trainer.config import FitSettings
from trainer.dataset.holdout import cleaned, hold_out
from trainer.evaluation.benchmark import BASELINES, BaselineSettings, score
from trainer.files_on_disk import write_file
from trainer.release.folder import read_folder


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@options.columns
@options.reading
@options.measuring
@click.option(
    "--exact",
    is_flag=True,
    help="Replay every click through the worker's user states: the same result, slower.",
)
@click.option(
    "--baselines/--no-baselines",
    default=True,
    help="Measure baselines, too: all of them with --split-at, else the release's popular items.",
)
@click.option(
    "--recent-hours",
    default=BaselineSettings().recent_hours,
    help="Age of the oldest click that the recently popular items count, in hours.",
)
@click.option(
    "--knn-sample", type=int, help="Past sessions that kNN compares with. [default: 500, 1000, 5000]"
)
@click.option("--knn-neighbours", type=int, help="Past sessions that vote in kNN. [default: 100, 100, 500]")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="File for the figures, as JSON.")
def evaluate(
    folder: Path,
    files: tuple[Path, ...],
    *,
    exact: bool,
    baselines: bool,
    recent_hours: float,
    knn_sample: int | None,
    knn_neighbours: int | None,
    json_file: Path | None,
    **chosen: Any,
) -> None:
    """Measure the release in FOLDER on the clicks in FILES, together with baselines.

    All metrics have 95 % intervals by bootstrap over sessions. Baselines are trained on the clicks in
    FILES before --split-at; without it there is only the release's own list of popular items.
    """
    columns = options.columns_of(chosen)
    settings, teller = FitSettings(**chosen), console.for_this_place()
    knn = BaselineSettings(recent_hours=recent_hours, knn_sample=knn_sample, knn_neighbours=knn_neighbours)
    release = read_folder(folder).release
    clicks = options.read_clicks(files, columns, teller)
    held = hold_out(
        cleaned(clicks, teller, datetime.now(UTC)),
        gap_seconds=release.manifest.session_gap_seconds,
        from_ms=settings.split_at_ms,
        progress=teller,
    )
    if caution := held.caution(release.manifest):
        teller.say(caution)
    found = score(
        release,
        held,
        top=settings.top,
        exclude_recent=settings.exclude_recent,
        exact=exact,
        names=tuple(BASELINES) if baselines else (),
        settings=knn,
        progress=teller,
    )
    show_result(found)
    if json_file:
        write_file(json_file, orjson.dumps(found.to_json(), option=orjson.OPT_INDENT_2))
