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

_RULES = Rules()


@click.command()
@options.topic_of_releases
@click.option("--quality", default="nextclick.quality", help="The topic of live quality.")
@click.option("--group", help="Count the workers of this group alone.")
@click.option(
    "--alpha",
    default=_RULES.alpha,
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    help="Significance level: how often a candidate that is no different may be decided on.",
)
@click.option(
    "--min-clicks",
    default=_RULES.min_clicks,
    type=click.IntRange(min=1),
    help="Judged clicks that candidate and champion must have, each.",
)
@click.option(
    "--give-up-hours",
    default=24.0,
    type=click.FloatRange(min=0),
    help="Drop a candidate that is undecided for so long; 0: never.",
)
@click.option(
    "--every-seconds", default=10.0, type=click.FloatRange(min=0, min_open=True), help="How often to look."
)
@click.option("--once", is_flag=True, help="Look once, decide if there is reason to, and end.")
@click.option("--metrics-port", type=click.IntRange(0, 65_535), help="Answer /metrics there.")
@click.option("--metrics-host", default="127.0.0.1", help="And at this address.")
def watch(
    kafka: str,
    topic: str,
    quality: str,
    group: str | None,
    *,
    alpha: float,
    min_clicks: int,
    give_up_hours: float,
    every_seconds: float,
    once: bool,
    metrics_port: int | None,
    metrics_host: str,
) -> None:
    """Promote the candidate when it is better live than the champion, drop it when it is worse.

    The test of the live hit rates stays valid however often it is looked at. Goes on with the next candidate
    until stopped; with --once it ends with exit code 0 whether or not there was anything to decide.
    """
    prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]  # the library forgot it
    clock = Clock()
    metrics = ExperimentMetrics(clock)
    watching = Watch(
        connect(kafka),
        Scope(topic, quality, group),
        Rules(alpha=alpha, min_clicks=min_clicks),
        give_up_hours=give_up_hours,
        say=click.echo if once else _say,
        metrics=metrics,
        clock=clock,
    )
    with ending_on_request(), serving(metrics.registry, metrics_host, metrics_port):
        watching.once() if once else watching.follow(every_seconds)


def _say(line: str) -> None:
    click.echo(f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ} {line}")
