"""`nextclick-trainer publish`: a release to the workers."""

from __future__ import annotations

import os
from pathlib import Path

import click

from trainer import config
from trainer.commands import options
from trainer.publish import publish_folder


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--kafka", default="localhost:9092", help=options.KAFKA_HELP)
@click.option("--topic", default="nextclick.releases", help="The topic of releases.")
@click.option("--candidate", is_flag=True, help="Point @candidate at it, not @champion.")
def publish(folder: Path, kafka: str, topic: str, *, candidate: bool) -> None:
    """Send the release in FOLDER to Kafka and point @champion at it; a worker takes it up when it starts."""
    number = publish_folder(folder, config.connection(kafka, os.environ), topic=topic, candidate=candidate)
    click.echo(f"release {number} is {'@candidate' if candidate else '@champion'} in {topic}")
