"""`rules`: show the rules, which of them are in force, and what they do."""

from __future__ import annotations

import sys
import urllib.request
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from http.client import HTTPException
from typing import Any, Final

import click
import numpy as np
from prometheus_client.parser import text_string_to_metric_families

from worker import commandline
from worker.clock import Clock
from worker.commandline import OUTPUT, Command, config_options, json_option, option
from worker.commands import champion, connect, known_items, time_text, to_json
from worker.config import Settings
from worker.core.availability import Availability
from worker.core.constraints import Constraints
from worker.core.known_items import KnownItems
from worker.core.ranking import NO_ITEM
from worker.core.reasons import BadRecord, Reason
from worker.core.release import Release
from worker.core.rules import Allow, Boost, Exclude, Limit, Pin, Rule
from worker.kafka import history
from worker.kafka.interface import Record
from worker.topics.compacted import decoded

_SECONDS: Final = 5.0
"""Time limit for the answer of a worker."""


@dataclass(slots=True)
class Found:
    """All that the rules topic says: the rules, and the refused records that no good one follows."""

    rules: dict[str, Rule] = field(default_factory=dict)
    refused: list[tuple[Record, BadRecord]] = field(default_factory=list)


@click.command(cls=Command)
@config_options
@option(
    "--worker",
    metavar="URL",
    group=OUTPUT,
    help="Address of a worker, such as http://localhost:9464: also show how often each rule changed a list.",
)
@json_option
def rules(worker: str | None, as_json: bool) -> None:
    """Show the rules, which of them are in force, and how many items they reach.

    Reads the topics of rules and items, and the champion. Exit code 1 if a record of a rule is refused.
    """
    settings = commandline.settings(Settings)
    found = find(settings)
    document = _document(settings, found, _changed(worker) if worker else None)
    click.echo(to_json(document) if as_json else "\n".join(_lines(document)))
    sys.exit(bool(found.refused))


def find(settings: Settings) -> Found:
    """Read the rules topic; nothing is found without one. Raises KafkaAway, NotAllowed, TopicError."""
    found = Found()
    if not settings.topics.rules:
        return found
    decoder = settings.rule_decoder()
    for records in history.read(connect(settings), topic=settings.topics.rules):
        for record in records:
            one = decoded(record, decoder)
            if isinstance(one, Reason):
                one = BadRecord(one)
            if isinstance(one, BadRecord):
                found.refused.append((record, one))
                continue
            name, rule = one
            found.refused = [bad for bad in found.refused if bad[0].key != record.key]
            found.rules.pop(name, None)
            if rule is not None:
                found.rules[name] = rule
    return found


def about(
    rules: Mapping[str, Rule], item_id: str, tags: Collection[str], now_ms: int
) -> Iterator[tuple[str, bool]]:
    """Yield what the rules in force say of an item, and whether no list has it because of that."""
    for name, rule in sorted(rules.items()):
        action, where = rule.action, _where(rule)
        if not rule.is_in_force(now_ms):
            continue
        if isinstance(action, Pin):
            if action.item_id == item_id:
                yield f"pinned to place {action.place} by the rule {name}{where}", False
        elif isinstance(action, Limit):
            if first := next((tag for tag in tags if tag.startswith(action.prefix)), None):
                yield (
                    f"at most {action.at_most} items of {first} in a list by the rule {name}{where}",
                    False,
                )
        elif isinstance(action, Boost):
            if {*tags} & {*action.tags}:
                yield f"boosted by {action.factor:g} by the rule {name}{where}", False
        elif bool({*tags} & {*action.tags}) == isinstance(action, Exclude):
            yield f"left out by the rule {name}{where}", not rule.is_conditional


def _where(rule: Rule) -> str:
    parts = [
        *([f"at the placements {', '.join(rule.placements)}"] if rule.placements else []),
        *([f"after events on items with {', '.join(rule.last_event_tags)}"] if rule.last_event_tags else []),
    ]
    return f", only {' and '.join(parts)}" if parts else ""


