"""`nextclick-trainer check`: report problems with Kafka that would stop the other commands."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from typing import Final

import click

from trainer.commands import options
from trainer.commands.kafka import connect
from trainer.config import TrainerSettings
from worker.commandline import (
    Command,
    all_of,
    clicks_topic_option,
    config_options,
    json_option,
    kafka_option,
    releases_topic_option,
    report,
)
from worker.core.release import numbers
from worker.kafka.interface import Admin, Connection
from worker.topics import checks, needs, rights, sample
from worker.topics.findings import Finding, amount, tried
from worker.topics.releases import CHAMPION, ReleaseReader, publisher, trainers

_TIMEOUT_MS: Final = 10_000

_where = all_of(options.columns, kafka_option, clicks_topic_option, releases_topic_option, config_options)


@click.command(cls=Command)
@_where
@json_option
def check(*, as_json: bool) -> None:
    """Report problems with Kafka that would stop the trainer, with remedies. Exit code 1 if any is found.

    Also decodes the last 100 records of the clicks topic, and prints the ACLs that the trainer needs.
    """
    chosen = options.settings()
    connection, topics = connect(chosen), chosen.topics
    wanted = needs.trainer_needs(clicks=topics.clicks, releases=topics.releases, quality=topics.quality)
    findings = []
    with closing(connection.admin()) as admin:
        findings.append(Finding(f"brokers: {connection.bootstrap_servers} answers"))
        # Each check runs even if an earlier check fails.
        findings += tried(checks.check, admin, wanted, group=trainers(topics.releases))
        publishing = publisher(topics.releases)
        findings += tried(checks.transactions, connection, publishing, timeout_ms=_TIMEOUT_MS)
        findings += tried(_contents, chosen, connection, admin)
    report(findings, [rights.trainer(wanted, releases_topic=topics.releases)], as_json=as_json)


def _contents(chosen: TrainerSettings, connection: Connection, admin: Admin) -> Iterator[Finding]:
    """Yield findings on the last clicks and on the releases, where the topics exist."""
    topics, now_ms = chosen.topics, round(time.time() * 1000)
    described = admin.describe([topics.clicks, topics.releases])
    if described[topics.clicks].partitions:
        parser = chosen.registry.parser()
        decoder = chosen.click.decoder(parser, where=chosen.events.clauses())
        yield from sample.checked(connection, topics.clicks, decoder, parser, now_ms=now_ms)[1]
    if described[topics.releases].partitions:
        yield from tried(_releases, connection, topics.releases)


def _releases(connection: Connection, topic: str) -> Iterator[Finding]:
    with ReleaseReader(connection, topic=topic).opened() as reader:
        reader.read(strict=True)
        champion = reader.readable_pointer(CHAMPION)
    held = amount(len(numbers(reader.held())), "release")
    yield Finding(
        f"topic {topic} has {held}; {CHAMPION} is release {champion.release}"
        if champion
        else f"topic {topic} has {held} and no {CHAMPION}; the first to be published becomes it"
    )
