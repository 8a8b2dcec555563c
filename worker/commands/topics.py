"""`topics`: creates what a worker needs."""

from __future__ import annotations

from contextlib import closing

import click

from worker import commandline
from worker.commandline import Command, config_options, json_option, option
from worker.commands import connect, fact, to_json
from worker.config import Settings
from worker.topics import needs
from worker.wiring import topics_needed


@click.command(cls=Command)
@config_options
@option("--partitions", default=4, help="Partitions of the clicks topic, if it is created.")
@option("--replication", default=-1, help="Replication factor of new topics. [default: the broker's]")
@json_option
def topics(partitions: int, replication: int, as_json: bool) -> None:
    """Create the topics that are missing, with the settings they need."""
    settings = commandline.settings(Settings)
    with closing(connect(settings).admin()) as admin:
        wanted = topics_needed(settings)
        created = needs.create(admin, wanted, partitions=partitions, replication=replication)
    if as_json:
        click.echo(to_json({"topics": [fact(finding) for finding in created]}))
        return
    for finding in created:
        click.echo(finding.what)
