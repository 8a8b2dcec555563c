"""The command line `nextclick-worker`: `run`, `topics`, `check`; the others are in `worker.commands`."""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack, closing
from pathlib import Path

import click
import prometheus_client
import structlog
from threadpoolctl import threadpool_limits

from worker import config
from worker.clock import Clock
from worker.commands import config_option
from worker.commands.forget import forget
from worker.commands.look import state, user
from worker.commands.reset import reset
from worker.errors import NextclickError, NotAllowed
from worker.http.questions import Questions
from worker.http.readiness import Readiness
from worker.http.server import serving
from worker.metrics import Metrics
from worker.process import logging
from worker.process.memory import collect_seldom
from worker.process.stop import Stop
from worker.process.watchdog import watching
from worker.topics import needs as topic_needs
from worker.topics.needs import Finding
from worker.wiring import Process, topics_needed, wired


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="nextclick")
def cli() -> None:
    """Live next-item recommendations from a Kafka topic of clicks."""


@cli.command()
@config_option
def run(path: Path | None) -> None:
    """Serve: read clicks, publish recommendations, until SIGTERM."""
    settings = config.load(path, os.environ)
    logging.configure(settings.log.format, settings.log.level)
    prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]  # the library forgot it
    metrics, clock = Metrics(), Clock()
    readiness, questions = Readiness(metrics.ready, clock.steady), Questions()
    process = Process(metrics, readiness, questions, Stop(), clock)
    collect_seldom()
    with ExitStack() as life:
        life.enter_context(process.stop.installed())
        life.enter_context(watching(readiness))
        # Batches are small, and the other cores belong to other workers.
        life.enter_context(threadpool_limits(1, user_api="blas"))
        port = life.enter_context(
            serving(
                settings.http.host,
                settings.http.port,
                registry=metrics.registry,
                readiness=readiness,
                questions=questions,
            )
        )
        structlog.get_logger("worker").info(
            "started", group=settings.group, worker_id=settings.worker_id, http=f"{settings.http.host}:{port}"
        )
        wired(settings, settings.kafka.connection(), process).loop.run()


@cli.command()
@config_option
@click.option(
    "--partitions", default=4, show_default=True, help="Partitions of the clicks topic where it is new."
)
@click.option("--replication", default=-1, help="Replication factor of new topics (default: the broker's).")
def topics(path: Path | None, partitions: int, replication: int) -> None:
    """Create the topics that are missing, with the settings they need."""
    settings = config.load(path, os.environ)
    with closing(settings.kafka.connection().admin()) as admin:
        wanted = topics_needed(settings)
        for finding in topic_needs.create(admin, wanted, partitions=partitions, replication=replication):
            click.echo(finding.what)


@cli.command()
@config_option
def check(path: Path | None) -> None:
    """Say what would keep the worker from running, and how to mend it; exit code 1 if anything would."""
    settings = config.load(path, os.environ)
    connection, needs = settings.kafka.connection(), topics_needed(settings)
    findings = [Finding(f"settings: group {settings.group}, worker_id {settings.worker_id}")]
    with closing(connection.admin()) as admin:
        findings.append(Finding(f"brokers: {connection.bootstrap_servers} answers"))
        try:
            findings += topic_needs.check(admin, needs, group=settings.group)
        except NotAllowed as error:
            findings.append(Finding(str(error), "Grant what is missing; the ACLs are below"))
    findings.append(
        topic_needs.check_transactions(
            connection,
            transactional_id=settings.transactional_id,
            timeout_ms=settings.kafka.transaction_timeout_ms,
        )
    )
    for finding in findings:
        click.echo(_line(finding))
    click.echo("ACLs that the worker needs (kafka-acls --add --allow-principal User:...):")
    for acl in topic_needs.acls(needs, group=settings.group):
        click.echo(f"      {acl}")
    sys.exit(any(finding.remedy for finding in findings))


for command in (user, state, forget, reset):
    cli.add_command(command)


def _line(finding: Finding) -> str:
    return f"FAIL  {finding.what}. {finding.remedy}" if finding.remedy else f"ok    {finding.what}"


def main() -> None:
    """Run the command line; an error of ours ends it with its text and exit code 2."""
    try:
        cli(standalone_mode=True)
    except NextclickError as error:
        click.echo(f"nextclick-worker: {error}", err=True)
        sys.exit(2)


if __name__ == "__main__":
    main()
