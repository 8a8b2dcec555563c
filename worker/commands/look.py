"""`user` and `state`: show the contents of the state topic, as of the last flush."""

from __future__ import annotations

import sys
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

import click
import numpy as np

from worker import commandline
from worker.clock import Clock
from worker.commandline import OUTPUT, Command, config_options, json_option, option
from worker.commands import champion, connect, known_items, spellings, to_json
from worker.commands.rules import find as find_rules
from worker.config import Settings
from worker.core.asking import Query, answer
from worker.core.description import described
from worker.core.explaining import explained
from worker.core.known_items import KnownItems
from worker.core.ranking import Indexes
from worker.core.recommender import Recommender
from worker.core.release import Release
from worker.core.states import States
from worker.errors import NextclickError, StateRefused
from worker.settings.fields import duration_text
from worker.topics import needs, state_scan
from worker.topics.state_scan import Contents, Marks, Trace


@click.command(cls=Command)
@config_options
@json_option
@option(
    "--explain",
    is_flag=True,
    group=OUTPUT,
    help="Explain the list: the terms of each score, and the items that were left out.",
)
@click.argument("user_id")
def user(as_json: bool, explain: bool, user_id: str) -> None:
    """Show the data of a user in the state topic, as of the last flush. Exit code 1 if there is no data."""
    settings = commandline.settings(Settings)
    topic, trace = settings.topics.state, Trace()
    for spelling in spellings(user_id):
        if trace := state_scan.look_for(connect(settings), spelling, topic=topic):
            break
    if not trace and trace.unreadable:
        raise StateRefused(
            "\n".join(["these records may hold the user, but cannot be read:", *trace.unreadable])
        )
    document = _user_document(settings, spelling, trace, explain=explain)
    click.echo(to_json(document) if as_json else _user_text(document))
    sys.exit(not trace)


@click.command(cls=Command)
@config_options
@json_option
def state(as_json: bool) -> None:
    """Show the contents of each partition of the state topic, and the number of clicks not yet saved."""
    settings = commandline.settings(Settings)
    connection, topics = connect(settings), settings.topics
    counts = needs.counts(connection, [topics.clicks, topics.state])
    held = state_scan.contents(connection, topic=topics.state)
    marks = state_scan.marks(
        connection, topic=topics.clicks, group=settings.group, partitions=range(counts[topics.clicks])
    )
    rows = [
        _partition(number, held.get(number, Contents()), marks.get(number))
        for number in range(max(counts.values()))
    ]
    unreadable = {number: one.unreadable for number, one in held.items() if one.unreadable}
    document = {
        "topic": topics.state,
        "group": settings.group,
        "partitions": rows,
        "total": _total(rows),
        "unreadable": [
            f"{key.decode(errors='replace')} in partition {number}: {why}"
            for number, keys in unreadable.items()
            for key, why in keys.items()
        ],
    }
    click.echo(to_json(document) if as_json else _state_text(document))


def _user_document(settings: Settings, user_id: str, trace: Trace, *, explain: bool) -> dict[str, Any]:
    release, problem = champion(settings)
    found, block = (
        _current(settings, user_id, trace, release, explain=explain) if trace.copies else (None, None)
    )
    home = (found["partition"], block) if found else None
    return {
        "user_id": user_id,
        "topic": settings.topics.state,
        "found": bool(trace),
        "state": found,
        "block": block,
        "owner": _owner(settings, found["partition"]) if found else None,
        "no_recommendations_because": problem,
        "other_copies": [_place(copy) for copy in trace.copies if (copy.partition, copy.block) != home],
        "copies_not_compacted_yet": [_place(copy) for copy in trace.superseded],
        "deletion_requests": [
            {"partition": partition, "before": request.before, "asked_at": request.asked_at}
            for partition, request in sorted(trace.requests.items())
        ],
        "unreadable": trace.unreadable,
        "no_state_because": [] if found else _absence(settings, trace),
    }


