"""`nextclick-trainer run`: continuous training."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import click
import prometheus_client

from trainer.clicks.archive import ClickArchive
from trainer.clicks.topic import fields_of
from trainer.commands import options
from trainer.commands.ending import ending_on_request
from trainer.commands.kafka import connect
from trainer.config import FitSettings
from trainer.console import Lines
from trainer.continuous import gate
from trainer.continuous.click_source import ClickSource
from trainer.continuous.leader import Leader
from trainer.continuous.metrics import TrainingMetrics
from trainer.continuous.plan import EXIT_CODES, POLICIES, Plan
from trainer.continuous.runner import ContinuousTraining
from trainer.continuous.strategies import Online, Refit
from trainer.continuous.subprocess_runner import InSubprocess
from trainer.prometheus import serving
from worker.clock import Clock
from worker.core.event import Decoder
from worker.core.release import CANDIDATE_SHARE
from worker.errors import SettingError
from worker.topics.releases import KEPT

_PLAN: Final = Plan()

_PATIENCE: Final = 3
"""Session timeouts that a single run waits to learn whether another trainer leads."""

_ONLINE: Final = {"page", "page_half_life_hours"}
"""Options without effect unless training is online."""

_positive: Final = click.FloatRange(min=0, min_open=True)

_retraining = options.all_of(
    click.option(
        "--every",
        "every_seconds",
        default="1h",
        type=options.Duration(),
        help="Interval between retraining runs.",
    ),
    click.option(
        "--window-days",
        default=_PLAN.window_days,
        type=_positive,
        help="Age of the oldest clicks to learn from.",
    ),
    click.option(
        "--held-out",
        "held_out_seconds",
        type=options.Duration(),
        help="Length of the hold-out: the newest clicks, on which the gate compares. [default: as --every]",
    ),
    click.option("--warm/--no-warm", default=True, help="Begin with the champion's weights."),
    click.option(
        "--warm-epochs",
        default=_PLAN.warm_epochs,
        type=click.IntRange(min=1),
        help="Epochs of a training that begins with them, instead of --epochs.",
    ),
    click.option(
        "--by", type=click.Choice(gate.METRICS), default=_PLAN.by, help="Metric that the gate compares by."
    ),
    click.option(
        "--policy",
        type=click.Choice(POLICIES),
        default=_PLAN.policy,
        help="Pointer of a new release; the first release is always champion.",
    ),
    click.option(
        "--share",
        type=click.FloatRange(0, 1, min_open=True),
        help=f"Share of the users that a candidate serves. [default: {CANDIDATE_SHARE}]",
    ),
    click.option("--replace-candidate", is_flag=True, help="Replace a candidate before its experiment ends."),
    click.option(
        "--keep",
        default=KEPT,
        type=click.IntRange(min=1),
        help="Number of latest releases to keep in the topic.",
    ),
)


@click.command()
@options.kafka
@click.option("--topic", default="clicks", help="The topic of clicks.")
@click.option("--releases", default="nextclick.releases", help="The topic of releases.")
@click.option(
    "--log", "folder", default="clicks", type=click.Path(path_type=Path), help="Folder of the log of clicks."
)
@click.option(
    "--keep-days", type=_positive, help="Delete older files of the log. [default: nothing is deleted]"
)
@click.option("--once", is_flag=True, help="Make one retraining run and end.")
@_retraining
@click.option(
    "--streaming",
    is_flag=True,
    help="Train online: keep one training that learns the new clicks; needs --schedule constant.",
)
@click.option(
    "--page",
    default=_PLAN.page,
    type=click.IntRange(min=2),
    help="Active items of online training: the most clicked at present.",
)
@click.option(
    "--page-half-life-hours",
    default=_PLAN.page_half_life_hours,
    type=_positive,
    help="Half-life of the clicks that decide which items are active.",
)
@click.option(
    "--session-timeout",
    "session_seconds",
    default="30s",
    type=options.Duration(),
    help="Silence after which another trainer takes over.",
)
@click.option("--metrics-port", type=click.IntRange(0, 65_535), help="Answer /metrics there.")
@click.option("--metrics-host", default="127.0.0.1", help="And at this address.")
@options.columns
@options.settings_file
@options.lists
@options.preparing
@options.training
@click.pass_context
def run(
    context: click.Context,
    /,
    kafka: str,
    topic: str,
    releases: str,
    folder: Path,
    *,
    keep_days: float | None,
    once: bool,
    streaming: bool,
    session_seconds: float,
    metrics_port: int | None,
    metrics_host: str,
    share: float | None,
    **chosen: Any,
) -> None:
    """Collect, train, compare with the champion and publish, again and again.

    Several may run: Kafka chooses one, the others stand by. With --once the exit code is 0 for a published
    release, 1 where there was nothing to do, 3 where the gate refused it, 2 for an error.
    """
    asked = options.asked() & chosen.keys()
    plan = _planned(chosen, asked, streaming=streaming, share=share)
    decoder = Decoder(fields_of(options.columns_of(chosen)))
    settings = _usable(options.settings_of(chosen))
    connection = connect(kafka)
    clock = Clock()
    leader = Leader(
        connection, releases=releases, session_timeout_ms=round(session_seconds * 1000), clock=clock
    )
    progress = Lines(_say)
    prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]  # the library forgot it
    refit = Refit(plan, settings, progress, asked=asked)
    strategy = Online(plan, settings, progress) if streaming else InSubprocess(refit)
    metrics = TrainingMetrics(lambda: leader.leads, clock)
    source = ClickSource(
        connection=connection,
        topic=topic,
        decoder=decoder,
        archive=ClickArchive(folder),
        keep_days=_kept(keep_days, plan),
    )
    training = ContinuousTraining(
        source,
        releases,
        plan,
        settings,
        strategy=strategy,
        leader=leader,
        metrics=metrics,
        progress=progress,
        clock=clock,
    )
    with ending_on_request(), serving(metrics.registry, metrics_host, metrics_port), leader.membership():
        if not once:
            training.run_forever()
        context.exit(EXIT_CODES[training.run_once(_PATIENCE * session_seconds)])


def _planned(
    chosen: dict[str, Any], asked: AbstractSet[str], *, streaming: bool, share: float | None
) -> Plan:
    """Take the plan out of what was chosen. Raises SettingError, and UsageError where options contradict."""
    names = {field.name for field in fields(Plan)} & chosen.keys()
    plan = Plan(**{name: chosen.pop(name) for name in names}, share=share or CANDIDATE_SHARE)
    if streaming and (idle := sorted(asked & {"epochs", "warm"})):
        raise click.UsageError(
            f"{', '.join(idle)}: online training goes on, and --warm-epochs says how often it sees "
            "the clicks of a run. Leave it out, or --streaming"
        )
    if not streaming and (idle := sorted(asked & _ONLINE)):
        raise click.UsageError(f"{', '.join(idle)}: for online training. Add --streaming")
    if share is not None and plan.policy != "candidate":
        raise click.UsageError("--share is for a candidate. Add --policy candidate")
    return plan


def _usable(settings: FitSettings) -> FitSettings:
    if settings.cache:
        raise SettingError("cache: every run has other clicks, nothing prepared is used twice: leave it out")
    if (settings.categorical or settings.numeric) and not settings.item_features:
        raise SettingError("categorical, numeric: a log of clicks has no such columns: name item_features")
    return settings


def _kept(days: float | None, plan: Plan) -> float | None:
    if days is not None and days < plan.window_days:
        raise SettingError(
            f"keep_days ({days:g}) is less than window_days ({plan.window_days:g}): keep what is learned from"
        )
    return days


def _say(line: str) -> None:
    click.echo(f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ} {line}", err=True)
