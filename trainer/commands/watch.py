"""`nextclick-trainer watch`: decide the A/B test of a candidate on live clicks."""

from __future__ import annotations

from datetime import UTC, datetime

import click
import prometheus_client

from trainer.commands import options
from trainer.commands.ending import ending_on_request
from trainer.commands.kafka import connect
from trainer.experiment.metrics import ExperimentMetrics
from trainer.experiment.sequential import Rules
from trainer.experiment.watch import Scope, Watch
from trainer.prometheus import serving
from worker.clock import Clock
from worker.commandline import (
    Command,
    config_options,
    kafka_option,
    option,
    releases_topic_option,
    shorthand,
)


@click.command(cls=Command)
@option("--group", help="Consumer group whose workers' reports are used. [default: all groups]")
@option(
    "--once",
    is_flag=True,
    help="Make one analysis, then exit; promote or drop the candidate if the result is significant.",
)
@shorthand("--alpha", key="watch.alpha", metavar="SHARE", help="Significance level of the test.")
@shorthand(
    "--min-clicks",
    key="watch.min_clicks",
    metavar="N",
    help="Minimum number of clicks on which the candidate and the champion must each be measured before a "
    "decision.",
)
@options.metrics_port
@kafka_option
@releases_topic_option
@config_options
def watch(group: str | None, *, once: bool) -> None:
    """Promote the candidate if its live hit rate is better than the champion's; drop it if it is worse.

    The sequential test stays valid for any number of analyses. The command runs until stopped, and continues
    with the next candidate. With --once, it exits with code 0 after one analysis, with or without a decision.
    """
    chosen = options.settings()
    prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]  # not annotated
    clock, rules = Clock(), chosen.watch
    metrics = ExperimentMetrics(clock)
    watching = Watch(
        connect(chosen),
        Scope(chosen.topics.releases, chosen.topics.quality, group),
        Rules(alpha=rules.alpha, min_clicks=rules.min_clicks),
        give_up_hours=rules.give_up_after / 3_600,
        say=click.echo if once else _say,
        metrics=metrics,
        clock=clock,
    )
    with ending_on_request(), serving(metrics, chosen.metrics.host, chosen.metrics.port):
        watching.once() if once else watching.follow(rules.every)


def _say(line: str) -> None:
    click.echo(f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ} {line}")
