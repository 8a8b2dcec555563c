"""Options that several commands share, and the clicks that they name."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Callable, Collection, Iterable
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import click
import polars as pl

from trainer import config
from trainer.clicks.archive import is_archive, scan_archive
from trainer.clicks.cleaning import Removal
from trainer.clicks.columns import Columns, Scan
from trainer.clicks.files import scan_files
from trainer.clicks.timestamps import UNITS
from trainer.clicks.topic import read_topic
from trainer.config import FitSettings
from trainer.console import Progress
from trainer.dataset.features import names_of
from trainer.settings_file import read_settings
from worker.errors import SettingError

Command = TypeVar("Command", bound=Callable[..., Any])

DEFAULTS: Final = FitSettings()

KAFKA_HELP: Final = (
    f"HOST:PORT of Kafka. TLS and SASL come from the variables {config.KAFKA_PREFIX}*, as for the worker."
)

CATEGORICAL_HELP: Final = (
    "Column of item features with values. A missing one is the value 'unknown', or none by policy drop."
)
NUMERIC_HELP: Final = (
    "Column of item features with numbers. A missing one is the mean, or by policy median or zero; "
    "log: take log(1 + x)."
)

_TIMES: Final = ("time_zone", "time_unit")
"""What is asked of times as files have them."""

_SECONDS: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
"""How long one of each unit of a time span is."""


class Moment(click.ParamType[int]):
    """A time such as 2014-09-29 or 2014-09-29T00:00:00Z, as ms since the epoch; without an offset UTC."""

    name = "time"

    def convert(self, value: str | int, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The time that `value` names; a number is one already."""
        if isinstance(value, int):
            return value
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is no time like 2014-09-29T00:00:00Z", param, ctx)
        return round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)


