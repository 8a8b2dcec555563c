"""`nextclick-trainer fetch`: a published release as a folder."""

from __future__ import annotations

from pathlib import Path

import click

from trainer.commands import options
from trainer.commands.kafka import connect
from trainer.commands.measures import size
from trainer.release.folder import fetch_folder
from worker.topics.releases import CANDIDATE, CHAMPION


@click.command()
@click.option(
    "-o",
    "--output",
    "folder",
    required=True,
    type=click.Path(path_type=Path),
    help="Folder for the release; another release there is replaced.",
)
@options.topic_of_releases
@click.option("--number", type=click.IntRange(min=1), help="Number of the release. [default: the champion]")
@click.option("--candidate", is_flag=True, help="Fetch the candidate, not the champion.")
def fetch(folder: Path, kafka: str, topic: str, *, number: int | None, candidate: bool) -> None:
    """Bring a release from Kafka into a folder, for `evaluate`, `compare`, `report` and `fit --from`.

    Nothing is written before the release is verified.
    """
    if number is not None and candidate:
        raise click.UsageError("--number and --candidate each name a release: give one of them")
    wanted = number if number is not None else CANDIDATE if candidate else CHAMPION
    found, manifest = fetch_folder(folder, connect(kafka), wanted, topic=topic)
    click.echo(f"release {found} written to {folder}: {size(manifest)}")
