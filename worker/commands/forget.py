"""`forget`: request the deletion of a user's data."""

from __future__ import annotations

import sys
import time
from collections.abc import Collection, Iterator
from contextlib import closing

import click

from worker import commandline
from worker.commandline import Command, Span, config_options, option
from worker.commands import connect, numbers, spellings
from worker.config import Settings
from worker.topics import needs, state_changes, state_scan


@click.command(cls=Command)
@config_options
@option("--wait", type=Span(), help="Maximum time to wait for the deletion, such as 30s. [default: no wait]")
@click.argument("user_id")
def forget(wait: float | None, user_id: str) -> None:
    """Request that the workers delete all data that they have derived from a user's clicks up to now.

    With --wait, the exit code is 1 if the deletion is not complete in time; the request stays in force.
    """
    settings = commandline.settings(Settings)
    connection, state = connect(settings), settings.topics.state
    before = _ends(settings)
    requests = {}
    for spelling in spellings(user_id):
        requests[spelling] = asked = state_changes.ask_to_forget(
            connection, spelling, before, topic=state, asked_at=round(time.time() * 1000)
        )
        click.echo(f"requested the deletion of {spelling} in {numbers(sorted(asked))} of {state}")
    click.echo(_outlook(settings, set(before)))
    if wait is not None:
        deadline, fulfilled = time.monotonic() + wait, True
        for spelling, asked in requests.items():
            looks = state_changes.pending(connection, spelling, asked, topic=state)
            fulfilled &= done(looks, asked, max(0.0, deadline - time.monotonic()))
        sys.exit(not fulfilled)


def _ends(settings: Settings) -> dict[int, int]:
    """Return the end of each partition of the clicks; a deletion request does not cover later clicks."""
    connection, topics = connect(settings), settings.topics
    needs.at_least_as_many(connection, topics.state, topics.clicks)
    count = needs.counts(connection, [topics.clicks])[topics.clicks]
    marks = state_scan.marks(connection, topic=topics.clicks, group=settings.group, partitions=range(count))
    return {partition: one.end for partition, one in marks.items()}


def _outlook(settings: Settings, partitions: set[int]) -> str:
    with closing(connect(settings).admin()) as admin:
        members = admin.members(settings.group, topic=settings.topics.clicks)
    alone = sorted(partitions - {partition for member in members for partition in member.partitions})
    what = (
        "The worker that serves a partition drops the user from memory at once, and from all blocks with the "
        "next flush; compaction removes older copies from the log. `nextclick-worker user` shows what is left"
    )
    if not members:
        return (
            f"{what}. No worker of group {settings.group} is running; the next worker that starts will "
            "delete the data"
        )
    if alone:
        return (
            f"{what}. No worker serves {numbers(alone)} at present; the next worker that does will delete "
            "the data there"
        )
    return what


def done(looks: Iterator[set[int]], asked: Collection[int], seconds: float) -> bool:
    """Return whether all partitions fulfil the request within `seconds`; check at least once.

    Each check takes the next item of `looks`: the set of partitions where the request is still pending.
    """
    deadline, left = time.monotonic() + seconds, set(asked)
    for found in looks:
        for partition in sorted(left - found):
            click.echo(f"deleted in partition {partition}")
        left = found
        if not left or time.monotonic() >= deadline:
            break
    if left:
        click.echo(f"still pending after {seconds:g} s in {numbers(sorted(left))}")
    return not left
