"""`promote`, `rollback` and `releases`: which release serves whom, and how well each does live."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import click

from trainer.commands import options
from trainer.commands.kafka import connect
from worker.core.quality import Tally
from worker.core.release import Pointer, numbers
from worker.errors import ReleaseRefused
from worker.kafka.interface import Connection
from worker.topics.quality import read_reports
from worker.topics.releases import CANDIDATE, CHAMPION, ReleaseReader, point


@click.command()
@options.topic_of_releases
def promote(kafka: str, topic: str) -> None:
    """Make the candidate the champion: it serves everyone, within seconds."""
    connection = connect(kafka)
    _, candidate = _pointers(connection, topic)
    if candidate is None:
        raise ReleaseRefused(
            "pointer", f"topic {topic} has no {CANDIDATE}: `nextclick-trainer publish --candidate` makes one"
        )
    number = candidate.release
    point(connection, topic, {CHAMPION: Pointer(number), CANDIDATE: None}, expected={CANDIDATE: number})
    click.echo(f"release {number} is {CHAMPION} in {topic}, and no longer {CANDIDATE}")


@click.command()
@options.topic_of_releases
@click.option(
    "--candidate", "only_candidate", is_flag=True, help="End the experiment of the candidate instead."
)
def rollback(kafka: str, topic: str, *, only_candidate: bool) -> None:
    """Make the release that was champion before the champion again."""
    connection = connect(kafka)
    champion, candidate = _pointers(connection, topic)
    if only_candidate:
        if candidate is None:
            raise ReleaseRefused("pointer", f"topic {topic} has no {CANDIDATE}")
        point(connection, topic, {CANDIDATE: None}, expected={CANDIDATE: candidate.release})
        click.echo(f"release {candidate.release} is no longer {CANDIDATE} in {topic}")
        return
    if champion is None or champion.previous is None:
        raise ReleaseRefused("pointer", f"topic {topic} knows no release that was {CHAMPION} before")
    previous = champion.previous
    point(connection, topic, {CHAMPION: Pointer(previous)}, expected={CHAMPION: champion.release})
    click.echo(f"release {previous} is {CHAMPION} in {topic} again, release {champion.release} no longer")


@click.command()
@options.topic_of_releases
@click.option("--quality", default="nextclick.quality", help="Topic of live quality.")
@click.option("--group", help="Consumer group whose workers count. [default: all]")
def releases(kafka: str, topic: str, quality: str, group: str | None) -> None:
    """List the releases, whom they serve, and how often users clicked on their lists.

    Live figures are sums over the reports that retention has left in the topic of live quality.
    """
    connection = connect(kafka)
    with ReleaseReader(connection, topic=topic).opened() as reader:
        reader.read()
        pointers = {name: reader.readable_pointer(name) for name in (CANDIDATE, CHAMPION)}
        roles = {pointer.release: name for name, pointer in pointers.items() if pointer}
        there = numbers(reader.held())
    tallies: dict[int, Tally] = {}
    for report in read_reports(connection, quality):
        if group in (None, report.group):
            for number, tally in report.tallies.items():
                tallies.setdefault(number, Tally()).add(tally)
    click.echo(
        _line(["release", "role", "lists", "clicks", "hit rate", "MRR", "cold", "popular hit", "popular MRR"])
    )
    for number in there:
        click.echo(_line([str(number), roles.get(number, ""), *_live(tallies.get(number, Tally()))]))


def _pointers(connection: Connection, topic: str) -> tuple[Pointer | None, Pointer | None]:
    with ReleaseReader(connection, topic=topic).opened() as reader:
        reader.read()
        return reader.readable_pointer(CHAMPION), reader.readable_pointer(CANDIDATE)


def _live(tally: Tally) -> list[str]:
    def share(count: float, of: int, form: Callable[[float], str]) -> str:
        return form(count / of) if of else "-"

    rate, rank = "{:.2%}".format, "{:.4f}".format
    return [
        f"{tally.lists:,}",
        f"{tally.clicks:,}",
        share(tally.hits, tally.clicks, rate),
        share(tally.reciprocal_ranks, tally.clicks, rank),
        share(tally.cold, tally.lists, rate),
        share(tally.popular_hits, tally.clicks, rate),
        share(tally.popular_reciprocal_ranks, tally.clicks, rank),
    ]


def _line(cells: Iterable[Any]) -> str:
    return "".join(str(cell).rjust(13) for cell in cells)
