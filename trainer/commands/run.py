"""`nextclick-trainer run`: continuous training."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

import click
import prometheus_client

from trainer.clicks.archive import ClickArchive
from trainer.commands import options
from trainer.commands.ending import ending_on_request
from trainer.commands.kafka import connect, decoder
from trainer.config import FitSettings, TrainerSettings
from trainer.console import Lines
from trainer.continuous.click_source import ClickSource
from trainer.continuous.leader import Leader
from trainer.continuous.metrics import TrainingMetrics
from trainer.continuous.plan import EXIT_CODES
from trainer.continuous.runner import ContinuousTraining
from trainer.continuous.strategies import Online, Refit
from trainer.continuous.subprocess_runner import InSubprocess
from trainer.prometheus import serving
from worker.clock import Clock
from worker.commandline import (
    Command,
    clicks_topic_option,
    config_options,
    json_option,
    kafka_option,
    option,
    releases_topic_option,
    shorthand,
    show,
)
from worker.errors import SettingError
from worker.settings.fields import duration_text
from worker.settings.loading import given

_PATIENCE: Final = 3
"""Number of session timeouts that a single run waits to become the leader."""


@click.command(cls=Command, resume="run the same command again to continue with the next run")
@option("--once", is_flag=True, help="Make one retraining run, then exit.")
@shorthand(
    "--every", key="run.every", metavar="DURATION", help="Interval between retraining runs, such as 1h."
)
@shorthand(
    "--policy", key="run.policy", metavar="champion|candidate", help="Pointer that is set to a new release."
)
@options.archive
@options.columns
@options.metrics_port
@kafka_option
@clicks_topic_option
@releases_topic_option
@config_options
@json_option
@click.pass_context
def run(context: click.Context, /, *, once: bool, as_json: bool) -> None:
    """Collect clicks, train, compare with the champion, and publish, at regular intervals.

    If several trainers run, Kafka elects a leader; the others are on standby. Exit code with --once: 0 a
    release was published, 1 nothing to do, 3 the gate refused the release, 2 error.
    """
    if as_json and not once:
        raise click.UsageError("--json needs a run that ends with a result; add --once")
    chosen = options.settings()
    settings, plan = _usable(chosen), chosen.run
    connection, topics, clock = connect(chosen), chosen.topics, Clock()
    leader = Leader(
        connection,
        releases=topics.releases,
        session_timeout_ms=round(plan.session_timeout * 1000),
        clock=clock,
    )
    progress = Lines(_say)
    prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]  # not annotated
    refit = Refit(plan, settings, progress, asked=given(chosen))
    online = plan.strategy == "online"
    strategy = Online(plan, settings, progress) if online else InSubprocess(refit)
    metrics, served = TrainingMetrics(lambda: leader.leads, clock), chosen.metrics
    source = ClickSource(
        connection=connection,
        topic=topics.clicks,
        decoder=decoder(chosen),
        archive=ClickArchive(chosen.archive.folder),
        keep_days=_kept_days(chosen),
    )
    training = ContinuousTraining(
        source,
        topics.releases,
        plan,
        settings,
        strategy=strategy,
        leader=leader,
        metrics=metrics,
        progress=progress,
        clock=clock,
    )
    with ending_on_request(), serving(metrics, served.host, served.port), leader.membership():
        if not once:
            training.run_forever()
        outcome = training.run_once(_PATIENCE * plan.session_timeout)
        if as_json:
            show({"outcome": outcome.value, "release": training.published}, as_json=True)
        context.exit(EXIT_CODES[outcome])


def _usable(chosen: TrainerSettings) -> FitSettings:
    """Return the training settings without the cache, as every run has new clicks. Raises SettingError."""
    if chosen.features.any and not chosen.features.file:
        raise SettingError("[features]: a click archive has no feature columns; set features.file")
    if chosen.run.strategy == "online" and "training.epochs" in given(chosen):
        raise SettingError(
            "training.epochs has no effect with run.strategy online, where run.warm_epochs sets the epochs "
            "per run; leave training.epochs out, or use another strategy"
        )
    return chosen.fitting.replaced(cache=None)


def _kept_days(chosen: TrainerSettings) -> float | None:
    keep, window = chosen.archive.keep, chosen.run.window
    if keep is not None and keep < window:
        raise SettingError(
            f"archive.keep ({duration_text(keep)}) is less than run.window ({duration_text(window)}); "
            "raise archive.keep: a run trains on the whole window"
        )
    return None if keep is None else keep / 86_400


def _say(line: str) -> None:
    click.echo(f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ} {line}", err=True)
