"""Items and rules in files, read by the worker's decoders.

A line of JSON is the value of a record in the topic of items or rules. A file has no keys: the item id is the
field `item_id`, unless `item.item_id` names another one, and the name of a rule is the field `name`.

>>> rule_change(RuleDecoder(), b'{"name": "decent", "exclude": {"tags": ["adult"]}}')[1].action
Exclude(tags=('adult',))
>>> rule_change(RuleDecoder(), b'{"exclude": {"tags": ["adult"]}}').why
'name is missing; in a file, each rule has a name'
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import orjson

from trainer.clicks.contents import Contents, contents
from trainer.clicks.damage import reading
from trainer.clicks.tables import is_json, scan_table
from trainer.errors import UnreadableFile
from worker.core import paths
from worker.core.formats import parse_plain
from worker.core.item_record import ItemDecoder
from worker.core.known_items import KnownItems
from worker.core.reasons import BadRecord, Reason, Undecodable
from worker.core.rule_record import RuleDecoder
from worker.core.rules import Rule, RuleChange
from worker.errors import SettingError
from worker.settings.items import Item

_ITEM_ID: Final = "item_id"
_NAME: Final = "name"

_SHOWN_PROBLEMS: Final = 5
"""The number of bad lines that an error describes."""

_SHOWN_LETTERS: Final = 80

_IN_WORDS: Final = {
    Reason.MALFORMED: "it is not JSON, one object on a line",
    Reason.UNKNOWN_FORMAT: "it is not JSON, one object on a line",
    Reason.NOT_A_MAP: "it is not a JSON object",
}


class _Problems:
    """The bad lines of a file."""

    def __init__(self, path: Path, what: str) -> None:
        self._path, self._what = path, what
        self._first: list[str] = []
        self._count = 0

    def add(self, place: str, value: bytes, reason: Reason, why: str = "") -> None:
        """Take note of the bad line at `place`."""
        self._count += 1
        if len(self._first) < _SHOWN_PROBLEMS:
            shown = value[:_SHOWN_LETTERS].decode(errors="replace")
            self._first.append(f"{place}: {why or _IN_WORDS.get(reason, reason)}: {shown}")

    def require_none(self) -> None:
        """Raise UnreadableFile if there are bad lines."""
        if self._count:
            more = self._count - len(self._first)
            every = [*self._first, *([f"{more:,} more"] if more else [])]
            raise UnreadableFile(
                str(self._path), f"not all {self._what} can be read; correct these:\n  " + "\n  ".join(every)
            )


def item_fields(section: Item) -> Item:
    """Return the settings `[item]` for files. Raises SettingError if they name what a file does not have."""
    if paths.parse(section.item_id).root == "key":
        section = section.model_copy(update={_ITEM_ID: _ITEM_ID})
    for name in ("item_id", "available", "title", "price", "valid_from", "valid_until"):
        if paths.parse(found := getattr(section, name)).root in ("key", "header"):
            raise SettingError(
                f"item.{name} is {found}, which a file does not have; set item.{name} to a field"
            )
    return section


def read_items(path: Path, decoder: ItemDecoder, *, now_ms: int, encoding: str = "utf-8") -> KnownItems:
    """Return the items in a file of JSON lines or in a table, as they are known at a time.

    The last description of an item counts. Raises UnreadableFile, with the bad lines.
    """
    known, problems = KnownItems(), _Problems(path, "items")
    for place, value in _values(path, encoding):
        found = decoder.decode(value, None)
        if isinstance(found, Reason):
            problems.add(place, value, found)
        else:
            known.put([found], now_ms=now_ms)
    problems.require_none()
    return known


def read_rules(path: Path, decoder: RuleDecoder, *, encoding: str = "utf-8") -> dict[str, Rule]:
    """Return the rules in a file of JSON lines, by name. Raises UnreadableFile, with the bad lines."""
    rules, places, problems = dict[str, Rule](), dict[str, str](), _Problems(path, "rules")
    for place, value in _values(path, encoding, only_json=True):
        found = rule_change(decoder, value)
        if isinstance(found, BadRecord):
            problems.add(place, value, *found)
            continue
        name, rule = found
        if name in rules:
            problems.add(
                place, value, Reason.INVALID_RULE, f"the rule {name} is in {places[name]}, too; leave out one"
            )
        elif rule is not None:
            rules[name], places[name] = rule, place
    problems.require_none()
    return rules


def rule_change(decoder: RuleDecoder, value: bytes) -> RuleChange | BadRecord:
    """Return the name and the rule in a line of a file; or why it is refused."""
    try:
        parse_plain(value)
        # Python's own parser, because long integers, which may be ids, must not become floats.
        document = json.loads(value)
    except Undecodable as bad:
        return BadRecord(bad.reason)
    except (ValueError, RecursionError):
        return BadRecord(Reason.MALFORMED)
    if type(document) is not dict:
        return BadRecord(Reason.NOT_A_MAP)
    name = document.pop(_NAME, None)
    if type(name) is not str:
        problem = "is missing" if name is None else f"is {name!r}, which is not a text"
        return BadRecord(Reason.INVALID_RULE, f"{_NAME} {problem}; in a file, each rule has a name")
    return decoder.decode(json.dumps(document).encode(), name.encode())


def _values(path: Path, encoding: str, *, only_json: bool = False) -> Iterator[tuple[str, bytes]]:
    """Yield the place and the value of each line of JSON, or of each row of a table."""
    with reading(path, encoding):
        if not path.is_file():
            raise UnreadableFile(str(path), "it is a folder" if path.is_dir() else "there is no such file")
        found = contents(path, encoding)
        if only_json or _is_lines(found):
            if found.kind != "text":
                raise UnreadableFile(str(path), f"it is {found.kind}; write one JSON object on each line")
            with found.lines() as lines:
                for number, line in enumerate(lines, start=1):
                    if value := line.strip():
                        yield f"line {number:,}", value
            return
        table = scan_table(path, encoding=encoding).frame.collect(engine="streaming")
        for number, row in enumerate(table.iter_rows(named=True), start=1):
            yield f"row {number:,}", _as_json(row)


def _is_lines(found: Contents) -> bool:
    """Return whether a file has lines of JSON: it is neither a table nor one list in JSON."""
    return found.kind == "text" and is_json(found) and found.head.lstrip()[:1] != "["


def _as_json(row: dict[str, Any]) -> bytes:
    try:
        return orjson.dumps(row, default=str)
    except TypeError:  # an integer of more than 64 bits
        return json.dumps(row, default=str).encode()