def _absence(settings: Settings, trace: Trace) -> list[str]:
    """Return the possible reasons why a user has no state; the topic does not show which one is true."""
    state, ttl = settings.state, duration_text(settings.state.user_ttl)
    if trace.requests:
        return ["deleted: a deletion request is pending, and the user has not clicked since"]
    deleted = "deleted: by `nextclick-worker forget`"
    limits = [
        *([f"no click for {ttl} (state.user_ttl)"] if state.user_ttl else []),
        *(
            [f"among the longest idle, in a worker with over {state.max_users:,} users (state.max_users)"]
            if state.max_users
            else []
        ),
        *(
            [f"among the longest idle, in a worker with over {state.max_bytes:,} bytes (state.max_bytes)"]
            if state.max_bytes
            else []
        ),
    ]
    evicted = [f"evicted: {', or '.join(limits)}"] if limits else []
    if trace.deleted:
        return [f"{deleted}; the request was fulfilled, and no click has been saved since"]
    if trace.superseded:
        return [*evicted, deleted]
    flush = duration_text(state.flush_interval)
    new = f"never seen: no click of this user before the last flush (state.flush_interval is {flush})"
    return [new, *evicted, deleted]


def _place(copy: state_scan.Copy) -> dict[str, int]:
    return {"partition": copy.partition, "block": copy.block, "state_topic_offset": copy.at}


def _current(
    settings: Settings, user_id: str, trace: Trace, release: Release | None, *, explain: bool
) -> tuple[dict[str, Any] | None, int | None]:
    """Return the user's state that a worker would load, and the number of the block that holds it."""
    size = release.state_size if release else trace.copies[-1].saved.states.hidden.shape[1]
    states, now_ms = States(state_size=size), Clock().now_ms()
    settings.events.prepare(states)
    recommender = None
    if release:
        recommend = settings.recommend
        recommender = Recommender(
            release,
            states,
            exclude_recent=recommend.exclude_recent,
            top=recommend.top,
            ranking=recommend.ranking,
            user_ttl_ms=round(settings.state.user_ttl * 1000),
        )
        items, rules = known_items(settings) or KnownItems(), find_rules(settings).rules
        recommender.listing.availability.only_without(items.unavailable())
        in_force = {name: rule for name, rule in rules.items() if rule.is_in_force(now_ms)}
        recommender.listing.constraints.set(in_force, items)
    for partition, request in trace.requests.items():
        states.forget(partition, user_id, request.before)
    for copy in trace.copies:
        states.load(copy.partition, copy.block, copy.saved)
    partitions = {copy.partition: () for copy in trace.copies}
    found = described(states, recommender, user_id, partitions, now_ms=now_ms)
    if found is None:
        return None, None
    rows = np.array([states.find(found["partition"], user_id)])
    if recommender and explain:
        query = Query(settings.recommend.top)
        (listed,) = answer(recommender, rows, [query], _no_filter, now_ms=now_ms)
        row = int(rows[0])
        found["explained"] = explained(recommender, row, query, listed, _no_filter, now_ms=now_ms)
    del found["saved"]
    return found, int(states.blocks(rows)[0])


def _no_filter(query: Query) -> Indexes:
    raise AssertionError(f"{query} has no filters")


def _owner(settings: Settings, partition: int) -> dict[str, str] | None:
    """Return the member of the consumer group that serves a partition."""
    with closing(connect(settings).admin()) as admin:
        try:
            members = admin.members(settings.group, topic=settings.topics.clicks)
        except NextclickError as error:
            return {"error": str(error)}
    for member in members:
        if partition in member.partitions:
            return {"client_id": member.client_id, "host": member.host, "member_id": member.member_id}
    return None


def _user_text(document: dict[str, Any]) -> str:
    user_id, topic, found = document["user_id"], document["topic"], document["state"]
    if not document["found"]:
        why = document["no_state_because"]
        return "\n  ".join(
            [f"no data of {user_id} in {topic}, as of the last flush; possible reasons:", *why]
        )
    others, waste = document["other_copies"], document["copies_not_compacted_yet"]
    requests = document["deletion_requests"]
    lines = [f"{user_id} in {topic}, as of the last flush"]
    lines += (
        _state_lines(document)
        if found
        else ["no state that a worker would load", *document["no_state_because"]]
    )
    lines += [f"other copies in blocks: {len(others)}{_places(others)}"]
    lines += [f"copies not yet removed by compaction: {len(waste)}{_places(waste)}"]
    lines += [
        f"deletion request: made at {_time(one['asked_at'])}, pending in partition {one['partition']}"
        for one in requests
    ]
    return "\n  ".join(lines + [f"cannot be read: {what}" for what in document["unreadable"]])