def _document(settings: Settings, found: Found, changed: Mapping[str, int] | None) -> dict[str, Any]:
    known, now_ms = known_items(settings) or KnownItems(), Clock().now_ms()
    release, problem = champion(settings)
    constraints = None
    if release is not None:
        constraints = Constraints(release.catalogue, Availability(release))
        constraints.set(found.rules, known)
    return {
        "topic": settings.topics.rules,
        "release": release.number if release else None,
        "problem": problem,
        "compared_lists": None if changed is None else changed.get("", 0),
        "rules": [
            {
                "name": name,
                "in_force": rule.is_in_force(now_ms),
                "action": _action(rule),
                "from_ms": rule.from_ms,
                "until_ms": rule.until_ms,
                "placements": rule.placements,
                "last_event_tags": rule.last_event_tags,
                "items": None
                if constraints is None or release is None
                else _reach(release, constraints, name),
                "changed_lists": None if changed is None else changed.get(name, 0),
            }
            for name, rule in sorted(found.rules.items())
        ],
        "refused": [
            {
                "partition": record.partition,
                "offset": record.offset,
                "key": (record.key or b"").decode(errors="replace"),
                "reason": str(refusal.reason),
                "why": refusal.why,
            }
            for record, refusal in found.refused
        ],
    }


def _action(rule: Rule) -> str:
    action = rule.action
    if isinstance(action, Exclude):
        return f"exclude {', '.join(action.tags)}"
    if isinstance(action, Allow):
        return f"allow only {', '.join(action.tags)}"
    if isinstance(action, Boost):
        return f"boost {', '.join(action.tags)} by {action.factor:g}"
    if isinstance(action, Pin):
        return f"pin {action.item_id} to place {action.place}"
    return f"at most {action.at_most} items with the same {action.prefix}..."


def _reach(release: Release, constraints: Constraints, name: str) -> int:
    """Return how many items of a release have the tags of a rule, or are pinned by it."""
    constraint, action = constraints.together([name]), constraints.rules[name].action
    if isinstance(action, Pin):
        return len(constraint.pins)
    if isinstance(action, Limit):
        return int(np.count_nonzero(constraint.caps[0].groups != NO_ITEM))
    assert constraint.adjust is not None  # noqa: S101  # by its action
    left_out = int(np.count_nonzero(constraint.adjust == -np.inf))
    if isinstance(action, Boost):
        return int(np.count_nonzero(constraint.adjust))
    return left_out if isinstance(action, Exclude) else release.items - left_out


def _changed(url: str) -> dict[str, int]:
    """Ask a worker how many lists each rule changed and, under "", how many were compared."""
    address = f"{url.rstrip('/')}/metrics"
    if not address.startswith(("http://", "https://")):
        raise click.BadParameter(f"{url!r} does not start with http:// or https://")
    try:
        with urllib.request.urlopen(address, timeout=_SECONDS) as answer:  # noqa: S310  # checked above
            text = answer.read().decode()
    except (OSError, ValueError, HTTPException) as error:
        raise click.ClickException(f"no worker answers at {address}: {error}") from None
    return {
        sample.labels.get("rule", ""): int(sample.value)
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name in ("nextclick_rule_lists_changed_total", "nextclick_rule_lists_compared_total")
    }


def _lines(document: dict[str, Any]) -> Iterator[str]:
    topic, every = document["topic"], document["rules"]
    if not topic:
        yield "no rules topic (topics.rules): there are no rules"
        return
    yield f"{len(every)} rules in {topic}, {sum(one['in_force'] for one in every)} in force"
    for one in every:
        yield f"{one['name']}: {one['action']}"
        yield f"  {'; '.join(_facts(one, document))}"
    for one in document["refused"]:
        why = f": {one['why']}" if one["why"] else ""
        place = f"partition {one['partition']}, offset {one['offset']}"
        yield f"refused: {one['key']}, {place}: {one['reason']}{why}"


def _facts(one: dict[str, Any], document: dict[str, Any]) -> Iterator[str]:
    begin, end = (None if one[name] is None else time_text(one[name]) for name in ("from_ms", "until_ms"))
    times = " ".join([*([f"from {begin}"] if begin else []), *([f"until {end}"] if end else [])])
    yield " ".join([*(["in force"] if one["in_force"] else ["not in force"]), *([times] if times else [])])
    if one["placements"]:
        yield f"at the placements {', '.join(one['placements'])}"
    if one["last_event_tags"]:
        yield f"after events on items with {', '.join(one['last_event_tags'])}"
    if one["items"] is None:
        yield document["problem"]
    else:
        yield f"{one['items']:,} items of release {document['release']}"
    if one["changed_lists"] is not None:
        yield f"changed {one['changed_lists']:,} of {document['compared_lists']:,} compared lists"
