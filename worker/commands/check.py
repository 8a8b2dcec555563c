"""`check`: report problems that would keep a worker from running or from decoding clicks."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing

import click

from worker import commandline
from worker.commandline import Command, config_options, json_option
from worker.commands import champion, connect, fact, to_json
from worker.config import Settings
from worker.errors import NextclickError, NotAllowed
from worker.kafka.interface import Admin, Connection
from worker.schemas.output import framed_lists
from worker.topics import needs, sample
from worker.topics.needs import Finding
from worker.wiring import topics_needed


@click.command(cls=Command)
@config_options
@json_option
def check(as_json: bool) -> None:
    """Report problems that would keep the worker from running, with remedies. Exit code 1 if any is found.

    Also decodes the last 100 records of the clicks topic, and compares their items with the champion's.
    """
    settings = commandline.settings(Settings)
    connection, wanted = connect(settings), topics_needed(settings)
    findings = [Finding(f"settings: group {settings.group}, worker_id {settings.worker_id}")]
    with closing(connection.admin()) as admin:
        findings.append(Finding(f"brokers: {connection.bootstrap_servers} answers"))
        # Each check runs even if an earlier check fails.
        findings += _tried(lambda: needs.check(admin, wanted, group=settings.group))
        findings += _tried(lambda: _transactions(settings, connection))
        findings += _tried(lambda: list(_schema_registry(settings)))
        findings += _tried(lambda: list(_clicks(settings, connection, admin)))
    acls = needs.acls(wanted, group=settings.group)
    if as_json:
        click.echo(to_json({"findings": [fact(finding) for finding in findings], "acls": acls}))
    else:
        for finding in findings:
            click.echo(_line(finding))
        click.echo("ACLs that the worker needs (kafka-acls --add --allow-principal User:...):")
        for acl in acls:
            click.echo(f"      {acl}")
        failed = sum(finding.failed for finding in findings)
        notes = sum(bool(finding.remedy) for finding in findings) - failed
        click.echo(f"{len(findings)} checks: {failed} failed, {notes} to look at")
    sys.exit(any(finding.failed for finding in findings))


def _tried(look: Callable[[], list[Finding]]) -> list[Finding]:
    try:
        return look()
    except NotAllowed as error:
        return [Finding(str(error), "Grant the missing ACLs, which are listed below")]
    except NextclickError as error:
        return [Finding(str(error), "This could not be checked; fix it and run the check again")]


def _transactions(settings: Settings, connection: Connection) -> list[Finding]:
    timeout_ms = settings.kafka.transaction_timeout_ms
    return [
        needs.check_transactions(
            connection, transactional_id=settings.transactional_id, timeout_ms=timeout_ms
        )
    ]


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
    topics = settings.topics
    described = admin.describe([topics.clicks, topics.releases])
    clicks = None
    if described[topics.clicks].partitions:
        parser = settings.registry.parser()
        clicks = sample.last(connection, topics.clicks, settings.click.decoder(parser))
        yield sample.decoding(clicks)
        for problem in parser.problems() if parser else ():
            yield Finding(problem, "Records with this schema become dead letters", fails=False)
        now_ms, max_age = round(time.time() * 1000), settings.recommend.publish_max_age
        if times := sample.times(clicks, now_ms):
            yield times
        if ages := sample.ages(clicks, now_ms, max_age_seconds=max_age):
            yield ages
    if described[topics.releases].partitions:
        yield from _tried(lambda: [_champion(settings, clicks)])


def _champion(settings: Settings, clicks: sample.Sample | None) -> Finding:
    release, problem = champion(settings)
    if release is None:
        return Finding(
            problem, "The worker waits until `nextclick-trainer publish` publishes one", fails=False
        )
    found = clicks and sample.known_items(clicks, release.number, release.catalogue)
    return found or Finding(f"@champion, release {release.number}: {release.manifest.items:,} items")


def _line(finding: Finding) -> str:
    label = "FAIL" if finding.failed else "note" if finding.remedy else "ok"
    return (
        f"{label:<4}  {finding.what}. {finding.remedy}" if finding.remedy else f"{label:<4}  {finding.what}"
    )
