"""The part of `evaluate` that measures items and rules from files."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple

import click
import numpy as np
import orjson

from trainer.commands.options import FOLDER
from trainer.commands.tables import show_differences
from trainer.config import TrainerSettings
from trainer.console import Progress
from trainer.dataset.dataset import moment
from trainer.evaluation.compare import to_json
from trainer.evaluation.rule_files import item_fields, read_items, read_rules
from trainer.evaluation.rules import Effect
from worker.commandline import METRICS, all_of, option
from worker.core.catalogue import Catalogue
from worker.core.id_table import NOWHERE
from worker.core.known_items import KnownItems
from worker.core.ranking import NO_ITEM
from worker.core.reasons import Undecodable
from worker.core.release import Release
from worker.core.rule_record import RuleDecoder
from worker.core.rules import Limit, Pin, Rule
from worker.core.times import TimeRule

_SHOWN_NAMES: Final = 10

rule_options = all_of(
    option(
        "--items",
        type=FOLDER,
        group=METRICS,
        metavar="FILE",
        help="File of items, as JSON lines or as a table: compare the lists with those without unavailable "
        "items, instead of with baselines.",
    ),
    option(
        "--rules",
        type=FOLDER,
        group=METRICS,
        metavar="FILE",
        help="File of rules, as JSON lines: compare the lists without and with them. Requires --items.",
    ),
    option(
        "--at",
        group=METRICS,
        metavar="TIME",
        help="Time at which items are available and rules are in force, for all clicks. Default: now.",
    ),
    option(
        "--placement",
        group=METRICS,
        metavar="NAME",
        help="Placement of the lists, for rules with `placements`. Default: none, as after a click.",
    ),
)
"""Options that name items and rules."""


class Known(NamedTuple):
    """The items and rules in files at a time. `rules`: those in force; None: no file of rules is named."""

    items: KnownItems
    rules: Mapping[str, Rule] | None
    at_ms: int
    placement: str
    idle: Mapping[str, Rule]
    """The rules that are not in force."""

    @property
    def what(self) -> str:
        """The things whose effect is measured."""
        return "items" if self.rules is None else "rules"

    def notes(self, catalogue: Catalogue) -> list[str]:
        """Return notes on rules that have no effect here, or less than their author may think."""
        rules, tags = self.rules or {}, {*self.items.tag_names}
        found = {
            f"not in force at {moment(self.at_ms)}, choose another time with --at": [*self.idle],
            "at other placements only, name one with --placement": [
                name for name, one in rules.items() if one.placements and self.placement not in one.placements
            ],
            "tags that no item has": [
                f"{tag} ({name})" for name, one in rules.items() for tag in _tags_of_none(one, tags)
            ],
            "pinned items that the release does not know": [
                f"{one.action.item_id} ({name})"
                for name, one in rules.items()
                if isinstance(one.action, Pin) and catalogue.indexes([one.action.item_id])[0] == NO_ITEM
            ],
        }
        return [f"{note}: {_some(those)}" for note, those in found.items() if those]


def known(
    chosen: TrainerSettings,
    *,
    items: Path | None,
    rules: Path | None,
    at: str | None,
    placement: str | None,
    exact: bool,
) -> Known | None:
    """Return the items and rules that the options name; None if they name none.

    Raises click.UsageError for options that do not fit together, and UnreadableFile for a bad file.
    """
    if items is None:
        if rules:
            raise click.UsageError("--rules is given without --items; rules name items by tags, so give both")
        if at is not None or placement is not None:
            raise click.UsageError("--at and --placement have no effect without --items; leave them out")
        return None
    if placement and exact:
        raise click.UsageError("--exact makes the lists after clicks, which have no placement; leave one out")
    mapping, encoding, placement = chosen.click, chosen.files.encoding, placement or ""
    at_ms = _time(at, mapping.times())
    decoder = item_fields(chosen.item).decoder(mapping)
    found = read_items(items, decoder, now_ms=at_ms, encoding=encoding)
    if rules is None:
        return Known(found, None, at_ms, placement, {})
    rule_decoder = RuleDecoder(ids=mapping.ids(), times=mapping.times(), max_bytes=mapping.max_bytes)
    idle = read_rules(rules, rule_decoder, encoding=encoding)
    in_force = {name: idle.pop(name) for name, rule in [*idle.items()] if rule.is_in_force(at_ms)}
    return Known(found, in_force, at_ms, placement, idle)


def tell(one: Known, release: Release, teller: Progress) -> None:
    """Say what was read from the files."""
    items = one.items
    described = int(np.count_nonzero(items.places_of(release.catalogue) != NOWHERE))
    teller.say(
        f"read {len(items):,} items, {items.unavailable_count:,} of them unavailable; they describe "
        f"{described:,} of the {release.items:,} items of the release"
    )
    if one.rules is not None:
        teller.say(f"read {len(one.rules) + len(one.idle):,} rules, {len(one.rules):,} of them in force")
    for note in one.notes(release.catalogue):
        teller.say(note)


def show(effect: Effect, one: Known, top: int, *, as_json: bool) -> None:
    """Print what items or rules change."""
    by, names = f"recall_at_{top}", ("the release without them", f"the release with {one.what}")
    if not as_json:
        show_differences([*effect.differences.values()], "without", f"with {one.what}")
        click.echo(effect.sentence())
        click.echo(effect.differences[by].sentence(*names))
        return
    document = to_json(effect.differences, by, a=names[0], b=names[1]) | effect.to_json()
    about = {
        "at": moment(one.at_ms),
        "items": len(one.items),
        "unavailable_items": one.items.unavailable_count,
    }
    if one.rules is not None:
        about |= {"rules_in_force": [*one.rules], "rules_not_in_force": [*one.idle]}
    click.echo(orjson.dumps(document | about, option=orjson.OPT_INDENT_2))


def _time(at: str | None, times: TimeRule) -> int:
    """Return the time in the option --at, in milliseconds; by default, now. Raises click.UsageError."""
    if at is None:
        return round(datetime.now(UTC).timestamp() * 1000)
    try:
        return times.milliseconds(at, -1)
    except Undecodable:
        raise click.UsageError(f"--at is {at!r}; it must be a time like 2026-09-13, or unix time") from None


def _tags_of_none(rule: Rule, tags: Collection[str]) -> list[str]:
    """Return the tags, and the prefix of tags, in a rule that are not among `tags`."""
    action, named = rule.action, [*rule.last_event_tags]
    if isinstance(action, Limit):
        named += [] if any(tag.startswith(action.prefix) for tag in tags) else [action.prefix]
    elif not isinstance(action, Pin):
        named += action.tags
    return [tag for tag in named if tag not in tags]


def _some(names: Sequence[str]) -> str:
    more = len(names) - _SHOWN_NAMES
    return ", ".join(names[:_SHOWN_NAMES]) + (f" and {more:,} more" if more > 0 else "")
