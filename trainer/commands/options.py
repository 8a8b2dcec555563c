"""Options shared by several commands, and the reading of clicks from files, an archive or a topic."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import click
import polars as pl

from trainer.clicks.archive import is_archive, scan_archive
from trainer.clicks.cleaning import Removal
from trainer.clicks.columns import Columns, Scan
from trainer.clicks.files import scan_files
from trainer.clicks.rules import Rules
from trainer.clicks.timestamps import TimeSettings
from trainer.clicks.topic import read_topic
from trainer.commands.kafka import connect, decoder
from trainer.config import TrainerSettings
from trainer.console import Progress
from trainer.dataset.dataset import moment
from trainer.dataset.features import names_of
from trainer.dataset.holdout import split_of
from trainer.dataset.sessions import TEST
from trainer.dataset.split import TestSplit
from worker import commandline
from worker.commandline import CLICKS, METRICS, all_of, named_here, option, shorthand
from worker.core.manifest import Manifest
from worker.errors import SettingError
from worker.settings.loading import given, replaced

FOLDER: Final = click.Path(path_type=Path)
"""The parameter type for paths of files and folders."""

_FIELDS: Final = ("click.user_id", "click.item_id", "click.timestamp")

columns = all_of(
    shorthand(
        "--user",
        key="click.user_id",
        group=CLICKS,
        metavar="NAME",
        help="Column of user or session ids in files, or their path in a topic's records. Default for "
        "files: the column is recognised by its name.",
    ),
    shorthand(
        "--item", key="click.item_id", group=CLICKS, metavar="NAME", help="Column or path of item ids."
    ),
    shorthand(
        "--timestamp",
        key="click.timestamp",
        group=CLICKS,
        metavar="NAME",
        help="Column or path of the click's time.",
    ),
)
"""Options that name the column, or the path, of each field of a click."""

split_at = shorthand(
    "--split-at",
    key="dataset.split_at",
    group=CLICKS,
    metavar="TIME",
    help="Time at which the test split starts, such as 2020-06-28, or unix time.",
)

leave_last = shorthand(
    "--leave-last",
    key="dataset.leave_last",
    group=CLICKS,
    metavar="N",
    help="Number of last clicks of each session that form the test split, instead of a time.",
)

min_context = shorthand(
    "--min-context",
    key="evaluation.min_context",
    group=METRICS,
    metavar="N",
    help="A test click is predicted only if its session has at least this many clicks before it.",
)

test_files = option(
    "--test",
    type=FOLDER,
    multiple=True,
    group=CLICKS,
    metavar="FILE",
    help="File whose clicks are the test split; all clicks of FILES are then for training. May be repeated.",
)

all_clicks = option(
    "--all", "every", is_flag=True, group=CLICKS, help="Evaluate on all clicks, without a test split."
)


class Tops(click.ParamType[tuple[int, ...]]):
    """A click type for one or more K, such as 10,20; its values are in ascending order."""

    name = "k"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, ...]:
        """Return the numbers in the text `value`."""
        parts = value.split(",") if isinstance(value, str) else value
        if not all(str(part).strip().isdecimal() and int(part) > 0 for part in parts):
            self.fail(f"{value!r} must be a whole number above 0, or several with commas, such as 10,20")
        return tuple(sorted({int(part) for part in parts}))


tops = option(
    "--top",
    "tops",
    type=Tops(),
    group=METRICS,
    metavar="K[,K...]",
    help="K in Recall@K and MRR@K: the length of the evaluated lists; several K with commas. "
    "[evaluation.top]",
)

top = shorthand(
    "--top",
    key="evaluation.top",
    group=METRICS,
    metavar="K",
    help="K in Recall@K and MRR@K: the length of the evaluated lists.",
)

archive = shorthand(
    "--archive", key="archive.folder", group=CLICKS, metavar="FOLDER", help="Folder of the click archive."
)

metrics_port = shorthand(
    "--metrics-port", key="metrics.port", group=METRICS, metavar="PORT", help="Port that serves /metrics."
)


def settings() -> TrainerSettings:
    """Return the settings of the current command. Raises SettingError."""
    return commandline.settings(TrainerSettings)


def columns_of(chosen: TrainerSettings) -> Columns:
    """Return the columns to read from click files, with feature columns unless `features.file` is set."""
    mapping, features = chosen.click, chosen.features
    return Columns(
        user=mapping.named("user_id"),
        item=mapping.named("item_id"),
        timestamp=mapping.named("timestamp"),
        extra=() if features.file else names_of(features.categorical, features.numeric),
    )


def rules_of(chosen: TrainerSettings, now: datetime) -> Rules:
    """Return the rules for reading files, as in the worker; times over an hour after `now` are refused."""
    mapping = chosen.click
    return Rules(
        times=TimeSettings(
            unit=None if mapping.timestamp_unit == "auto" else mapping.timestamp_unit,
            zone=mapping.time_zone,
            earliest_ms=mapping.earliest,
            missing=mapping.missing,
        ),
        missing=mapping.missing,
        where=(*mapping.clauses(), *chosen.events.clauses()),
        encoding=chosen.files.encoding,
        names=chosen.files.columns,
        now_ms=round(now.timestamp() * 1000),
    )


def with_tops(chosen: TrainerSettings, tops: tuple[int, ...] | None) -> TrainerSettings:
    """Return the settings with the largest K of the option `tops`, if it is given. Raises SettingError."""
    return replaced(chosen, {"evaluation.top": tops[-1]}) if tops else chosen


def as_released(chosen: TrainerSettings, manifest: Manifest, teller: Progress) -> TrainerSettings:
    """Return the settings with the release's number of excluded items, unless the user set it."""
    key, value = "evaluation.exclude_recent", manifest.exclude_recent
    if key in given(chosen) or value == chosen.evaluation.exclude_recent:
        return chosen
    teller.say(f"{key} is {value}, as in the release")
    return replaced(chosen, {key: value})


