"""`check`: what would keep a worker from running."""

from __future__ import annotations

import sys
from contextlib import closing

import click

from worker import commandline
from worker.commandline import Command, config_options, json_option
from worker.commands import connect, fact, to_json
from worker.config import Settings
from worker.errors import NotAllowed
from worker.topics import needs
from worker.topics.needs import Finding
from worker.wiring import topics_needed


@click.command(cls=Command)
@config_options
@json_option
def check(as_json: bool) -> None:
    """Report problems that would keep the worker from running, and their remedies; exit code 1 if any."""
    settings = commandline.settings(Settings)
    connection, wanted = connect(settings), topics_needed(settings)
    findings = [Finding(f"settings: group {settings.group}, worker_id {settings.worker_id}")]
    with closing(connection.admin()) as admin:
        findings.append(Finding(f"brokers: {connection.bootstrap_servers} answers"))
        try:
            findings += needs.check(admin, wanted, group=settings.group)
        except NotAllowed as error:
            findings.append(Finding(str(error), "Grant what is missing; the ACLs are below"))
    findings.append(
        needs.check_transactions(
            connection,
            transactional_id=settings.transactional_id,
            timeout_ms=settings.kafka.transaction_timeout_ms,
        )
    )
    acls = needs.acls(wanted, group=settings.group)
    if as_json:
        click.echo(to_json({"findings": [fact(finding) for finding in findings], "acls": acls}))
    else:
        for finding in findings:
            click.echo(_line(finding))
        click.echo("ACLs that the worker needs (kafka-acls --add --allow-principal User:...):")
        for acl in acls:
            click.echo(f"      {acl}")
    sys.exit(any(finding.remedy for finding in findings))


def _line(finding: Finding) -> str:
    return f"FAIL  {finding.what}. {finding.remedy}" if finding.remedy else f"ok    {finding.what}"
