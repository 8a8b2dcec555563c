"""`topics`: creates what a worker needs."""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path

import click

from worker import config
from worker.commands import config_option, connect
from worker.topics import needs
from worker.wiring import topics_needed


@click.command()
@config_option
@click.option(
    "--partitions", default=4, show_default=True, help="Partitions of the clicks topic where it is new."
)
@click.option("--replication", default=-1, help="Replication factor of new topics (default: the broker's).")
def topics(path: Path | None, partitions: int, replication: int) -> None:
    """Create the topics that are missing, with the settings they need."""
    settings = config.load(path, os.environ)
    with closing(connect(settings).admin()) as admin:
        wanted = topics_needed(settings)
        for finding in needs.create(admin, wanted, partitions=partitions, replication=replication):
            click.echo(finding.what)
