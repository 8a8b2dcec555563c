"""`nextclick-trainer publish`: publish a release to the workers."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

import click

from trainer.commands import options
from trainer.commands.kafka import connect
from trainer.commands.measures import both_measured
from trainer.evaluation.report.causes import MIN_SESSIONS
from trainer.release.folder import read_folder
from worker.commandline import (
    Command,
    config_options,
    json_option,
    kafka_option,
    option,
    releases_topic_option,
    show,
)
from worker.core.manifest import Manifest
from worker.core.release import CANDIDATE_SHARE
from worker.errors import ReleaseRefused
from worker.topics import releases
from worker.topics.findings import amount
from worker.topics.releases import CANDIDATE, CHAMPION, ReleaseReader

FAR_BELOW: Final = 0.8
"""A release needs confirmation if its metric is below this share of the champion's metric."""


@click.command(cls=Command)
@click.argument("folder", type=options.FOLDER)
@option("--candidate", is_flag=True, help="Make the release the candidate instead of the champion.")
@option(
    "--share",
    type=click.FloatRange(0, 1, min_open=True),
    help=f"Share of users served by the candidate. [default: {CANDIDATE_SHARE}]",
)
@option(
    "--yes",
    is_flag=True,
    help="Publish without asking, even if the release was hardly measured or is far below the champion.",
)
@kafka_option
@releases_topic_option
@config_options
@json_option
def publish(folder: Path, *, candidate: bool, share: float | None, yes: bool, as_json: bool) -> None:
    """Publish the release in FOLDER to Kafka as the champion. The workers adopt it within seconds.

    A topic that holds records other than releases is refused.
    """
    if share is not None and not candidate:
        raise click.UsageError("--share applies only to a candidate; add --candidate, or leave out --share")
    chosen = options.settings()
    connection, topic, name = connect(chosen), chosen.topics.releases, CANDIDATE if candidate else CHAMPION
    manifest, blob = read_folder(folder).parts
    with ReleaseReader(connection, topic=topic).opened() as reader:
        champion, metrics, before = _current(reader, name)
        # A candidate needs no confirmation: it is measured live first, on a share of the users.
        if not candidate and not yes and (doubt := _doubt(folder, manifest, champion, metrics)):
            _ask(doubt)
        number = releases.publish(
            connection,
            topic,
            manifest,
            blob,
            pointer=name,
            share=share or CANDIDATE_SHARE,
            # Publishing fails if the pointer `name` has been moved since the confirmation.
            expected={name: before},
            # A topic of large releases takes seconds to read.
            reader=reader,
        )
    lines = [f"release {number} is {name} in {topic}" + _replacing(name, before)]
    if found := both_measured(manifest.metrics, metrics):
        title, new, old = found
        lines.append(f"{title} {new:.4f}; release {champion}: {old:.4f} (each on its own held-out clicks)")
    elif not manifest.metrics:
        lines.append("the release has no metrics: its training held out no clicks")
    facts = {"topic": topic, "release": number, "role": name, "replaced": before, "champion": champion}
    measured = {"metrics": dict(manifest.metrics), "champion_metrics": dict(metrics)}
    show(facts | measured, *lines, as_json=as_json)


def _current(reader: ReleaseReader, name: str) -> tuple[int | None, Mapping[str, float], int | None]:
    """Return the champion, the metrics in its manifest, and the release that the pointer `name` points to.

    Raises TopicError if the topic holds other records than releases.
    """
    reader.read(strict=True)
    pointer, champion = reader.readable_pointer(name), reader.readable_pointer(CHAMPION)
    metrics: Mapping[str, float] = {}
    if champion:
        # An unreadable champion must not prevent publishing its successor.
        with suppress(ReleaseRefused):
            metrics = reader.manifest(champion.release).metrics
    return champion and champion.release, metrics, pointer and pointer.release


def _doubt(folder: Path, manifest: Manifest, champion: int | None, theirs: Mapping[str, float]) -> str:
    """Return the reason why publishing a release needs confirmation; empty if it needs none."""
    if not manifest.metrics:
        return (
            f"the release in {folder} has no metrics, because its training held out no clicks; train on more "
            "clicks, over a longer time, or raise dataset.test_fraction"
        )
    compared = manifest.training.get("comparison")
    sessions = compared.get("sessions") if isinstance(compared, Mapping) else None
    if theirs and isinstance(sessions, int) and sessions < MIN_SESSIONS:
        return (
            f"the release in {folder} was tested on {amount(sessions, 'session')}, too few to compare it "
            f"with the champion (release {champion}); train on the clicks of more users or of a longer time, "
            "or raise dataset.test_fraction"
        )
    found = both_measured(manifest.metrics, theirs)
    if found is None or found[1] >= FAR_BELOW * found[2]:
        return ""
    title, new, old = found
    return f"{title} of {folder} is {new:.4f}, far below the champion's (release {champion}): {old:.4f}"


def _ask(doubt: str) -> None:
    if not sys.stdin.isatty():
        raise ReleaseRefused("doubtful", f"{doubt}. Nothing was published; --yes publishes it anyway")
    click.confirm(f"{doubt}. Publish it anyway?", abort=True, err=True)


def _replacing(name: str, before: int | None) -> str:
    if before is None:
        return ""
    undo = "; `nextclick-trainer rollback` undoes it" if name == CHAMPION else ""
    return f", replacing release {before}{undo}"
