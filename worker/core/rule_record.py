"""Decoding of the rules topic: turns a record into a rule, or the reason why it has none.

>>> decoder = RuleDecoder()
>>> decoder.decode(b'{"exclude": {"tags": ["adult"]}, "placements": ["home"]}', b"decent")[1].action
Exclude(tags=('adult',))
>>> decoder.decode(b'{"exclude": {"tags": ["old"]}, "untill": 1800000000}', b"old").why
"unknown field 'untill'; did you mean 'until'?"
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping
from decimal import Decimal
from math import isfinite
from typing import Any, Final

from worker.core import paths
from worker.core.envelopes import NO_ATTRIBUTES
from worker.core.event import MAX_BYTES
from worker.core.formats import parse_plain
from worker.core.ids import MAX_ID_BYTES, IdRule, text_of
from worker.core.paths import Headers
from worker.core.reasons import BadRecord, Reason, Undecodable
from worker.core.rules import Action, Allow, Boost, Exclude, Limit, Pin, Rule, RuleChange
from worker.core.times import EARLIEST_MS, TimeRule

MAX_PLACE: Final = 1_000
"""The last place that an item can be pinned to; no list is longer."""

_KEY: Final = paths.parse(paths.KEY_FIELD)

_ACTIONS: Final[Mapping[str, tuple[str, ...]]] = {
    "exclude": ("tags",),
    "allow": ("tags",),
    "boost": ("tags", "factor"),
    "pin": ("item_id", "place"),
    "cap": ("prefix", "at_most"),
}
"""By action: its fields, all of which it needs."""

_FIELDS: Final = ("from", "until", "placements", "last_event_tags", *_ACTIONS)


class _Wrong(Exception):
    """Raised if a document is not a rule; the text says why. Never leaves the decoder."""


class RuleDecoder:
    """A decoder of rules, in JSON or MessagePack. Ids and times are read as those of clicks."""

    def __init__(
        self, *, ids: IdRule | None = None, times: TimeRule | None = None, max_bytes: int = MAX_BYTES
    ) -> None:
        self._ids, self._times = ids or IdRule(), times or TimeRule()
        self._max_bytes = max_bytes

    def decode(self, value: bytes | None, key: bytes | None, headers: Headers = ()) -> RuleChange | BadRecord:
        """Return the name and the rule, None if the rule is gone; or why the record is refused.

        Bad bytes never raise an error.
        """
        try:
            name = self._name(key, headers)
            return name, None if value is None else self._rule(self._document(value, headers))
        except Undecodable as bad:
            return BadRecord(bad.reason)
        except _Wrong as wrong:
            return BadRecord(Reason.INVALID_RULE, str(wrong))

    def _name(self, key: bytes | None, headers: Headers) -> str:
        found = paths.fetch(_KEY, None, key=key, headers=headers, attributes=NO_ATTRIBUTES)
        return self._ids.read(found, exact=True)

    def _document(self, value: bytes, headers: Headers) -> Mapping[str, Any]:
        if not value:
            raise Undecodable(Reason.NULL_VALUE)
        if len(value) > self._max_bytes:
            raise Undecodable(Reason.TOO_LARGE)
        document = parse_plain(value, headers, exact=True)
        if type(document) is not dict:
            raise Undecodable(Reason.NOT_A_MAP)
        return document

    def _rule(self, document: Mapping[str, Any]) -> Rule:
        _refuse_unknown(document, _FIELDS, "")
        begin, end = (self._time(document, name) for name in ("from", "until"))
        # A 0 that means "no end" must not end the rule.
        if end is not None and end < EARLIEST_MS:
            raise _Wrong(f"until is {document['until']}, which is before the year 2000; leave it out")
        if begin is not None and end is not None and end <= begin:
            raise _Wrong(f"until is {document['until']}, which is not after from, {document['from']}")
        return Rule(
            self._action(document),
            begin,
            end,
            placements=_texts(document, "placements"),
            last_event_tags=_texts(document, "last_event_tags"),
        )

    def _action(self, document: Mapping[str, Any]) -> Action:
        given = [name for name in _ACTIONS if document.get(name) is not None]
        if len(given) != 1:
            raise _Wrong(f"a rule has one of {', '.join(_ACTIONS)}; this one has {given or 'none of them'}")
        action = given[0]
        fields = document[action]
        if type(fields) is not dict:
            raise _Wrong(f"{action} is {_shown(fields)}; it must be a map of {', '.join(_ACTIONS[action])}")
        _refuse_unknown(fields, _ACTIONS[action], f"{action}.")
        for name in _ACTIONS[action]:
            if fields.get(name) in (None, [], ""):
                raise _Wrong(f"{action}.{name} is missing or empty")
        if action == "exclude":
            return Exclude(_texts(fields, "tags"))
        if action == "allow":
            return Allow(_texts(fields, "tags"))
        if action == "boost":
            return Boost(_texts(fields, "tags"), _factor(fields["factor"]))
        if action == "pin":
            return Pin(self._item_id(fields["item_id"]), _whole(fields, "place", MAX_PLACE))
        return Limit(_text(fields["prefix"], "prefix"), _whole(fields, "at_most", MAX_PLACE))

    def _item_id(self, found: Any) -> str:
        try:
            return self._ids.read(found, exact=True)
        except Undecodable as bad:
            raise _Wrong(f"item_id is {_shown(found)}, which is not an id: {bad.reason}") from None

    def _time(self, document: Mapping[str, Any], name: str) -> int | None:
        found = document.get(name)
        if found is None:
            return None
        try:
            return self._times.milliseconds(found, -1)
        except Undecodable as bad:
            raise _Wrong(f"{name} is {_shown(found)}, which is not a time: {bad.reason}") from None


def _refuse_unknown(document: Mapping[str, Any], known: Collection[str], prefix: str) -> None:
    """Raise an error for a misspelled field, which would change what the rule means."""
    for name in document:
        if name not in known:
            near = difflib.get_close_matches(str(name), known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known)}"
            raise _Wrong(f"unknown field {prefix + str(name)!r}; {hint}")


def _texts(document: Mapping[str, Any], name: str) -> tuple[str, ...]:
    """Return the different texts in a list, or a text that stands alone; none if the field is absent."""
    found = document.get(name)
    if found is None:
        return ()
    texts = found if type(found) is list else [found]
    if not texts:
        raise _Wrong(f"{name} is an empty list; leave it out, or name at least one")
    return tuple(dict.fromkeys(_text(one, name) for one in texts))


def _text(found: Any, name: str) -> str:
    """Return a text in the form in which the tags of items are."""
    try:
        text = text_of(found, exact=True)
    except Undecodable as bad:
        raise _Wrong(f"{name} has {_shown(found)}, which is not a text: {bad.reason}") from None
    if not text or len(text.encode()) > MAX_ID_BYTES:
        raise _Wrong(f"{name} has {_shown(text)}; a text has 1 to {MAX_ID_BYTES} bytes")
    return text


def _factor(found: Any) -> float:
    if type(found) in (int, float, Decimal):
        try:
            factor = float(found)
        except OverflowError:
            factor = 0.0
        if factor > 0 and isfinite(factor):
            return factor
    raise _Wrong(f"factor is {_shown(found)}; it must be a number above 0, such as 2, or 0.5 to lower scores")


def _whole(fields: Mapping[str, Any], name: str, most: int) -> int:
    found = fields[name]
    if type(found) is not int or not 1 <= found <= most:
        raise _Wrong(f"{name} is {_shown(found)}; it must be a whole number from 1 to {most}")
    return found


def _shown(found: Any) -> str:
    return repr(found)[:80]