def split_for(
    chosen: TrainerSettings, manifest: Manifest, teller: Progress, *, test: bool = False, every: bool = False
) -> TestSplit:
    """Return the test split that the settings choose; without any, the test split of the release's training.

    `test`: whether files of the test split are named. `every`: whether all clicks are to be evaluated. Raises
    click.UsageError if more than one test split is chosen.
    """
    split = TestSplit(chosen.dataset.split_at, chosen.dataset.leave_last, chosen.evaluation.min_context)
    require_one_split(chosen, test=test, every=every)
    if test or every or split.from_ms is not None or split.leave_last:
        return split
    own = split_of(manifest)
    if own.leave_last:
        what = f"the last {own.leave_last} clicks of each session"
    elif own.from_ms is not None:
        what = f"clicks from {moment(own.from_ms)} on"
    elif manifest.training.get("test_files") is True:
        teller.say(
            "the release was tested on separate files: name them with --test; without, all clicks are used"
        )
        return split
    else:
        teller.say("the release does not say what its test split was: all clicks are used")
        return split
    teller.say(f"test split, as in the release's training: {what}")
    asked = "evaluation.min_context" in given(chosen)
    return own._replace(min_context=split.min_context) if asked else own


def require_one_split(chosen: TrainerSettings, *, test: bool, every: bool = False) -> None:
    """Raise click.UsageError if more than one test split is chosen."""
    ways = {
        "--test": test,
        "--all": every,
        "--split-at": chosen.dataset.split_at is not None,
        "--leave-last": chosen.dataset.leave_last > 0,
    }
    named = [name for name, is_given in ways.items() if is_given]
    if len(named) > 1:
        raise click.UsageError(
            f"{' and '.join(named)} are given, but each of them chooses the test split; give only one of them"
        )


def read_clicks(
    files: tuple[Path, ...], chosen: TrainerSettings, teller: Progress, *, test: tuple[Path, ...] = ()
) -> pl.DataFrame:
    """Read all clicks into memory; see `scan_clicks`."""
    return scan_clicks(files, chosen, teller, test=test).clicks.collect(engine="streaming")


def scan_clicks(
    files: tuple[Path, ...], chosen: TrainerSettings, teller: Progress, *, test: tuple[Path, ...] = ()
) -> Scan:
    """Return the clicks in `files`, or in the archive that `files` names; without `files`, in the topic.

    With files of the `test` split, their clicks follow, marked in the column `TEST`. Raises click.UsageError
    unless exactly one of files and a topic is named.
    """
    archive = next(filter(is_archive, files), None)
    if files and named_here(("topics.clicks",)):
        raise click.UsageError(
            "both files and --clicks-topic are given; name either files of clicks or a topic"
        )
    if not files:
        scan, removals = _scan_topic(chosen)
    elif archive:
        if len(files) > 1:
            raise click.UsageError(
                f"{archive} is a click archive and cannot be combined with other files; leave those out"
            )
        _must_have_no_features(chosen, "a click archive")
        commandline.refuse(_FIELDS, f"{archive} is a click archive, whose columns are fixed")
        scan, removals = scan_archive(archive)
    else:
        scan, removals = _scan_files(files, chosen, columns_of(chosen))
    _tell(scan, removals, teller)
    if not test:
        return scan
    held, removals = _scan_files(test, chosen, replace(columns_of(chosen), extra=()))
    _tell(held, removals, teller)
    learned, marked = (
        one.clicks.with_columns(pl.lit(is_test).alias(TEST)) for one, is_test in ((scan, False), (held, True))
    )
    return replace(scan, clicks=pl.concat([learned, marked], how="diagonal"), rows=scan.rows + held.rows)


def _scan_files(
    files: tuple[Path, ...], chosen: TrainerSettings, columns: Columns
) -> tuple[Scan, list[Removal]]:
    rules = rules_of(chosen, datetime.now(UTC))
    scan = scan_files(files, columns, rules)
    return scan, scan.counts.removals(rules)


def _tell(scan: Scan, removals: list[Removal], teller: Progress) -> None:
    for removal in removals:
        teller.say(str(removal))
    found = scan.columns
    teller.say(
        f"read {scan.rows:,} clicks; user: {found.user}, item: {found.item}, "
        f"time: {found.timestamp} ({scan.times})"
    )
    for note in scan.notes:
        teller.say(note)


def _scan_topic(chosen: TrainerSettings) -> tuple[Scan, list[Removal]]:
    if not {"topics.clicks", "kafka.bootstrap_servers"} & given(chosen):
        raise click.UsageError("no clicks are named; name files of clicks, or a topic with --clicks-topic")
    _must_have_no_features(chosen, "a topic")
    topic = chosen.topics.clicks
    table, removals = read_topic(connect(chosen), topic, decoder(chosen))
    return Scan(table.clicks.lazy(), table.columns, table.times, len(table.clicks)), removals


def _must_have_no_features(chosen: TrainerSettings, source: str) -> None:
    features = chosen.features
    if features.any and not features.file:
        raise SettingError(
            f"{source} has no columns of item features "
            f"({', '.join(names_of(features.categorical, features.numeric))}); name a file that has them in "
            "features.file"
        )
