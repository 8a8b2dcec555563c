"""`reset`: start again if states, offsets and clicks contradict each other."""

from __future__ import annotations

import time
from contextlib import closing
from typing import Final, Literal

import click

from worker import commandline
from worker.commandline import Command, config_options, json_option, show
from worker.commands import connect, numbers
from worker.config import Settings
from worker.errors import NextclickError, StateRefused
from worker.topics import needs, state_changes, state_scan
from worker.topics.state_changes import Beginning
from worker.topics.state_scan import Contents, Marks
from worker.topics.states import FORGET, REPLAY, TopicIds

At = Literal["committed", "earliest", "latest", "saved"]

_SETTLE_SECONDS: Final = 20.0
"""Maximum wait for the end of the last transaction of a killed worker."""


@click.command(cls=Command)
@config_options
@click.option(
    "--at",
    type=click.Choice(["committed", "earliest", "latest", "saved"]),
    required=True,
    help="Where reading resumes. `committed`: at the group's committed offset. `earliest`: at the earliest "
    "click. `latest`: at the next click. These three empty the states. `saved`: at the offset up to which "
    "states are saved; these states are kept.",
)
@click.option(
    "--partition", "only", type=int, multiple=True, help="Partition to reset; may be repeated. Default: all."
)
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@json_option
def reset(at: At, only: tuple[int, ...], yes: bool, *, as_json: bool) -> None:
    """Reset states and offsets that contradict each other or the clicks.

    No worker of the group may be running. All partitions change in one transaction. Deletion requests stay
    in force.
    """
    settings = commandline.settings(Settings)
    connection, topics = connect(settings), settings.topics
    partitions = _partitions(settings, only)
    _refuse_while_it_runs(settings)
    _settle(settings, partitions)
    held = state_scan.contents(connection, topic=topics.state)
    marks = state_scan.marks(connection, topic=topics.clicks, group=settings.group, partitions=partitions)
    ids = _topic_ids(settings)
    plans = [
        plan(number, at, held.get(number, Contents()), marks[number], clicks_id=ids.clicks)
        for number in partitions
    ]
    for _, text in plans:
        click.echo(text, err=as_json)
    beginnings = [beginning for beginning, _ in plans if beginning is not None]
    facts = {
        "topic": topics.state,
        "reset": [{"partition": one.partition, "offset": one.offset} for one in beginnings],
    }
    if not beginnings:
        show(facts, "nothing to do", as_json=as_json)
        return
    if not yes:
        click.confirm("Reset?", abort=True, err=as_json)
    _refuse_while_it_runs(settings)
    state_changes.reset(
        connection,
        beginnings,
        group=settings.group,
        topic=topics.state,
        clicks=topics.clicks,
        ids=ids,
        timeout_ms=settings.kafka.transaction_timeout_ms,
    )
    show(facts, "done", as_json=as_json)


def plan(
    number: int, at: At, held: Contents, marks: Marks, *, clicks_id: str = ""
) -> tuple[Beginning | None, str]:
    """Return where a partition resumes under `--at` (None: no change), and a sentence that describes it.

    `clicks_id` is the id of the current clicks topic. Raises StateRefused if `--at` cannot be used.
    """
    where = f"partition {number}"
    another = held.replay is not None and not held.replay.is_of(clicks_id)
    if at == "saved" and held.replay is None:
        return None, f"{where}: nothing is saved; no change"
    if another and at == "committed":
        raise StateRefused(
            f"{where}: the clicks topic was deleted and created again after the states were saved, so the "
            "committed offset may belong to the old topic. Nothing was changed; --at saved starts at the "
            "first click and keeps the states, --at earliest starts there with empty states"
        )
    if another and at == "saved":
        return _kept(number, held, marks)
    offset, why = _offset(at, held, marks)
    if offset > marks.end:
        raise StateRefused(
            f"{where}: offset {offset}, {why}, is beyond the end of the clicks, {marks.end}. Nothing was "
            "changed; --at earliest starts at the first click, --at latest at the next"
        )
    if at == "saved":
        text = f"{where}: keeps {_what(held)}, continues at offset {offset}, {why}"
        return Beginning(number, offset, release=None), text
    dropped = [key for key in held.sizes if not _stays(key, held)]
    text = f"{where}: drops {_what(held)}, continues at offset {offset}, {why}{_lost_requests(held)}"
    return Beginning(number, offset, dropped, requests=held.requests if another else {}), text


