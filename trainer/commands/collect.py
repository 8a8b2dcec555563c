"""`nextclick-trainer collect`: the topic of clicks kept on disk."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from trainer import config, console
from trainer.clicks.archive import ClickArchive
from trainer.clicks.collector import Collector
from trainer.clicks.topic import fields_of
from trainer.commands import options
from worker.core.event import Decoder


@click.command()
@click.option(
    "-o", "--output", default="clicks", type=click.Path(path_type=Path), help="Folder of the click archive."
)
@options.kafka
@click.option("--topic", default="clicks", help="Topic of clicks.")
@options.columns
@click.option("--follow", is_flag=True, help="Follow the topic until stopped.")
@click.option(
    "--keep-days",
    type=click.FloatRange(min=0, min_open=True),
    help="Age in days from which on files are deleted. [default: nothing is deleted]",
)
@click.option(
    "--file-records",
    default=1_000_000,
    type=click.IntRange(min=1),
    help="Largest number of offsets in a file, about.",
)
@click.option(
    "--every-seconds",
    default=300.0,
    type=click.FloatRange(min=0),
    help="Longest time before new clicks are written, in seconds.",
)
def collect(
    output: Path,
    kafka: str,
    topic: str,
    *,
    follow: bool,
    keep_days: float | None,
    file_records: int,
    every_seconds: float,
    **chosen: Any,
) -> None:
    """Keep the clicks of a topic as Parquet files, each once. A later call continues where this one ended."""
    decoder, archive = Decoder(fields_of(options.columns_of(chosen))), ClickArchive(output)
    with archive.writing(topic):
        collector = Collector(
            config.connection(kafka, os.environ),
            archive,
            topic=topic,
            decoder=decoder,
            progress=console.for_this_place(),
            keep_days=keep_days,
            file_records=file_records,
            every_seconds=every_seconds,
        )
        collector.follow() if follow else collector.collect()
