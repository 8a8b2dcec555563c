"""`forget`: request the deletion of a user's data."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import closing
from functools import partial
from typing import Any

import click

from worker import commandline
from worker.commandline import Command, Span, config_options, json_option, option, show
from worker.commands import connect, numbers, spellings
from worker.config import Settings
from worker.topics import needs, state_changes, state_scan


@click.command(cls=Command)
@config_options
@option("--wait", type=Span(), help="Maximum time to wait for the deletion, such as 30s. [default: no wait]")
@click.argument("user_id")
@json_option
def forget(wait: float | None, user_id: str, *, as_json: bool) -> None:
    """Request that the workers delete all data that they have derived from a user's clicks up to now.

    With --wait, the exit code is 1 if the deletion is not complete in time; the request stays in force.
    """
    settings = commandline.settings(Settings)
    connection, state = connect(settings), settings.topics.state
    before = _ends(settings)
    say = partial(click.echo, err=as_json)
    requests, pending = dict[str, dict[int, int]](), dict[str, set[int]]()
    for spelling in spellings(user_id):
        requests[spelling] = asked = state_changes.ask_to_forget(
            connection, spelling, before, topic=state, asked_at=round(time.time() * 1000)
        )
        say(f"requested the deletion of {spelling} in {numbers(sorted(asked))} of {state}")
    say(_outlook(settings, set(before)))
    if wait is not None:
        deadline = time.monotonic() + wait
        for spelling, asked in requests.items():
            looks = state_changes.pending(connection, spelling, asked, topic=state)
            pending[spelling] = left_after(looks, asked, max(0.0, deadline - time.monotonic()), say)
    if as_json:
        show(_facts(state, requests, pending), as_json=True)
    sys.exit(any(pending.values()))


def _facts(
    topic: str, requests: Mapping[str, dict[int, int]], pending: Mapping[str, set[int]]
) -> dict[str, Any]:
    """Return the result for JSON output. `pending` is null if the command did not wait."""
    return {
        "topic": topic,
        "requests": [
            {
                "user_id": spelling,
                "partitions": sorted(asked),
                "pending": sorted(pending[spelling]) if spelling in pending else None,
            }
            for spelling, asked in requests.items()
        ],
    }


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


def left_after(
    looks: Iterator[set[int]], asked: Collection[int], seconds: float, say: Callable[[str], None]
) -> set[int]:
    """Return the partitions where the request is pending after `seconds`, or earlier if there are none.

    Each check takes the next item of `looks`: the set of partitions where the request is still pending.
    """
    deadline, left = time.monotonic() + seconds, set(asked)
    for found in looks:
        for partition in sorted(left - found):
            say(f"deleted in partition {partition}")
        left = found
        if not left or time.monotonic() >= deadline:
            break
    if left:
        say(f"still pending after {seconds:g} s in {numbers(sorted(left))}")
    return left
