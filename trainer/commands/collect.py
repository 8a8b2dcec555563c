"""`nextclick-trainer collect`: the topic of clicks kept on disk."""

from __future__ import annotations

import click

from trainer import console
from trainer.clicks.archive import ClickArchive
from trainer.clicks.collector import Collector
from trainer.commands import options
from trainer.commands.kafka import connect, decoder
from worker.commandline import (
    OUTPUT,
    Command,
    clicks_topic_option,
    config_options,
    kafka_option,
    option,
    shorthand,
)


@click.command(cls=Command, resume="the same command goes on where this one ended")
@shorthand(
    "-o",
    "--output",
    key="archive.folder",
    metavar="FOLDER",
    group=OUTPUT,
    help="Folder of the click archive.",
)
@option("--follow", is_flag=True, help="Follow the topic until stopped.")
@shorthand(
    "--keep", key="archive.keep", metavar="DURATION", help="Age from which on files are deleted, such as 90d."
)
@options.columns
@kafka_option
@clicks_topic_option
@config_options
def collect(*, follow: bool) -> None:
    """Keep the clicks of a topic as Parquet files, each once. A later call continues where this one ended."""
    chosen = options.settings()
    topic, kept = chosen.topics.clicks, chosen.archive
    archive = ClickArchive(kept.folder)
    with archive.writing(topic):
        collector = Collector(
            connect(chosen),
            archive,
            topic=topic,
            decoder=decoder(chosen),
            progress=console.for_this_place(),
            keep_days=None if kept.keep is None else kept.keep / 86_400,
            file_records=kept.file_records,
            every_seconds=kept.write_interval,
        )
        collector.follow() if follow else collector.collect()
