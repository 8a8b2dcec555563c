"""What several commands ask on the command line, and the table of clicks that the answers name."""

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
    f"HOST:PORT of Kafka; TLS and SASL are taken from {config.KAFKA_PREFIX}*, as the worker does."
)

CATEGORICAL_HELP: Final = (
    "Column of item features with values; missing ones are the value 'unknown', or, by policy drop, none."
)
NUMERIC_HELP: Final = (
    "Column of item features with numbers; missing ones are by policy mean (default), median or zero; "
    "log: of log(1 + x)."
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
    help="A TOML file of settings, such as `tune` writes; an option that is given here wins.",
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
    click.option("--topic", default="nextclick.releases", help="The topic of releases."),
)

columns = all_of(
    click.option("--user", help="Column (in Kafka: field) of user or session ids. [default: recognised]"),
    click.option("--item", help="Column (in Kafka: field) of item ids. [default: recognised]"),
    click.option(
        "--timestamp", help="Column of times: unix s, ms, us, ns, or RFC 3339. [default: recognised]"
    ),
)

reading = all_of(
    click.option(
        "--time-zone", default="UTC", type=Zone(), help="Time zone of times without an offset, Europe/Lisbon."
    ),
    click.option(
        "--time-unit", type=click.Choice(list(UNITS)), help="Unit of numbers. [default: told by size]"
    ),
)

lists = all_of(
    setting("top", "K of Recall@K and MRR@K."),
    setting("exclude_recent", "Last clicked items that are not recommended back while measuring."),
)

measuring = all_of(
    click.option(
        "--split-at", "split_at_ms", type=Moment(), help="Measure with the sessions from this time on."
    ),
    lists,
)

preparing = all_of(
    setting(
        "repeat_seconds", "A user's click on the same item so shortly after the last is dropped; 0: none."
    ),
    setting("max_clicks_per_hour", "Users with more are bots and left out; 0: nobody."),
    setting("max_clicks_per_day", "Ditto, in a day."),
    setting("settle", "Drop rare items and short sessions until neither is left.", is_flag=True),
    setting("item_features", "File of item features: an id column and those named below.", metavar="FILE"),
    setting("categorical", CATEGORICAL_HELP, metavar="NAME[:POLICY]", multiple=True),
    setting("numeric", NUMERIC_HELP, metavar="NAME[:POLICY[:log]]", multiple=True),
    setting("min_value_count", "Values of a categorical column that fewer items have become 'other'."),
    setting("value_separator", "What stands between several values of one item."),
    setting("cache", "Folder that keeps prepared sessions for the next time.", metavar="FOLDER"),
)

training = all_of(
    click.option(
        "--session-gap-minutes",
        default=DEFAULTS.session_gap_seconds / 60,
        help="A longer pause ends a session, here and in the worker; 0: sessions never end.",
    ),
    setting("min_item_count", "Items with fewer training clicks are left out."),
    setting("test_fraction", "Share of the clicks, the last ones, to measure with."),
    setting(
        "validation_fraction",
        "Share of those before them to choose an epoch and learn the blend with; 0: last epoch, no blend.",
    ),
    setting("cell", "Recurrent cell."),
    setting("layers", "Recurrent layers, one above the other."),
    setting("hidden_size", "Numbers in a hidden vector and in an item's."),
    setting("embedding_size", "Numbers in an item's vector, with --output-table separate.", type=int),
    setting("output_table", "Score with the item vectors that the cell sees, or with a table of their own."),
    setting("output_bias", "Add a number per item to its logit."),
    setting("normalize", "Score by cosine times --scale, or by the plain product."),
    setting("scale", "Factor of the cosine in the softmax."),
    setting("memory_clicks", "How many clicks the gates of a fresh network remember; 0: Keras' biases."),
    setting("dropout", "Share of an item's vector hidden from the cell."),
    setting("hidden_dropout", "Share of a hidden vector hidden from the layer above and the scores."),
    setting("loss", "What is made small."),
    setting("label_smoothing", "Share of a target spread over all items, for cross_entropy."),
    setting("score_penalty", "Weight of large negative scores in bpr_max."),
    setting("class_weight_power", "Targets count by their item's clicks to minus this power."),
    setting("negatives", "Items drawn per step to compare targets with; 0: the whole catalogue."),
    setting("negatives_power", "They are drawn by clicks to this power."),
    setting("negatives_uniform", "Share of them drawn from all items alike."),
    setting("batch_negatives", "Targets of a step are negatives for each other."),
    setting("optimizer", "Any optimizer of Keras by name."),
    setting("learning_rate", "The optimizer's, at its highest."),
    setting("momentum", "For sgd and rmsprop."),
    setting("schedule", "How the learning rate goes."),
    setting("warmup_steps", "Steps over which the learning rate rises."),
    setting("decay_factor", "What the schedules exponential and step multiply it with ..."),
    setting("decay_epochs", "... after so many epochs."),
    setting("clip_norm", "Largest norm of the gradients; 0: any."),
    setting("clip_value", "Largest number in a gradient; 0: any."),
    setting("weight_decay", "Share of a weight, times the learning rate, taken away by a step."),
    setting("average_decay", "Release the moving average of the weights that keeps this share; 0: the last."),
    setting("full_batch", "One step an epoch, along the gradient over all clicks."),
    setting(
        "epochs", "How often all sessions are seen, at most. [default: 5, more for few clicks]", type=int
    ),
    setting("patience", "Epochs without a better result that end it. [default: a third]", type=int),
    setting("batch_clicks", "Predictions in one training step."),
    setting("max_session_clicks", "Longer sessions are trained in pieces."),
    setting("carry_state", "Pieces hand on their hidden state instead of overlapping."),
    setting(
        "popularity_half_lives_hours",
        "Clicks on an item that fade so fast are added to its score, by learned weights; or none.",
        type=Numbers(),
    ),
    setting(
        "transition_half_lives_hours",
        "The same of clicks on it right after the last item; or none.",
        type=Numbers(),
    ),
    setting("transitions", "How many items are known to follow each, at most 50."),
    setting("repeat_lags", "Clicks back in the session for which repeats have a learned weight, at most 20."),
    setting("checkpoint_seconds", "How often it is saved how far the training is."),
    setting("seed", "Same clicks, settings and seed: same release."),
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
