"""`nextclick-trainer watch`: the experiment of a candidate on live clicks, decided."""

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
@option("--group", help="Consumer group whose workers count. [default: all]")
@option("--once", is_flag=True, help="Look once, decide if there is reason to, and end.")
@shorthand("--alpha", key="watch.alpha", metavar="SHARE", help="Significance level of the test.")
@shorthand("--min-clicks", key="watch.min_clicks", metavar="N", help="Judged clicks that each needs.")
@options.metrics_port
@kafka_option
@releases_topic_option
@config_options
def watch(group: str | None, *, once: bool) -> None:
    """Promote the candidate when it is better live than the champion, drop it when it is worse.

    The test of the live hit rates stays valid however often it is looked at. Goes on with the next candidate
    until stopped; with --once it ends with exit code 0 whether or not there was anything to decide.
    """
    chosen = options.settings()
    prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]  # the library forgot it
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
    with ending_on_request(), serving(metrics.registry, chosen.metrics.host, chosen.metrics.port):
        watching.once() if once else watching.follow(rules.every)


def _say(line: str) -> None:
    click.echo(f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ} {line}")
