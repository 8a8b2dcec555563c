"""`nextclick-trainer fit`: clicks in, release out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from trainer import console
from trainer.commands import options
from trainer.commands.measures import report, size
from trainer.release.folder import read_folder, write_folder


@click.command()
@click.argument("files", nargs=-1, type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    "folder",
    default="release",
    type=click.Path(path_type=Path),
    help="Folder for the release.",
)
@click.option(
    "--from",
    "begin",
    type=click.Path(path_type=Path),
    help="Folder of a release to begin with its weights.",
)
@options.columns
@options.reading
@click.option(
    "--kafka",
    help="Train on a topic, from its first to its last record, instead of files. " + options.KAFKA_HELP,
)
@click.option("--topic", default="clicks", help="Topic of clicks.")
@options.settings_file
@options.measuring
@options.preparing
@options.training
def fit(
    files: tuple[Path, ...], folder: Path, begin: Path | None, kafka: str | None, topic: str, **chosen: Any
) -> None:
    """Train on the clicks in FILES (.csv, .tsv, .parquet, .jsonl; .gz), in an archive or in a topic."""
    columns, settings = options.columns_and_settings_of(chosen)
    teller = console.for_this_place()
    scan = options.scan_clicks(files, kafka, topic, columns, teller)
    # TensorFlow takes seconds to load: only here, where it is needed.
    from trainer.training import checkpoints, warm_start  # noqa: PLC0415
    from trainer.training import fit as fitting  # noqa: PLC0415

    parent = read_folder(begin) if begin else None
    if parent:
        settings = replace(settings, **warm_start.shaped_as(parent.manifest, settings, options.asked()))
    work = checkpoints.work_folder(folder)
    fitted = fitting.fit(scan.clicks, settings, teller, work=work, parent=parent)
    write_folder(folder, *fitted.parts)
    checkpoints.remove(work)
    click.echo(report(fitted.manifest.metrics, settings.top))
    click.echo(f"release written to {folder}: {size(fitted.manifest)}")
