"""The command line `nextclick-worker`, and the only place where the worker is wired together."""

from __future__ import annotations

import os
import sys
import time
from contextlib import ExitStack, closing
from pathlib import Path

import click
import prometheus_client
import structlog
from threadpoolctl import threadpool_limits

from worker import config
from worker.commands import config_option
from worker.commands.forget import forget
from worker.commands.look import state, user
from worker.commands.reset import reset
from worker.config import Settings
from worker.core.event import Decoder
from worker.core.quality import Quality
from worker.core.recommender import Recommender
from worker.core.release import Release
from worker.core.states import States
from worker.errors import NextclickError, NotAllowed
from worker.http.questions import Questions
from worker.http.readiness import Readiness
from worker.http.server import serving
from worker.live_quality import Reporting
from worker.loop import Clock, Loop
from worker.metrics import Metrics
from worker.partitions.flushing import Saving
from worker.partitions.follower import StateFollower
from worker.process import logging
from worker.process.memory import collect_seldom
from worker.process.stop import Stop
from worker.process.watchdog import watching
from worker.releases.adoption import Adoption
from worker.releases.follower import ReleaseFollower
from worker.topics import needs as topic_needs
from worker.topics.dead_letters import DeadLetterWriter
from worker.topics.needs import Finding, Need
from worker.topics.quality import QualityWriter
from worker.topics.recommendations import RecommendationWriter
from worker.topics.releases import ReleaseReader
from worker.topics.states import StateWriter


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
    stop, metrics, clock = Stop(), Metrics(), Clock(wall=time.time, steady=time.monotonic)
    readiness, questions = Readiness(metrics.ready, clock.steady), Questions()
    collect_seldom()
    with ExitStack() as life:
        life.enter_context(stop.installed())
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
        _wired(
            settings, metrics=metrics, readiness=readiness, questions=questions, stop=stop, clock=clock
        ).run()


def _wired(
    settings: Settings,
    *,
    metrics: Metrics,
    readiness: Readiness,
    questions: Questions,
    stop: Stop,
    clock: Clock,
) -> Loop:
    connection, topics = settings.kafka.connection(), settings.topics
    transactions = connection.transactions(
        settings.transactional_id, timeout_ms=settings.kafka.transaction_timeout_ms
    )
    recommend, user_ttl_ms = settings.recommend, round(settings.state.user_ttl_seconds * 1000)
    follower = StateFollower(connection, topic=topics.state, clicks=topics.clicks, group=settings.group)
    # How large hidden states are, the first release will say.
    states = States(state_size=0)
    quality = Quality(states, top=recommend.top, exclude_recent=recommend.exclude_recent)

    def new_recommender(release: Release) -> Recommender:
        return Recommender(
            release,
            states,
            publish=recommend.publish,
            publish_max_age_ms=round(recommend.publish_max_age_seconds * 1000),
            user_ttl_ms=user_ttl_ms,
            exclude_recent=recommend.exclude_recent,
            top=recommend.top,
            quality=quality,
        )

    return Loop(
        connection=connection,
        topics_needed=_needs(settings),
        refresh=Adoption(
            ReleaseFollower(ReleaseReader(connection, topic=topics.releases)),
            states,
            new_recommender,
            metrics=metrics,
            readiness=readiness,
            steady=clock.steady,
        ),
        clicks=connection.member(
            topic=topics.clicks,
            group=settings.group,
            client_id=settings.transactional_id,
            session_timeout_ms=settings.kafka.session_timeout_ms,
            heartbeat_interval_ms=settings.kafka.heartbeat_interval_ms,
            fetch_max_wait_ms=settings.kafka.fetch_max_wait_ms,
            static_member=settings.worker_id if settings.static_membership else None,
        ),
        decoder=Decoder(settings.click.fields(), max_bytes=settings.click.max_bytes),
        transactions=transactions,
        recommendations=RecommendationWriter(
            transactions, topic=topics.recommendations, clicks_topic=topics.clicks, format=recommend.format
        ),
        dead_letters=DeadLetterWriter(transactions, topic=topics.dead_letters),
        follower=follower,
        states=states,
        saving=Saving(
            states,
            StateWriter(transactions, topic=topics.state),
            follower,
            flush_interval_seconds=settings.state.flush_interval_seconds,
            user_ttl_ms=user_ttl_ms,
            max_users=settings.state.max_users,
            metrics=metrics,
            steady=clock.steady,
            wall_ms=clock.now_ms,
        ),
        reporting=Reporting(
            quality,
            QualityWriter(
                transactions, topic=topics.quality, group=settings.group, worker_id=settings.worker_id
            ),
            metrics=metrics,
            steady=clock.steady,
            now_ms=clock.now_ms,
        ),
        commit_interval_seconds=settings.commit_interval_seconds,
        metrics=metrics,
        readiness=readiness,
        questions=questions,
        stop=stop,
        clock=clock,
    )


def _needs(settings: Settings) -> list[Need]:
    topics = settings.topics
    return topic_needs.needs(
        clicks=topics.clicks,
        recommendations=topics.recommendations,
        dead_letters=topics.dead_letters,
        releases=topics.releases,
        state=topics.state,
        quality=topics.quality,
    )


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
        wanted = _needs(settings)
        for finding in topic_needs.create(admin, wanted, partitions=partitions, replication=replication):
            click.echo(finding.what)


@cli.command()
@config_option
def check(path: Path | None) -> None:
    """Say what would keep the worker from running, and how to mend it; exit code 1 if anything would."""
    settings = config.load(path, os.environ)
    connection, needs = settings.kafka.connection(), _needs(settings)
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
