"""Options shared by several commands, and the reading of clicks from files, an archive or a topic."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Final

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
from trainer.dataset.features import names_of
from worker import commandline
from worker.commandline import CLICKS, METRICS, all_of, named_here, shorthand
from worker.errors import SettingError
from worker.settings.loading import given

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
    help="Time at which the test split starts, such as 2020-06-28.",
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
        where=mapping.clauses(),
        encoding=chosen.files.encoding,
        names=chosen.files.columns,
        now_ms=round(now.timestamp() * 1000),
    )


def read_clicks(files: tuple[Path, ...], chosen: TrainerSettings, teller: Progress) -> pl.DataFrame:
    """Read all clicks into memory; see `scan_clicks`."""
    return scan_clicks(files, chosen, teller).clicks.collect(engine="streaming")


def scan_clicks(files: tuple[Path, ...], chosen: TrainerSettings, teller: Progress) -> Scan:
    """Return the clicks in `files`, or in the archive that `files` names; without `files`, in the topic.

    Raises click.UsageError unless exactly one of files and a topic is named.
    """
    archive = next(filter(is_archive, files), None)
    removals: list[Removal] = []
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
        rules = rules_of(chosen, datetime.now(UTC))
        scan = scan_files(files, columns_of(chosen), rules)
        removals = scan.counts.removals(rules)
    for removal in removals:
        teller.say(str(removal))
    found = scan.columns
    teller.say(
        f"read {scan.rows:,} clicks; user: {found.user}, item: {found.item}, "
        f"time: {found.timestamp} ({scan.times})"
    )
    for note in scan.notes:
        teller.say(note)
    return scan


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
