"""`promote`, `rollback` and `releases`: the pointers to releases, and the live quality of each release."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import takewhile
from typing import Any, Final

import click
import orjson

from trainer.commands import options
from trainer.commands.kafka import connect
from worker.commandline import (
    Command,
    all_of,
    config_options,
    json_option,
    kafka_option,
    option,
    releases_topic_option,
    show,
)
from worker.core.quality import Tally
from worker.core.release import Pointer, numbers
from worker.errors import ReleaseRefused
from worker.kafka.interface import Connection
from worker.topics.quality import read_reports
from worker.topics.releases import CANDIDATE, CHAMPION, ReleaseReader, point

_HISTORY: Final = """\
Each list is judged by the user's next click. Lists for old clicks, as a new group publishes them with
recommend.publish_max_age = 0, count as well. Nobody saw these lists, and a release that was trained on the
same clicks looks better than it is. Compare releases only on clicks made after their publication."""

_where = all_of(kafka_option, releases_topic_option, config_options)


@click.command(cls=Command)
@_where
@json_option
def promote(*, as_json: bool) -> None:
    """Make the candidate the champion: it serves all users within seconds."""
    connection, topic = _place()
    champion, candidate = _pointers(connection, topic)
    if candidate is None:
        raise ReleaseRefused(
            "pointer",
            f"topic {topic} has no {CANDIDATE}; publish one with `nextclick-trainer publish --candidate`",
        )
    number = candidate.release
    point(connection, topic, {CHAMPION: Pointer(number), CANDIDATE: None}, expected={CANDIDATE: number})
    show(
        {"topic": topic, "champion": number, "candidate": None, "was_champion": _number(champion)},
        f"release {number} is {CHAMPION} in {topic}, and no longer {CANDIDATE}",
        as_json=as_json,
    )


@click.command(cls=Command)
@option("--candidate", "only_candidate", is_flag=True, help="Drop the candidate instead; the champion stays.")
@option("--to", "to", type=click.IntRange(min=1), metavar="N", help="Number of the release to return to.")
@_where
@json_option
def rollback(*, only_candidate: bool, to: int | None, as_json: bool) -> None:
    """Make the previous champion the champion again; repeat the command to go further back."""
    connection, topic = _place()
    with ReleaseReader(connection, topic=topic).opened() as reader:
        reader.read()
    champion, candidate = (reader.readable_pointer(name) for name in (CHAMPION, CANDIDATE))
    if only_candidate:
        if to is not None:
            raise click.UsageError(
                "--candidate drops the candidate, --to names a champion; give only one of them"
            )
        if candidate is None:
            raise ReleaseRefused("pointer", f"topic {topic} has no {CANDIDATE}")
        point(connection, topic, {CANDIDATE: None}, expected={CANDIDATE: candidate.release})
        facts = {"champion": _number(champion), "candidate": None, "was_candidate": candidate.release}
        line = f"release {candidate.release} is no longer {CANDIDATE} in {topic}"
        show({"topic": topic, **facts}, line, as_json=as_json)
        return
    if champion is None:
        raise ReleaseRefused("pointer", f"topic {topic} has no {CHAMPION}")
    number, gone = (to, []) if to else _before(reader, champion)
    if number == champion.release:
        raise ReleaseRefused("pointer", f"release {number} is already {CHAMPION} in {topic}")
    pointers: dict[str, Pointer | None] = {CHAMPION: Pointer(number)}
    if candidate is not None and candidate.release == number:
        # Otherwise the release would be compared with itself.
        pointers[CANDIDATE] = candidate = None
    point(connection, topic, pointers, expected={CHAMPION: champion.release})
    again = " again" if number in champion.history else ""
    moved = champion.moved(number)
    further = f"; the next rollback returns to release {moved.previous}" if moved.previous else ""
    facts = {"champion": number, "candidate": _number(candidate), "was_champion": champion.release}
    show(
        {"topic": topic, **facts, "before_it": moved.previous, "deleted": gone},
        *([_deleted(gone)] if gone else []),
        f"release {number} is {CHAMPION} in {topic}{again}, replacing release {champion.release}{further}",
        as_json=as_json,
    )


def _before(reader: ReleaseReader, champion: Pointer) -> tuple[int, list[int]]:
    """Return the newest release of the champion's history that still exists, and the deleted newer ones."""
    gone = list(takewhile(lambda number: not reader.holds(number), champion.history))
    if len(gone) < len(champion.history):
        return champion.history[len(gone)], gone
    why = f"no release was {CHAMPION} before release {champion.release}"
    if gone:
        why = f"the previous champions of release {champion.release} are gone ({_deleted(gone)})"
    others = [str(number) for number in numbers(reader.held()) if number != champion.release]
    choice = f"; name one of the releases {', '.join(others)} with --to" if others else ""
    raise ReleaseRefused("pointer", f"topic {reader.topic}: {why}{choice}")


def _deleted(gone: Iterable[int]) -> str:
    return f"deleted when newer releases were published: release {', '.join(map(str, gone))}"


def _number(pointer: Pointer | None) -> int | None:
    return pointer and pointer.release


@click.command(cls=Command)
@option("--group", help="Consumer group whose workers' reports are used. [default: all groups]")
@_where
@json_option
def releases(group: str | None, as_json: bool) -> None:
    """List the releases with their roles and their live quality.

    The live metrics cover all reports that are still in the quality topic.
    """
    connection, topic = _place()
    with ReleaseReader(connection, topic=topic).opened() as reader:
        reader.read()
        pointers = {name: reader.readable_pointer(name) for name in (CANDIDATE, CHAMPION)}
        roles = {pointer.release: name for name, pointer in pointers.items() if pointer}
        there = numbers(reader.held())
    tallies: dict[int, Tally] = {}
    for report in read_reports(connection, options.settings().topics.quality):
        if group in (None, report.group):
            for number, tally in report.tallies.items():
                tallies.setdefault(number, Tally()).add(tally)
    if as_json:
        facts = [_facts(number, roles.get(number), tallies.get(number, Tally())) for number in there]
        click.echo(orjson.dumps({"topic": topic, "releases": facts}, option=orjson.OPT_INDENT_2))
        return
    click.echo(
        _line(
            [
                "release",
                "role",
                "lists",
                "clicks",
                "hit rate",
                "MRR",
                "fallback",
                "popular hit",
                "popular MRR",
            ]
        )
    )
    for number in there:
        click.echo(_line([str(number), roles.get(number, ""), *_live(tallies.get(number, Tally()))]))
    if any(tally.clicks for tally in tallies.values()):
        click.echo(_HISTORY)


def _place() -> tuple[Connection, str]:
    chosen = options.settings()
    return connect(chosen), chosen.topics.releases


def _facts(number: int, role: str | None, tally: Tally) -> dict[str, Any]:
    return {
        "release": number,
        "role": role,
        "lists": int(tally.lists),
        "clicks": int(tally.clicks),
        "hits": int(tally.hits),
        "reciprocal_ranks": float(tally.reciprocal_ranks),
        "fallback_lists": int(tally.cold),
        "popular_hits": int(tally.popular_hits),
        "popular_reciprocal_ranks": float(tally.popular_reciprocal_ranks),
    }


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
