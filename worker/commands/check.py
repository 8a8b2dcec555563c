"""`check`: report problems that would keep a worker from running or from decoding clicks."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing

import click

from worker import commandline
from worker.commandline import Command, config_options, json_option, report
from worker.commands import champion, connect, item_decoder
from worker.commands.rules import find
from worker.config import Settings
from worker.kafka.interface import Admin, Connection
from worker.schemas.output import framed_lists
from worker.topics import checks, item_sample, needs, rights, sample
from worker.topics.findings import Finding, amount, tried
from worker.topics.rights import Role
from worker.wiring import topics_needed


@click.command(cls=Command)
@config_options
@json_option
def check(as_json: bool) -> None:
    """Report problems that would keep the worker from running, with remedies. Exit code 1 if any is found.

    Also decodes the last 100 records of the clicks topic and of the items topic, compares their items with
    the champion's, and prints the ACLs that each role needs.
    """
    settings = commandline.settings(Settings)
    connection, wanted = connect(settings), topics_needed(settings)
    findings = [Finding(f"settings: group {settings.group}, worker_id {settings.worker_id}")]
    with closing(connection.admin()) as admin:
        findings.append(Finding(f"brokers: {connection.bootstrap_servers} answers"))
        # Each check runs even if an earlier check fails.
        findings += tried(checks.check, admin, wanted, group=settings.group)
        findings += tried(_transactions, settings, connection)
        findings += tried(_schema_registry, settings)
        findings += tried(_clicks, settings, connection, admin)
        findings += tried(_items, settings, connection, admin)
        findings += tried(_rules, settings, admin)
    report(findings, roles(settings), as_json=as_json)


def roles(settings: Settings) -> list[Role]:
    """Return the roles of a deployment with these settings: worker, trainer and admin."""
    topics, wanted = settings.topics, topics_needed(settings)
    of_trainer = needs.trainer_needs(clicks=topics.clicks, releases=topics.releases, quality=topics.quality)
    return [
        rights.worker(wanted, group=settings.group),
        rights.trainer(of_trainer, releases_topic=topics.releases),
        rights.admin(wanted),
    ]


def _transactions(settings: Settings, connection: Connection) -> Iterator[Finding]:
    timeout_ms = settings.kafka.transaction_timeout_ms
    return checks.transactions(connection, settings.transactional_id, timeout_ms=timeout_ms)


def _schema_registry(settings: Settings) -> Iterator[Finding]:
    """Yield findings on the schema registry and the schema of the lists."""
    registry = settings.registry.connection()
    if registry is None:
        return
    registry.answers()
    yield Finding(f"schema registry: {registry.url} answers")
    lists = framed_lists(registry, topic=settings.topics.recommendations, format=settings.recommend.format)
    if lists is None:
        return
    found = lists.find()
    if found is not None:
        yield Finding(f"schema of {lists.subject}: registered, id {found}")
    elif lists.compatible():
        yield Finding(f"schema of {lists.subject}: not registered", "Run `nextclick-worker topics`")
    else:
        yield Finding(
            f"schema of {lists.subject}: not compatible with the registered versions",
            "Set another topic in topics.recommendations, or delete the subject if it has no readers",
        )


def _clicks(settings: Settings, connection: Connection, admin: Admin) -> Iterator[Finding]:
    """Yield findings on the last clicks, and on how many of the clicked items the champion knows."""
    topics, now_ms = settings.topics, round(time.time() * 1000)
    described = admin.describe([topics.clicks, topics.releases])
    clicks = None
    if described[topics.clicks].partitions:
        parser = settings.registry.parser()
        decoder = settings.events.decoder(settings.click, parser)
        clicks, found = sample.checked(connection, topics.clicks, decoder, parser, now_ms=now_ms)
        yield from found
        max_age = settings.recommend.publish_max_age
        if clicks and (ages := sample.ages(clicks, now_ms, max_age_seconds=max_age)):
            yield ages
    if described[topics.releases].partitions:
        yield from tried(_champion, settings, clicks)


def _items(settings: Settings, connection: Connection, admin: Admin) -> Iterator[Finding]:
    """Yield findings on the last records of the items topic, if there is one."""
    topic = settings.topics.items
    if not topic or not admin.describe([topic])[topic].partitions:
        return
    sample = item_sample.last(connection, topic, item_decoder(settings))
    yield item_sample.decoding(sample)
    release, _ = champion(settings)
    if release and (found := item_sample.known_items(sample, release.number, release.catalogue)):
        yield found


def _rules(settings: Settings, admin: Admin) -> Iterator[Finding]:
    """Yield a finding on the rules, if there is a topic of them."""
    topic = settings.topics.rules
    if not topic or not admin.describe([topic])[topic].partitions:
        return
    found = find(settings)
    text = f"topic {topic}: {amount(len(found.rules), 'rule')}"
    if not found.refused:
        yield Finding(text)
        return
    record, bad = found.refused[0]
    yield Finding(
        f"{text}, {amount(len(found.refused), 'record')} refused; the first one, at partition "
        f"{record.partition}, offset {record.offset}: {bad.why or bad.reason}",
        "Send a good record with the same key; `nextclick-worker rules` shows them all",
        fails=False,
    )


def _champion(settings: Settings, clicks: sample.Sample | None) -> Iterator[Finding]:
    release, problem = champion(settings)
    if release is None:
        yield Finding(
            problem, "The worker waits until `nextclick-trainer publish` publishes one", fails=False
        )
        return
    found = clicks and sample.known_items(clicks, release.number, release.catalogue)
    yield found or Finding(f"@champion, release {release.number}: {release.manifest.items:,} items")
