"""`nextclick-trainer publish`: a release to the workers."""

from __future__ import annotations

from pathlib import Path

import click

from trainer.commands import options
from trainer.commands.kafka import connect
from trainer.release.folder import publish_folder
from worker.commandline import Command, config_options, kafka_option, option, releases_topic_option
from worker.core.release import CANDIDATE_SHARE
from worker.topics.releases import CANDIDATE, CHAMPION


@click.command(cls=Command)
@click.argument("folder", type=options.FOLDER)
@option("--candidate", is_flag=True, help="Make it the candidate, not the champion.")
@option(
    "--share",
    type=click.FloatRange(0, 1, min_open=True),
    help=f"Share of the users that a candidate serves. [default: {CANDIDATE_SHARE}]",
)
@kafka_option
@releases_topic_option
@config_options
def publish(folder: Path, *, candidate: bool, share: float | None) -> None:
    """Send the release in FOLDER to Kafka and make it the champion. Workers adopt it in seconds."""
    if share is not None and not candidate:
        raise click.UsageError(
            "--share is for a candidate: the champion serves everyone else. Add --candidate"
        )
    chosen, pointer = options.settings(), CANDIDATE if candidate else CHAMPION
    number = publish_folder(
        folder,
        connect(chosen),
        topic=chosen.topics.releases,
        pointer=pointer,
        share=share or CANDIDATE_SHARE,
    )
    click.echo(f"release {number} is {pointer} in {chosen.topics.releases}")
