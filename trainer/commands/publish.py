"""`nextclick-trainer publish`: a release to the workers."""

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
from trainer.release.folder import read_folder
from worker.commandline import Command, config_options, kafka_option, option, releases_topic_option
from worker.core.release import CANDIDATE_SHARE
from worker.errors import ReleaseRefused
from worker.topics import releases
from worker.topics.releases import CANDIDATE, CHAMPION, ReleaseReader

FAR_BELOW: Final = 0.8
"""The part of the champion's figure below which a release is not published without a question."""


@click.command(cls=Command)
@click.argument("folder", type=options.FOLDER)
@option("--candidate", is_flag=True, help="Make it the candidate, not the champion.")
@option(
    "--share",
    type=click.FloatRange(0, 1, min_open=True),
    help=f"Share of the users that a candidate serves. [default: {CANDIDATE_SHARE}]",
)
@option("--yes", is_flag=True, help="Publish a release, too, that is far worse than the champion.")
@kafka_option
@releases_topic_option
@config_options
def publish(folder: Path, *, candidate: bool, share: float | None, yes: bool) -> None:
    """Send the release in FOLDER to Kafka and make it the champion. Workers adopt it in seconds.

    A topic that holds anything but releases is refused.
    """
    if share is not None and not candidate:
        raise click.UsageError(
            "--share is for a candidate: the champion serves everyone else. Add --candidate"
        )
    chosen = options.settings()
    connection, topic, name = connect(chosen), chosen.topics.releases, CANDIDATE if candidate else CHAMPION
    manifest, blob = read_folder(folder).parts
    champion, metrics, before = _standing(ReleaseReader(connection, topic=topic), name)
    if champion is not None and not candidate and not yes:
        _ask_where_far_below(folder, champion, manifest.metrics, metrics)
    number = releases.publish(
        connection,
        topic,
        manifest,
        blob,
        pointer=name,
        share=share or CANDIDATE_SHARE,
        # The question and the lines below are about this one.
        expected={name: before},
    )
    click.echo(f"release {number} is {name} in {topic}" + _replacing(name, before))
    if champion is not None and (found := both_measured(manifest.metrics, metrics)):
        title, new, old = found
        click.echo(f"{title} {new:.4f}; release {champion}: {old:.4f} (each on its own held-out clicks)")


def _standing(reader: ReleaseReader, name: str) -> tuple[int | None, Mapping[str, float], int | None]:
    """Return the champion, the figures in its manifest, and the release that the pointer `name` names.

    Raises TopicError where the topic is none of releases.
    """
    with reader.opened():
        reader.read(strict=True)
    pointer, champion = reader.readable_pointer(name), reader.readable_pointer(CHAMPION)
    metrics: Mapping[str, float] = {}
    if champion:
        # A champion that cannot be read is one more reason to publish another.
        with suppress(ReleaseRefused):
            metrics = reader.manifest(champion.release).metrics
    return champion and champion.release, metrics, pointer and pointer.release


def _ask_where_far_below(
    folder: Path, champion: int, metrics: Mapping[str, float], theirs: Mapping[str, float]
) -> None:
    found = both_measured(metrics, theirs)
    if found is None or found[1] >= FAR_BELOW * found[2]:
        return
    title, new, old = found
    text = f"{title} of {folder} is {new:.4f}, that of the champion, release {champion}, {old:.4f}"
    if not sys.stdin.isatty():
        raise ReleaseRefused("worse", f"{text}: nothing was sent. --yes publishes it nevertheless")
    click.confirm(f"{text}. Publish it nevertheless?", abort=True, err=True)


def _replacing(name: str, before: int | None) -> str:
    if before is None:
        return ""
    undo = "; `nextclick-trainer rollback` undoes it" if name == CHAMPION else ""
    return f", was release {before}{undo}"
