"""`nextclick-trainer run`: fresh releases, round after round."""

from __future__ import annotations

import os
import time
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import click
import prometheus_client

from trainer import config
from trainer.clicks.archive import ClickArchive
from trainer.clicks.topic import fields_of
from trainer.commands import options
from trainer.commands.ending import ending_on_request
from trainer.config import FitSettings
from trainer.console import Lines
from trainer.continuous import gate
from trainer.continuous.leader import Leader
from trainer.continuous.metrics import Gauges, serving
from trainer.continuous.plan import EXIT_CODES, POLICIES, Plan
from worker.core.event import Decoder
from worker.core.release import CANDIDATE_SHARE
from worker.errors import SettingError
from worker.topics.releases import KEPT

_PLAN: Final = Plan()

_PATIENCE: Final = 3
"""A single round waits so many session timeouts to learn whether another trainer leads."""

_OF_STREAM: Final = {"page", "page_half_life_hours"}
"""Options that are without effect on any other training."""

_positive: Final = click.FloatRange(min=0, min_open=True)

_rounds = options.all_of(
    click.option("--every", "every_seconds", default="1h", type=options.Duration(), help="One round each."),
    click.option(
        "--window-days", default=_PLAN.window_days, type=_positive, help="Learn from the clicks of so long."
    ),
    click.option(
        "--held-out",
        "held_out_seconds",
        type=options.Duration(),
        help="Measure on the newest clicks, of so long. [default: as --every]",
    ),
    click.option("--warm/--no-warm", default=True, help="Begin with the champion's weights."),
    click.option(
        "--warm-epochs",
        default=_PLAN.warm_epochs,
        type=click.IntRange(min=1),
        help="How often all sessions are then seen, instead of --epochs.",
    ),
    click.option(
        "--by", type=click.Choice(gate.METRICS), default=_PLAN.by, help="The metric that the gate decides by."
    ),
    click.option(
        "--policy",
        type=click.Choice(POLICIES),
        default=_PLAN.policy,
        help="What a new release is published as; without a champion it becomes that.",
    ),
    click.option(
        "--share",
        type=click.FloatRange(0, 1, min_open=True),
        help=f"Which part of the users a candidate serves. [default: {CANDIDATE_SHARE}]",
    ),
    click.option("--replace-candidate", is_flag=True, help="Do not wait for the end of a candidate's trial."),
    click.option("--keep", default=KEPT, type=click.IntRange(min=1), help="How many releases to keep."),
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
@click.option("--once", is_flag=True, help="Make one round and end.")
@_rounds
@click.option(
    "--streaming",
    is_flag=True,
    help="Keep one training alive over the rounds, that learns what is new; needs --schedule constant.",
)
@click.option(
    "--page",
    default=_PLAN.page,
    type=click.IntRange(min=2),
    help="How many items the network of a stream holds: those most clicked at present.",
)
@click.option(
    "--page-half-life-hours",
    default=_PLAN.page_half_life_hours,
    type=_positive,
    help="The half-life with which clicks fade there.",
)
@click.option(
    "--session-timeout",
    "session_seconds",
    default="30s",
    type=options.Duration(),
    help="A trainer that is not heard of for so long is replaced by one that stands by.",
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
    """Collect, train, compare with the champion and publish, round after round.

    Several may run: Kafka chooses one, the others stand by. With --once the exit code is 0 for a published
    release, 1 where there was nothing to do, 3 where the gate refused it, 2 for an error.
    """
    asked = options.asked() & chosen.keys()
    names = {field.name for field in fields(Plan)} & chosen.keys()
    plan = Plan(**{name: chosen.pop(name) for name in names}, share=share or CANDIDATE_SHARE)
    if streaming and (idle := sorted(asked & {"epochs", "warm"})):
        raise click.UsageError(
            f"{', '.join(idle)}: a stream goes on, and --warm-epochs says how often it sees a round's "
            "clicks. Leave it out, or --streaming"
        )
    if not streaming and (idle := sorted(asked & _OF_STREAM)):
        raise click.UsageError(f"{', '.join(idle)}: for the network of a stream. Add --streaming")
    if share is not None and plan.policy != "candidate":
        raise click.UsageError("--share is for a candidate. Add --policy candidate")
    decoder = Decoder(fields_of(options.columns_of(chosen)))
    settings = _usable(options.settings_of(chosen))
    connection = config.connection(kafka, os.environ)
    leader = Leader(connection, releases=releases, session_timeout_ms=round(session_seconds * 1000))
    # TensorFlow takes seconds to load: only here, where it is needed.
    from trainer.continuous.runner import Periodic, Places  # noqa: PLC0415
    from trainer.continuous.strategies import Apart, Refit, Streamed  # noqa: PLC0415

    teller = Lines(_tell)
    prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]  # the library forgot it
    refit = Refit(plan, settings, teller, asked=asked)
    maker = Streamed(plan, settings, teller) if streaming else Apart(refit)
    gauges = Gauges(lambda: leader.leads, time.monotonic)
    periodic = Periodic(
        Places(connection, topic, decoder, ClickArchive(folder), _kept(keep_days, plan), releases),
        plan,
        settings,
        maker=maker,
        leader=leader,
        gauges=gauges,
        progress=teller,
    )
    with ending_on_request(), serving(gauges.registry, metrics_host, metrics_port), leader.standing():
        if not once:
            periodic.run()
        context.exit(EXIT_CODES[periodic.once(_PATIENCE * session_seconds)])


def _usable(settings: FitSettings) -> FitSettings:
    if settings.cache:
        raise SettingError(
            "cache: every round has other clicks, nothing prepared is used twice: leave it out"
        )
    if (settings.categorical or settings.numeric) and not settings.item_features:
        raise SettingError("categorical, numeric: a log of clicks has no such columns: name item_features")
    return settings


def _kept(days: float | None, plan: Plan) -> float | None:
    if days is not None and days < plan.window_days:
        raise SettingError(
            f"keep_days ({days:g}) is less than window_days ({plan.window_days:g}): keep what is learned from"
        )
    return days


def _tell(line: str) -> None:
    click.echo(f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ} {line}", err=True)
