"""The command line `nextclick-trainer`, and the only place where the trainer is wired together."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from trainer import config, progress
from trainer.config import FitSettings
from trainer.data import to_measure
from trainer.evaluate import measure
from trainer.events import Columns, Table, read_files
from trainer.progress import Progress
from trainer.publish import publish_folder, read_folder, write_folder
from trainer.topic import read_topic
from worker.core.cells import CELLS
from worker.core.release import verify
from worker.errors import NextclickError

Command = TypeVar("Command", bound=Callable[..., Any])

DEFAULTS: Final = FitSettings()

_KAFKA_HELP: Final = (
    f"HOST:PORT of Kafka; TLS and SASL are taken from {config.KAFKA_PREFIX}*, as the worker does."
)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.version_option(package_name="nextclick")
def cli() -> None:
    """Train next-item recommenders on clicks, measure them, and publish them to the workers."""


class _Moment(click.ParamType[int]):
    """A time such as 2014-09-29 or 2014-09-29T00:00:00Z, as ms since the epoch; without an offset UTC."""

    name = "time"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> int:
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is no time like 2014-09-29T00:00:00Z", param, ctx)
        return round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)


def _setting(name: str, text: str, **more: Any) -> Callable[[Command], Command]:
    """An option for the field `name` of FitSettings, with the default that stands there."""
    return click.option(
        "--" + name.replace("_", "-"), name, default=getattr(DEFAULTS, name), help=text, **more
    )


def _all_of(*options: Callable[[Command], Command]) -> Callable[[Command], Command]:
    """Several options as one decorator, in the order in which help shows them."""

    def decorate(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


_columns = _all_of(
    click.option("--user", help="Column (in Kafka: field) of user or session ids. [default: recognised]"),
    click.option("--item", help="Column (in Kafka: field) of item ids. [default: recognised]"),
    click.option(
        "--timestamp", help="Column of times: unix s, ms, us, ns, or RFC 3339. [default: recognised]"
    ),
)

_measuring = _all_of(
    click.option(
        "--split-at", "split_at_ms", type=_Moment(), help="Measure with the sessions from this time on."
    ),
    _setting("top", "K of Recall@K and MRR@K."),
    _setting("exclude_recent", "Last clicked items that are not recommended back while measuring."),
)

_training = _all_of(
    click.option(
        "--session-gap-minutes",
        default=DEFAULTS.session_gap_seconds / 60,
        help="A longer pause ends a session, here and in the worker; 0: sessions never end.",
    ),
    _setting("min_item_count", "Items with fewer training clicks are left out."),
    _setting("test_fraction", "Share of the clicks, the last ones, to measure with."),
    _setting("validation_fraction", "Share of those before them to choose the best epoch with."),
    _setting("cell", "Recurrent cell.", type=click.Choice(list(CELLS))),
    _setting("hidden_size", "Numbers in a hidden vector and in an item's."),
    _setting(
        "epochs", "How often all sessions are seen, at most. [default: 5, more for few clicks]", type=int
    ),
    _setting("patience", "Epochs without a better result that end it. [default: a third]", type=int),
    _setting("batch_clicks", "Predictions in one training step."),
    _setting("learning_rate", "Adam's at the start."),
    _setting("dropout", "Share of an item's vector hidden from the cell."),
    _setting("scale", "Factor of the cosine in the softmax."),
    _setting("clip_norm", "Largest norm of the gradients."),
    _setting("max_session_clicks", "Longer sessions are trained in pieces."),
    _setting("seed", "Same clicks, settings and seed: same release."),
)


@cli.command()
@click.argument("files", nargs=-1, type=click.Path(path_type=Path))
@click.option(
    "-o", "--output", default="release", type=click.Path(path_type=Path), help="Folder for the release."
)
@_columns
@click.option("--kafka", help="Read a topic from its begin to its end instead of files. " + _KAFKA_HELP)
@click.option("--topic", default="clicks", help="The topic of clicks.")
@_measuring
@_training
def fit(files: tuple[Path, ...], output: Path, kafka: str | None, topic: str, **options: Any) -> None:
    """Train on the clicks in FILES (.csv, .tsv, .parquet, .jsonl; .gz) or of a topic; write a release."""
    columns = Columns(**{role: options.pop(role) for role in ("user", "item", "timestamp")})
    settings = FitSettings(session_gap_seconds=options.pop("session_gap_minutes") * 60, **options)
    teller = progress.for_this_place()
    table = _table(files, kafka, topic, columns, teller)
    # TensorFlow takes seconds to load: only here, where it is needed.
    from trainer import fit as fitting  # noqa: PLC0415

    manifest, blob = fitting.fit(table.clicks, settings, teller)
    write_folder(output, manifest, blob)
    click.echo(_report(manifest.metrics, settings.top))
    click.echo(f"release written to {output}: {manifest.items:,} items, {manifest.size_bytes / 1e6:.1f} MB")


@cli.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@_columns
@_measuring
def evaluate(folder: Path, files: tuple[Path, ...], **options: Any) -> None:
    """Measure the release in FOLDER on the clicks in FILES, beside its popularity list."""
    columns = Columns(**{role: options.pop(role) for role in ("user", "item", "timestamp")})
    settings, teller = FitSettings(**options), progress.for_this_place()
    release = verify(*read_folder(folder))
    table = _table(files, None, "", columns, teller)
    sessions = to_measure(table.clicks, release, settings.split_at_ms, teller, datetime.now(UTC))
    metrics = measure(release, sessions, top=settings.top, exclude_recent=settings.exclude_recent)
    click.echo(_report(metrics, settings.top))


@cli.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--kafka", default="localhost:9092", help=_KAFKA_HELP)
@click.option("--topic", default="nextclick.releases", help="The topic of releases.")
@click.option("--candidate", is_flag=True, help="Point @candidate at it, not @champion.")
def publish(folder: Path, kafka: str, topic: str, *, candidate: bool) -> None:
    """Send the release in FOLDER to Kafka and point @champion at it; a worker takes it up when it starts."""
    number = publish_folder(folder, config.connection(kafka, os.environ), topic=topic, candidate=candidate)
    click.echo(f"release {number} is {'@candidate' if candidate else '@champion'} in {topic}")


def _table(
    files: tuple[Path, ...], kafka: str | None, topic: str, columns: Columns, teller: Progress
) -> Table:
    if bool(files) == bool(kafka):
        raise click.UsageError("name the files of clicks, or a topic with --kafka HOST:PORT; one of the two")
    if kafka:
        table, removals = read_topic(config.connection(kafka, os.environ), topic, columns)
        for removal in removals:
            teller.say(str(removal))
    else:
        table = read_files(files, columns)
    found = table.columns
    teller.say(
        f"read {len(table.clicks):,} clicks; user: {found.user}, item: {found.item}, "
        f"time: {found.timestamp} ({table.times})"
    )
    return table


def _report(metrics: Mapping[str, float], top: int) -> str:
    if not metrics:
        return "no held-out clicks: the release was not measured"
    rows = [f"on {metrics['predictions']:,.0f} held-out clicks    network   popularity"]
    for name, title in ((f"recall_at_{top}", f"Recall@{top}"), (f"mrr_at_{top}", f"MRR@{top}")):
        rows.append(f"{title:<24}{metrics[name]:>16.4f}{metrics['popular_' + name]:>13.4f}")
    return "\n".join(rows)


def main() -> None:
    """Run the command line; an error of ours ends it with its text and exit code 2."""
    try:
        cli(standalone_mode=True)
    except NextclickError as error:
        click.echo(f"nextclick-trainer: {error}", err=True)
        sys.exit(2)


if __name__ == "__main__":
    main()
