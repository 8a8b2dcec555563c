"""`nextclick-trainer collect`: archive the clicks topic on disk."""

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


@click.command(cls=Command, resume="run the same command again to continue")
@shorthand(
    "-o",
    "--output",
    key="archive.folder",
    metavar="FOLDER",
    group=OUTPUT,
    help="Folder of the click archive.",
)
@option("--follow", is_flag=True, help="Continue collecting new clicks until stopped.")
@shorthand(
    "--keep",
    key="archive.keep",
    metavar="DURATION",
    help="Age at which archive files are deleted, such as 90d.",
)
@options.columns
@kafka_option
@clicks_topic_option
@config_options
def collect(*, follow: bool) -> None:
    """Archive the clicks of a topic as Parquet files, each click once.

    Run the command again to add newer clicks.
    """
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
