"""`topics`: create the topics that a worker needs."""

from __future__ import annotations

import time
from contextlib import closing

import click

from worker import commandline
from worker.commandline import Command, config_options, json_option, option
from worker.commands import connect, to_json
from worker.config import Settings
from worker.errors import NextclickError, TopicError
from worker.schemas.output import framed_lists
from worker.topics import checks, needs
from worker.topics.findings import Finding, tried
from worker.wiring import topics_needed


@click.command(cls=Command)
@config_options
@option("--create-clicks", is_flag=True, help="Create the clicks topic, too.")
@option("--partitions", default=4, help="Number of partitions of the clicks topic, if it is created.")
@option("--replication", default=-1, help="Replication factor of new topics. -1: the broker's default.")
@json_option
def topics(*, create_clicks: bool, partitions: int, replication: int, as_json: bool) -> None:
    """Create missing topics with the configuration they need, and register the schema of the lists.

    The clicks topic is the input, so it is created only with --create-clicks.
    """
    settings = commandline.settings(Settings)
    with closing(connect(settings).admin()) as admin:
        wanted, clicks = topics_needed(settings), settings.topics.clicks
        if not create_clicks and not admin.describe([clicks])[clicks].partitions:
            meant = needs.did_you_mean(admin, clicks)
            raise TopicError(
                f"the clicks topic {clicks} does not exist{meant}, or access to it is denied. Nothing was "
                "created; fix topics.clicks, or create the topic with --create-clicks",
                topic=clicks,
            )
        created = needs.create(admin, wanted, partitions=partitions, replication=replication)
        missing = needs.usable(admin, wanted, time.sleep)
        unsuitable = [one for one in tried(checks.settings, admin, wanted) if one.remedy]
    if lists := framed_lists(
        settings.registry.connection(),
        topic=settings.topics.recommendations,
        format=settings.recommend.format,
    ):
        created.append(Finding(f"schema of {lists.subject} is registered, id {lists.register()}"))
    if as_json:
        click.echo(to_json({"topics": [finding.document() for finding in [*created, *unsuitable]]}))
    else:
        for line in [*(one.what for one in created), *(f"{one.what}. {one.remedy}" for one in unsuitable)]:
            click.echo(line)
    if missing:
        seconds = needs.TRIES * needs.TRY_SECONDS
        raise NextclickError(
            f"{missing} {seconds:g} s after the request; check that all brokers are up. "
            "A worker that starts now may have to wait. Run the command again to check again"
        )
