"""`nextclick-trainer fetch`: download a published release to a folder."""

from __future__ import annotations

from pathlib import Path

import click

from trainer.commands import options
from trainer.commands.kafka import connect
from trainer.commands.measures import facts, size
from trainer.release.folder import fetch_folder
from worker.commandline import (
    OUTPUT,
    Command,
    config_options,
    json_option,
    kafka_option,
    option,
    releases_topic_option,
    show,
)
from worker.topics.releases import CANDIDATE, CHAMPION


@click.command(cls=Command)
@option(
    "-o",
    "--output",
    "folder",
    required=True,
    type=options.FOLDER,
    group=OUTPUT,
    help="Folder for the release; a release that is already there is replaced.",
)
@option("--number", type=click.IntRange(min=1), help="Number of the release. [default: the champion]")
@option("--candidate", is_flag=True, help="Fetch the candidate instead of the champion.")
@kafka_option
@releases_topic_option
@config_options
@json_option
def fetch(folder: Path, *, number: int | None, candidate: bool, as_json: bool) -> None:
    """Download a release from Kafka to a folder, for `evaluate`, `compare`, `report` and `fit --from`.

    The default is the release that @champion points to. The release is verified before anything is written.
    """
    if number is not None and candidate:
        raise click.UsageError("--number and --candidate each name a release; give only one of them")
    chosen = options.settings()
    wanted = number if number is not None else CANDIDATE if candidate else CHAMPION
    found, manifest = fetch_folder(folder, connect(chosen), wanted, topic=chosen.topics.releases)
    line = f"release {found} written to {folder}: {size(manifest)}"
    show({"release": found, **facts(folder, manifest)}, line, as_json=as_json)
