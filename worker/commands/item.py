"""`item`: show what is known of an item, and why it is or is not recommended."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import click

from worker import commandline
from worker.clock import Clock
from worker.commandline import Command, config_options, json_option
from worker.commands import champion, connect, item_decoder, time_text, to_json
from worker.commands.rules import about, find
from worker.config import Settings
from worker.core.ids import canonical
from worker.core.known_items import Change, Item, KnownItems
from worker.core.ranking import NO_ITEM
from worker.core.reasons import Reason
from worker.core.release import Release
from worker.kafka import history
from worker.kafka.interface import Record
from worker.topics.compacted import decoded


@dataclass(slots=True)
class _Trace:
    """The records of one item: the last good one, and the bad ones after it."""

    change: Change | None = None
    record: Record | None = None
    refused: list[tuple[Record, Reason]] = field(default_factory=list)


@click.command(cls=Command)
@config_options
@json_option
@click.argument("item_id")
def item(as_json: bool, item_id: str) -> None:
    """Show what is known of an item, and why it is recommended or not.

    Reads the whole items topic, if there is one, the rules, and the champion. Exit code 1 if nothing is
    known of the item.
    """
    settings = commandline.settings(Settings)
    item_id = canonical(item_id) or item_id
    document = _document(settings, item_id, _look_for(settings, item_id))
    click.echo(to_json(document) if as_json else _text(document))
    sys.exit(not (document["record"] or document["refused"] or document["in_catalogue"]))


def _look_for(settings: Settings, item_id: str) -> _Trace:
    trace = _Trace()
    if not settings.topics.items:
        return trace
    decoder = item_decoder(settings)
    for records in history.read(connect(settings), topic=settings.topics.items):
        for record in records:
            if decoder.item_id(record.value, record.key, record.headers) != item_id:
                continue
            found = decoded(record, decoder)
            if isinstance(found, Reason):
                trace.refused.append((record, found))
            else:
                trace.change, trace.record, trace.refused = found, record, []
    return trace


def _document(settings: Settings, item_id: str, trace: _Trace) -> dict[str, Any]:
    known, now_ms = KnownItems(), Clock().now_ms()
    known.put([trace.change] if trace.change else [], now_ms=now_ms)
    release, problem = champion(settings)
    in_catalogue = release is not None and bool(release.catalogue.indexes([item_id])[0] != NO_ITEM)
    popular = [*release.manifest.popular] if release else []
    against = [*_against(trace.change, now_ms)]
    rules = [*about(find(settings).rules, item_id, known.tags(item_id), now_ms)]
    against += [text for text, left_out in rules if left_out]
    if release is None:
        against.append(problem)
    elif not in_catalogue:
        against.append(f"release {release.number}, the champion, does not know it: train on newer clicks")
    return {
        "item_id": item_id,
        "topic": settings.topics.items,
        "record": _described(trace),
        "refused": [{**_place(record), "reason": str(reason)} for record, reason in trace.refused],
        "available": known.is_available(item_id),
        "release": release.number if release else None,
        "in_catalogue": in_catalogue,
        "popularity_rank": popular.index(item_id) + 1 if item_id in popular else None,
        "recommended": not against,
        "because": against
        or [*_in_favour(settings, trace, release), *(text for text, left_out in rules if not left_out)],
    }


def _against(change: Change | None, now_ms: int) -> Iterator[str]:
    """Yield the reasons in the item's record why no list has the item."""
    if change is None:
        return
    found = change[1]
    if found is None:
        yield "it is gone: its last record has no value"
        return
    if not found.available:
        yield "its record says that it is not available"
    if found.valid_from_ms is not None and now_ms < found.valid_from_ms:
        yield f"it is not valid before {time_text(found.valid_from_ms)}"
    if found.valid_until_ms is not None and now_ms >= found.valid_until_ms:
        yield f"it is not valid any more since {time_text(found.valid_until_ms)}"


def _in_favour(settings: Settings, trace: _Trace, release: Release | None) -> list[str]:
    why = "available" if trace.change else "available, because no record says otherwise"
    excluded = settings.recommend.exclude_recent
    if excluded is None:
        excluded = release.manifest.exclude_recent if release else 0
    return [why, *([f"left out for users who clicked it among the last {excluded}"] if excluded else [])]


def _described(trace: _Trace) -> dict[str, Any] | None:
    if trace.change is None or trace.record is None:
        return None
    found = trace.change[1]
    return {**_place(trace.record), "gone": found is None, **(found or Item())._asdict()}


def _place(record: Record) -> dict[str, Any]:
    return {"partition": record.partition, "offset": record.offset, "timestamp": record.timestamp}


def _text(document: dict[str, Any]) -> str:
    topic, record = document["topic"], document["record"]
    lines = [document["item_id"]]
    if not topic:
        lines.append("no items topic (topics.items): all items are available")
    elif record is None:
        lines.append(f"no record in {topic}")
    else:
        lines += _record_lines(topic, record)
    lines += [
        f"refused: {one['reason']}, {topic}, {_where(one)}; the record before it stands, if there is one"
        for one in document["refused"]
    ]
    if document["release"] is not None:
        knows = "knows" if document["in_catalogue"] else "does not know"
        rank = document["popularity_rank"]
        popular = f"place {rank} of its popular items" if rank else "not among its popular items"
        lines.append(f"release {document['release']}, the champion, {knows} it; {popular}")
    verdict = "recommended" if document["recommended"] else "not recommended"
    return "\n  ".join([*lines, f"{verdict}: {'; '.join(document['because'])}"])


def _record_lines(topic: str, record: dict[str, Any]) -> Iterator[str]:
    yield f"last record: {topic}, {_where(record)}, {time_text(record['timestamp'])}"
    if record["gone"]:
        yield "gone: the record has no value"
        return
    yield f"available: {'yes' if record['available'] else 'no'}"
    yield f"tags: {', '.join(record['tags']) or 'none'}"
    for name in ("title", "price"):
        if record[name] is not None:
            yield f"{name}: {record[name]}"
    for name in ("valid_from", "valid_until"):
        if record[f"{name}_ms"] is not None:
            yield f"{name}: {time_text(record[f'{name}_ms'])}"


def _where(place: dict[str, Any]) -> str:
    return f"partition {place['partition']}, offset {place['offset']}"
