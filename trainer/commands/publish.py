"""`nextclick-trainer publish`: a release to the workers."""

from __future__ import annotations

from pathlib import Path

import click

from trainer.commands import options
from trainer.commands.kafka import connect
from trainer.release.folder import publish_folder
from worker.core.release import CANDIDATE_SHARE
from worker.topics.releases import CANDIDATE, CHAMPION


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@options.topic_of_releases
@click.option("--candidate", is_flag=True, help="Make it the candidate, not the champion.")
@click.option(
    "--share",
    type=click.FloatRange(0, 1, min_open=True),
    help=f"Share of the users that a candidate serves. [default: {CANDIDATE_SHARE}]",
)
def publish(folder: Path, kafka: str, topic: str, *, candidate: bool, share: float | None) -> None:
    """Send the release in FOLDER to Kafka and make it the champion. Workers adopt it in seconds."""
    if share is not None and not candidate:
        raise click.UsageError(
            "--share is for a candidate: the champion serves everyone else. Add --candidate"
        )
    number = publish_folder(
        folder,
        connect(kafka),
        topic=topic,
        pointer=CANDIDATE if candidate else CHAMPION,
        share=share or CANDIDATE_SHARE,
    )
    click.echo(f"release {number} is {CANDIDATE if candidate else CHAMPION} in {topic}")