class Duration(click.ParamType[float]):
    """A time span such as 90s, 30m, 1h or 7d, as seconds."""

    name = "duration"

    def convert(self, value: str | float, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The seconds that `value` names; a number is some already."""
        if isinstance(value, int | float):
            return value
        found = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", value)
        seconds = float(found[1]) * _SECONDS[found[2]] if found else 0.0
        if not seconds:
            self.fail(f"{value!r} is no time span like 30m, 1h or 7d", param, ctx)
        return seconds


class Zone(click.ParamType[str]):
    """The name of a time zone."""

    name = "zone"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """`value`, if there is such a zone."""
        try:
            return ZoneInfo(value).key
        except (ZoneInfoNotFoundError, ValueError, OSError):
            self.fail(f"{value!r} is no time zone like UTC or Europe/Lisbon", param, ctx)


class Numbers(click.ParamType[tuple[float, ...]]):
    """Numbers such as 24,168; the word none is no number at all."""

    name = "numbers"

    def convert(
        self, value: str | Iterable[float], param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[float, ...]:
        """The numbers in `value`; a file of settings has them as a list."""
        if value == "none":
            return ()
        try:
            return tuple(float(one) for one in (value.split(",") if isinstance(value, str) else value))
        except (TypeError, ValueError):
            self.fail(f"{value!r} is no list like 24,168, and not none", param, ctx)


def setting(name: str, text: str, **more: Any) -> Callable[[Command], Command]:
    """An option for the field `name` of FitSettings, with the default that stands there."""
    default, flag = getattr(DEFAULTS, name), name.replace("_", "-")
    declared = f"--{flag}/--no-{flag}" if isinstance(default, bool) else f"--{flag}"
    if name in config.CHOICES:
        more["type"] = click.Choice(config.CHOICES[name])
    return click.option(declared, name, default=default, help=text, **more)


def asked() -> set[str]:
    """The settings that the command line or a file of settings names: no default may step in their place."""
    context = click.get_current_context()
    nobody = (None, click.core.ParameterSource.DEFAULT)
    return {name for name in context.params if context.get_parameter_source(name) not in nobody}


def all_of(*options: Callable[[Command], Command]) -> Callable[[Command], Command]:
    """Several options as one decorator, in the order in which help shows them."""

    def decorate(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def settings_of(chosen: dict[str, Any]) -> FitSettings:
    """The settings that the options of `measuring` and `training` name."""
    return FitSettings(session_gap_seconds=chosen.pop("session_gap_minutes") * 60, **chosen)


def _take_settings(context: click.Context, _: click.Parameter, path: Path | None) -> None:
    """Let the file `path` say what the options are that are not given."""
    if path is None:
        return
    gap = "session_gap_seconds"
    fields = {field.name for field in dataclasses.fields(FitSettings)}
    known = {option.name for option in context.command.params if option.name in fields} | {gap}
    values = read_settings(path, known)
    if gap in values:
        values["session_gap_minutes"] = values.pop(gap) / 60
    context.default_map = values


settings_file = click.option(
    "--settings",
    type=click.Path(path_type=Path),
    is_eager=True,
    expose_value=False,
    callback=_take_settings,
    help="TOML file of settings, such as `tune` writes. An option on the command line wins.",
)

kafka = click.option(
    "--kafka",
    default="localhost:9092",
    envvar=f"{config.KAFKA_PREFIX}BOOTSTRAP_SERVERS",
    show_envvar=True,
    help=KAFKA_HELP,
)

topic_of_releases = all_of(
    kafka,
    click.option("--topic", default="nextclick.releases", help="Topic of releases."),
)

columns = all_of(
    click.option(
        "--user", help="Column of user or session ids (of a topic: path of the field). [default: recognised]"
    ),
    click.option("--item", help="Column of item ids (of a topic: path of the field). [default: recognised]"),
    click.option(
        "--timestamp",
        help="Column of times, Unix or RFC 3339 (of a topic: path of the field). [default: recognised]",
    ),
)

reading = all_of(
    click.option(
        "--time-zone",
        default="UTC",
        type=Zone(),
        help="Time zone of times without an offset, such as Europe/Lisbon.",
    ),
    click.option(
        "--time-unit",
        type=click.Choice(list(UNITS)),
        help="Unit of times that are numbers. [default: recognised by their size]",
    ),
)

lists = all_of(
    setting("top", "Length K of the lists that Recall@K and MRR@K measure."),
    setting("exclude_recent", "Number of the last clicked items that a list leaves out while measuring."),
)

measuring = all_of(
    click.option(
        "--split-at",
        "split_at_ms",
        type=Moment(),
        help="Time from which on sessions are held out to measure with, such as 2020-06-28.",
    ),
    lists,
)

preparing = all_of(
    setting(
        "repeat_seconds",
        "Drop a user's click on the same item this many seconds after the last one; 0: none.",
    ),
    setting(
        "max_clicks_per_hour",
        "Largest number of clicks in an hour; a user with more is a bot and is left out; 0: no limit.",
    ),
    setting(
        "max_clicks_per_day",
        "Largest number of clicks in a day; a user with more is a bot and is left out; 0: no limit.",
    ),
    setting(
        "settle", "Drop rare items and short sessions again and again until neither is left.", is_flag=True
    ),
    setting(
        "item_features",
        "File of item features: a column of item ids and the columns named below.",
        metavar="FILE",
    ),
    setting("categorical", CATEGORICAL_HELP, metavar="NAME[:POLICY]", multiple=True),
    setting("numeric", NUMERIC_HELP, metavar="NAME[:POLICY[:log]]", multiple=True),
    setting("min_value_count", "Items that a categorical value needs; rarer values become 'other'."),
    setting("value_separator", "Separator between several values of one item."),
    setting("cache", "Folder that keeps prepared sessions for the next training.", metavar="FOLDER"),
)

training = all_of(
    click.option(
        "--session-gap-minutes",
        default=DEFAULTS.session_gap_seconds / 60,
        help="Pause that ends a session, in training and in the worker, in minutes; 0: sessions never end.",
    ),
    setting("min_item_count", "Training clicks that an item needs to be in the catalogue."),
    setting("test_fraction", "Share of the clicks, the newest, held out as the test split."),
    setting(
        "validation_fraction",
        "Share of the clicks before them, held out to choose the epoch and learn the blend; 0: neither.",
    ),
    setting("cell", "Recurrent cell."),
    setting("layers", "Number of recurrent layers."),
    setting("hidden_size", "Size of the hidden vector."),
    setting(
        "embedding_size",
        "Size of the item vectors, with --output-table separate. [default: hidden size]",
        type=int,
    ),
    setting(
        "output_table", "Item vectors to score with: those that the cell reads (tied), or a separate table."
    ),
    setting("output_bias", "Add a learned bias per item to the score."),
    setting("normalize", "Score by cosine times --scale; otherwise by the plain product."),
    setting("scale", "Factor of the cosine before the softmax."),
    setting(
        "memory_clicks",
        "Number of clicks that the gates of a new network remember; 0: the initial biases of Keras.",
    ),
    setting("dropout", "Dropout of the item vector that the cell reads."),
    setting("hidden_dropout", "Dropout of the hidden vector that the next layer and the scores read."),
    setting("loss", "Training loss."),
    setting("label_smoothing", "Share of the target spread over all items, with --loss cross_entropy."),
    setting("score_penalty", "Weight of the penalty on large negative scores, with --loss bpr_max."),
    setting(
        "class_weight_power", "Weight of a target: the clicks of its item to minus this power; 0: equal."
    ),
    setting("negatives", "Negative items drawn per step; 0: the whole catalogue."),
    setting("negatives_power", "Negatives are drawn in proportion to their clicks to this power."),
    setting("negatives_uniform", "Share of the negatives drawn from all items with equal probability."),
    setting("batch_negatives", "Use the other targets of a step as negatives, too."),
    setting("optimizer", "Name of a Keras optimizer."),
    setting("learning_rate", "Highest learning rate."),
    setting("momentum", "Momentum, for sgd and rmsprop."),
    setting("schedule", "Learning-rate schedule."),
    setting("warmup_steps", "Steps over which the learning rate rises from 0."),
    setting("decay_factor", "Factor by which the schedules exponential and step lower the learning rate."),
    setting("decay_epochs", "Interval in epochs at which they apply it."),
    setting("clip_norm", "Largest norm of all gradients together; 0: no limit."),
    setting("clip_value", "Largest absolute value in a gradient; 0: no limit."),
    setting("weight_decay", "Weight decay, as a share of a weight per step, times the learning rate."),
    setting(
        "average_decay", "Decay of the moving average of the weights that is released; 0: the last weights."
    ),
    setting("full_batch", "Take one step per epoch, along the gradient over all clicks."),
    setting("epochs", "Largest number of epochs. [default: 5, more for few clicks]", type=int),
    setting(
        "patience",
        "Epochs without a better validation result that end the training. [default: a third of the epochs]",
        type=int,
    ),
    setting("batch_clicks", "Predictions per training step."),
    setting("max_session_clicks", "Longest session that is trained in one piece, in clicks."),
    setting(
        "carry_state",
        "Hand the hidden state from piece to piece of a long session; otherwise pieces overlap.",
    ),
    setting(
        "popularity_half_lives_hours",
        "Half-lives of the clicks that make an item popular, in hours; or none.",
        type=Numbers(),
    ),
    setting(
        "transition_half_lives_hours",
        "Half-lives of the transitions between two items, in hours; or none.",
        type=Numbers(),
    ),
    setting("transitions", "Followers kept per item for the transitions, at most 50; 0: none."),
    setting(
        "repeat_lags",
        "Clicks back in the session for which repeats have a learned weight, at most 20; 0: none.",
    ),
    setting("checkpoint_seconds", "Interval between saving the progress, in seconds."),
    setting("seed", "Random seed: the same clicks, settings and seed give the same release."),
)


def columns_of(chosen: dict[str, Any]) -> Columns:
    """The answers to `columns` and `reading`, taken out of `chosen`."""
    names = [field.name for field in fields(Columns) if field.name in chosen]
    return Columns(**{name: chosen.pop(name) for name in names})


def columns_and_settings_of(chosen: dict[str, Any]) -> tuple[Columns, FitSettings]:
    """All that a command that trains asks; features of items are columns of the clicks, without a file."""
    columns = columns_of(chosen)
    settings = settings_of(chosen)
    if settings.item_features is None:
        columns = dataclasses.replace(columns, extra=names_of(settings.categorical, settings.numeric))
    return columns, settings


def _check_columns(columns: Columns, source: str, *, fixed: Collection[str]) -> None:
    """Refuse what `columns` ask of a `source` whose columns of these names are as the worker reads them."""
    given = [name for name in fixed if getattr(columns, name) != getattr(Columns(), name)]
    if given:
        flags = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        raise click.UsageError(f"{source} has its clicks as the worker reads them: leave out {flags}")
    if columns.extra:
        raise SettingError(
            f"{source} has no column {', '.join(columns.extra)}: features of items are then taken from the "
            "file that --item-features names"
        )


def read_clicks(files: tuple[Path, ...], columns: Columns, teller: Progress) -> pl.DataFrame:
    """As `scan_clicks`, and reads them."""
    return scan_clicks(files, None, "", columns, teller).clicks.collect(engine="streaming")


def scan_clicks(
    files: tuple[Path, ...], kafka: str | None, topic: str, columns: Columns, teller: Progress
) -> Scan:
    """The clicks in `files`, a click archive or `topic`. Raises click.UsageError where not one is named."""
    if bool(files) == bool(kafka):
        raise click.UsageError("name the files of clicks, or a topic with --kafka HOST:PORT; one of the two")
    archive = next(filter(is_archive, files), None)
    removals: list[Removal] = []
    if kafka:
        _check_columns(columns, "a topic", fixed=_TIMES)
        table, removals = read_topic(config.connection(kafka, os.environ), topic, columns)
        scan = Scan(table.clicks.lazy(), table.columns, table.times, len(table.clicks))
    elif archive:
        if len(files) > 1:
            raise click.UsageError(
                f"{archive} is a click archive, which is read alone: leave the other files out"
            )
        _check_columns(columns, "a click archive", fixed=("user", "item", "timestamp", *_TIMES))
        scan, removals = scan_archive(archive)
    else:
        scan = scan_files(files, columns)
    for removal in removals:
        teller.say(str(removal))
    found = scan.columns
    teller.say(
        f"read {scan.rows:,} clicks; user: {found.user}, item: {found.item}, "
        f"time: {found.timestamp} ({scan.times})"
    )
    return scan