def _offset(at: At, held: Contents, marks: Marks) -> tuple[int, str]:
    """Return the offset that `--at` names, and a description of it."""
    if at == "saved" and held.replay is not None:
        if marks.begin > held.replay.offset:
            was = f"the states are saved up to {held.replay.offset}"
            return marks.begin, f"the first click still in the topic ({was})"
        return held.replay.offset, "up to which the states are saved"
    if at == "committed" and marks.committed is not None:
        if marks.begin > marks.committed:
            return marks.begin, f"the first click still in the topic (the group committed {marks.committed})"
        return marks.committed, "the group's committed offset"
    return (marks.end, "the next click") if at == "latest" else (marks.begin, "the first click")


def _kept(number: int, held: Contents, marks: Marks) -> tuple[Beginning, str]:
    """Return where a partition resumes if it keeps its states after the clicks topic was created again."""
    if held.unreadable:
        key, why = next(iter(held.unreadable.items()))
        raise StateRefused(
            f"partition {number}: {key.decode(errors='replace')} cannot be read: {why}. Nothing was changed; "
            "--at earliest starts at the first click with empty states"
        )
    release = held.replay.release if held.replay else 0
    text = (
        f"partition {number}: keeps {_what(held)}, continues at offset {marks.begin}, the first click of the "
        "new topic"
    )
    return Beginning(number, marks.begin, release=release, blocks_anew=True, requests=held.requests), text


def _stays(key: bytes, held: Contents) -> bool:
    return key == REPLAY.encode() or (key.startswith(FORGET.encode()) and key not in held.unreadable)


def _lost_requests(held: Contents) -> str:
    users = [
        key.decode(errors="replace").removeprefix(FORGET)
        for key in held.unreadable
        if key.startswith(FORGET.encode())
    ]
    if not users:
        return ""
    return (
        f". The request to delete {', '.join(users)} cannot be read and is dropped, too; "
        "repeat it with `nextclick-worker forget`"
    )


def _what(held: Contents) -> str:
    users = len(set().union(*held.users.values()))
    unreadable = f", {len(held.unreadable)} records that cannot be read" if held.unreadable else ""
    return f"the states of {users} users{unreadable}"


def _partitions(settings: Settings, only: tuple[int, ...]) -> list[int]:
    topics = settings.topics
    needs.at_least_as_many(connect(settings), topics.state, topics.clicks)
    count = needs.counts(connect(settings), [topics.clicks])[topics.clicks]
    unknown = sorted(set(only) - set(range(count)))
    if unknown:
        raise click.BadParameter(f"topic {topics.clicks} has {count} partitions, but no {numbers(unknown)}")
    return sorted(set(only)) or list(range(count))


def _topic_ids(settings: Settings) -> TopicIds:
    topics = settings.topics
    with closing(connect(settings).admin()) as admin:
        described = admin.describe([topics.clicks, topics.releases])
    return TopicIds(described[topics.clicks].id, described[topics.releases].id)


def _refuse_while_it_runs(settings: Settings) -> None:
    with closing(connect(settings).admin()) as admin:
        members = admin.members(settings.group, topic=settings.topics.clicks)
    if members:
        names = ", ".join(f"{member.client_id} at {member.host}" for member in members)
        raise StateRefused(
            f"group {settings.group} has members: {names}. Stop all its workers first. A killed worker "
            "remains a member until its session times out, after "
            f"{settings.kafka.session_timeout_ms / 1000:g} s"
        )


def _settle(settings: Settings, partitions: list[int]) -> None:
    """Wait until no open transaction can still commit offsets. Raises NextclickError after a time limit."""
    deadline = time.monotonic() + _SETTLE_SECONDS
    while open_ones := state_scan.unsettled(
        connect(settings), topic=settings.topics.clicks, group=settings.group, partitions=partitions
    ):
        if time.monotonic() > deadline:
            raise NextclickError(f"a transaction in {numbers(open_ones)} is still open; retry in a minute")
