"""`nextclick-trainer evaluate`: a release on clicks that it was not trained on."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from trainer import progress
from trainer.commands import options
from trainer.commands.measures import report
from trainer.config import FitSettings
from trainer.data import to_measure
from trainer.evaluate import measure
from trainer.publish import read_folder
from worker.core.release import verify


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@options.columns
@options.reading
@options.measuring
def evaluate(folder: Path, files: tuple[Path, ...], **chosen: Any) -> None:
    """Measure the release in FOLDER on the clicks in FILES, beside its popularity list."""
    columns = options.columns_of(chosen)
    settings, teller = FitSettings(**chosen), progress.for_this_place()
    release = verify(*read_folder(folder))
    table = options.read_clicks(files, None, "", columns, teller)
    sessions = to_measure(table.clicks, release, settings.split_at_ms, teller, datetime.now(UTC))
    metrics = measure(release, sessions, top=settings.top, exclude_recent=settings.exclude_recent)
    click.echo(report(metrics, settings.top))
