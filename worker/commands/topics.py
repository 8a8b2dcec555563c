"""`topics`: creates what a worker needs."""

from __future__ import annotations

import time
from contextlib import closing

import click

from worker import commandline
from worker.commandline import Command, config_options, json_option, option
from worker.commands import connect, fact, to_json
from worker.config import Settings
from worker.errors import NextclickError, TopicError
from worker.schemas.output import framed_lists
from worker.topics import needs
from worker.topics.needs import Finding
from worker.wiring import topics_needed


@click.command(cls=Command)
@config_options
@option("--create-clicks", is_flag=True, help="Create the clicks topic, too, which others write.")
@option("--partitions", default=4, help="Partitions of the clicks topic where it is new.")
@option("--replication", default=-1, help="Replication factor of new topics. [default: the broker's]")
@json_option
def topics(*, create_clicks: bool, partitions: int, replication: int, as_json: bool) -> None:
    """Create the topics that are missing, with the settings they need, and register the schema of the lists.

    The clicks topic is the input: it is not created unless --create-clicks asks for it.
    """
    settings = commandline.settings(Settings)
    with closing(connect(settings).admin()) as admin:
        wanted, clicks = topics_needed(settings), settings.topics.clicks
        if not create_clicks and not admin.describe([clicks])[clicks].partitions:
            raise TopicError(
                f"topic {clicks} does not exist, or is hidden from us; it is the input, which others write. "
                "Nothing was created. Correct topics.clicks, or create it with --create-clicks",
                topic=clicks,
            )
        created = needs.create(admin, wanted, partitions=partitions, replication=replication)
        missing = needs.usable(admin, wanted, time.sleep)
    if lists := framed_lists(
        settings.registry.connection(),
        topic=settings.topics.recommendations,
        format=settings.recommend.format,
    ):
        created.append(Finding(f"schema of {lists.subject} is registered, id {lists.register()}"))
    if as_json:
        click.echo(to_json({"topics": [fact(finding) for finding in created]}))
    for finding in () if as_json else created:
        click.echo(finding.what)
    if missing:
        seconds = needs.TRIES * needs.TRY_SECONDS
        raise NextclickError(
            f"{missing}, {seconds:g} s after this command asked for it: are all brokers up? "
            "A worker that starts now may have to wait; give the command again to look again"
        )
