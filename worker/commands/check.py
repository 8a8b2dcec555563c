"""`check`: what would keep a worker from running."""

from __future__ import annotations

import os
import sys
from contextlib import closing
from pathlib import Path

import click

from worker import config
from worker.commands import config_option, connect
from worker.errors import NotAllowed
from worker.topics import needs
from worker.topics.needs import Finding
from worker.wiring import topics_needed


@click.command()
@config_option
def check(path: Path | None) -> None:
    """Say what would keep the worker from running, and how to mend it; exit code 1 if anything would."""
    settings = config.load(path, os.environ)
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
    for finding in findings:
        click.echo(_line(finding))
    click.echo("ACLs that the worker needs (kafka-acls --add --allow-principal User:...):")
    for acl in needs.acls(wanted, group=settings.group):
        click.echo(f"      {acl}")
    sys.exit(any(finding.remedy for finding in findings))


def _line(finding: Finding) -> str:
    return f"FAIL  {finding.what}. {finding.remedy}" if finding.remedy else f"ok    {finding.what}"
