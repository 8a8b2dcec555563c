"""`nextclick-trainer fit`: clicks in, release out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from trainer import progress
from trainer.commands import options
from trainer.commands.measures import report
from trainer.events import Columns
from trainer.publish import write_folder


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
@options.columns
@click.option(
    "--kafka", help="Read a topic from its begin to its end instead of files. " + options.KAFKA_HELP
)
@click.option("--topic", default="clicks", help="The topic of clicks.")
@options.settings_file
@options.measuring
@options.training
def fit(files: tuple[Path, ...], folder: Path, kafka: str | None, topic: str, **chosen: Any) -> None:
    """Train on the clicks in FILES (.csv, .tsv, .parquet, .jsonl; .gz) or of a topic; write a release."""
    columns = Columns(**{role: chosen.pop(role) for role in ("user", "item", "timestamp")})
    settings = options.settings_of(chosen)
    teller = progress.for_this_place()
    table = options.read_clicks(files, kafka, topic, columns, teller)
    # TensorFlow takes seconds to load: only here, where it is needed.
    from trainer import fit as fitting  # noqa: PLC0415

    manifest, blob = fitting.fit(table.clicks, settings, teller)
    write_folder(folder, manifest, blob)
    click.echo(report(manifest.metrics, settings.top))
    click.echo(f"release written to {folder}: {manifest.items:,} items, {manifest.size_bytes / 1e6:.1f} MB")