def _state_lines(document: dict[str, Any]) -> list[str]:
    found, owner = document["state"], document["owner"]
    partition, made_by, ranked = found["partition"], found["release"], found["recommendations"]
    served = "no worker at present"
    if owner:
        served = (
            owner.get("error") or f"{owner['client_id']} at {owner['host']} (member {owner['member_id']})"
        )
    listed = document["no_recommendations_because"]
    if ranked:
        scores = [f" ({score:.2f})" for score in ranked["scores"]] or [""] * len(ranked["items"])
        best = [f"{item}{score}" for item, score in zip(ranked["items"], scores, strict=True)]
        listed = f"{', '.join(best)}; {ranked['reason']}, release {ranked['release']}"
    bought = [f"bought items, oldest first: {_bought(one)}"] if (one := found.get("bought_items")) else []
    return [
        f"stored in: partition {partition}, block {document['block']}, computed by release {made_by}",
        f"served by: {served}",
        f"clicks: {found['clicks']}; kept of the last session: {found['session_clicks']}",
        f"last click: {_time(found['timestamp']) if found['clicks'] else 'none'}, offset {found['offset']}",
        f"recent items, oldest first: {', '.join(found['recent_items'])}",
        *bought,
        f"recommendations: {listed}",
        *_explained_lines(found.get("explained", {"places": [], "left_out": []})),
    ]


def _explained_lines(explained: dict[str, Any]) -> list[str]:
    lines = []
    for place in explained["places"]:
        if "score" in place:
            terms = (f"{name} {value:.2f}" for name, value in place.items() if name != "item_id")
            lines.append(f"  {place['item_id']}: {', '.join(terms)}")
        else:
            lines.append(f"  {place['item_id']}: popular, rank {place['popular'] or 'below the list'}")
    return lines + [
        f"left out: {one['item_id']}: {', '.join(one['because'])}" for one in explained["left_out"]
    ]


def _bought(items: list[dict[str, Any]]) -> str:
    return ", ".join(f"{one['item_id']} (until {_time(one['excluded_until'])})" for one in items)


def _places(copies: list[dict[str, int]]) -> str:
    places = [f"block {copy['block']} of partition {copy['partition']}" for copy in copies]
    return f" ({', '.join(places)})" if places else ""


def _time(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="seconds")


def _partition(number: int, held: Contents, marks: Marks | None) -> dict[str, Any]:
    live = sum(held.sizes.values())
    replay = held.replay.offset if held.replay else None
    committed = marks.committed if marks else None
    unsaved = None if replay is None or committed is None else max(0, committed - replay)
    return {
        "partition": number,
        "blocks": held.blocks,
        "users": len(set().union(*held.users.values())),
        "live_bytes": live,
        "log_bytes": held.log_bytes,
        "dead_share": _dead_share(live, held.log_bytes),
        "replay_offset": replay,
        "committed_offset": committed,
        "end_offset": marks.end if marks else None,
        "clicks_not_saved": unsaved,
        "deletion_requests": len(held.requests),
    }


def _total(rows: list[dict[str, Any]]) -> dict[str, Any]:
    names = ("blocks", "users", "live_bytes", "log_bytes", "clicks_not_saved", "deletion_requests")
    total: dict[str, Any] = {name: sum(row[name] or 0 for row in rows) for name in names}
    return total | {"dead_share": _dead_share(total["live_bytes"], total["log_bytes"])}


def _dead_share(live_bytes: int, log_bytes: int) -> float:
    return round(1 - live_bytes / log_bytes, 3) if log_bytes else 0.0


def _state_text(document: dict[str, Any]) -> str:
    names = "partition blocks users MB dead replay committed end unsaved deletions"
    header = names.split()
    rows = [*document["partitions"], document["total"] | {"partition": "all"}]
    table = [header, *(_cells(row) for row in rows)]
    widths = [max(len(line[place]) for line in table) for place in range(len(header))]
    lines = ["  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) for line in table]
    title = f"{document['topic']}: the states of group {document['group']}, as of the last flush"
    return "\n".join([title, *lines, *(f"cannot be read: {what}" for what in document["unreadable"])])


def _cells(row: dict[str, Any]) -> list[str]:
    marks = (
        row.get(name) for name in ("replay_offset", "committed_offset", "end_offset", "clicks_not_saved")
    )
    return [
        str(row["partition"]),
        str(row["blocks"]),
        str(row["users"]),
        f"{row['live_bytes'] / 1e6:.1f}",
        f"{row['dead_share']:.0%}",
        *("-" if mark is None else str(mark) for mark in marks),
        str(row["deletion_requests"]),
    ]
