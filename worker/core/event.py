"""Decoding: turns a record into one click, a request, several of them, or the reason why it has none.

>>> decoder = Decoder(Fields())
>>> decoder.decode(b'{"user_id": 7, "item_id": "lamp", "timestamp": 1700000000000}', None, 1700000000500)
Click(user_id='7', item_id='lamp', timestamp_ms=1700000000000, kind=1)
>>> decoder.decode(b'{"user_id": 7}', None, 1700000000500)
<Reason.MISSING_FIELD: 'missing_field'>

A value that is a list has several events; a path such as `items[].id` takes several clicks from one event:

>>> decoder = Decoder(Fields(item_id="items[].id"))
>>> several = decoder.decode(
...     b'{"user_id": 7, "items": [{"id": "lamp"}, {}, {"id": "bulb"}]}', None, 1700000000500
... )
>>> [(part.click.item_id, part.ends_event) for part in several.parts], several.bad
([('lamp', False), ('bulb', True)], [('items[1]', <Reason.MISSING_FIELD: 'missing_field'>)])
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import orjson

from worker.core import envelopes, paths
from worker.core.click import Click, Decoded, Part, Request, Several
from worker.core.envelopes import NO_ATTRIBUTES, Envelope
from worker.core.event_types import REQUEST, SKIP, STEP, EventTypes
from worker.core.formats import Parse, ParseKey, loads_exactly, parse_plain
from worker.core.ids import IdRule, is_rounded
from worker.core.paths import Headers, Path, bytes_text, find
from worker.core.reasons import Inexact, Reason, Skipped, Undecodable
from worker.core.times import TimeRule, joined
from worker.core.where import Clause

MAX_BYTES: Final = 262_144
"""Default for the maximum size of a record's value, in bytes."""

MAX_PARTS: Final = 4_000
"""Maximum number of events and items in one record; all clicks of a record are applied in one batch."""

TWO_FIELDS: Final = " + "
"""The separator between the path of a date and the path of a time of day."""


_new: Final = tuple.__new__
_NO_CLICK: Final = (SKIP, REQUEST)


@dataclass(frozen=True, slots=True)
class Fields:
    """The paths of the fields of a click in a record (`worker.core.paths`).

    `timestamp` may be two paths separated by ` + `: the path of a date, then the path of a time of day.
    """

    user_id: str = "user_id"
    item_id: str = "item_id"
    timestamp: str = "timestamp"


class _Record(NamedTuple):
    """A parsed event and the metadata of its record."""

    document: Any
    key: bytes | None
    timestamp_ms: int
    headers: Headers
    attributes: Mapping[str, Any]
    exact: bool


class Decoder:
    """A stateless decoder of records for one set of field names and rules.

    `where`: the clauses that must hold; events for which a clause fails are skipped. `types`: the types of
    events; None: every event is a click. `parse` parses a record's value, and `parse_key` a key that is a
    document. Raises ValueError if the paths lead through different lists.
    """

    def __init__(
        self,
        fields: Fields,
        *,
        ids: IdRule | None = None,
        times: TimeRule | None = None,
        where: Sequence[Clause] = (),
        types: EventTypes | None = None,
        envelope: Envelope = "none",
        max_bytes: int = MAX_BYTES,
        parse: Parse = parse_plain,
        parse_key: ParseKey | None = None,
    ) -> None:
        self.fields = fields
        self.ids = ids or IdRule()
        self.times = times or TimeRule()
        self._read_id = self.ids.read
        self._read_time: Callable[[Any, int], int] = self.times.read
        self._user = paths.parse(fields.user_id)
        self._item = paths.parse(fields.item_id)
        self._times = [paths.parse(one) for one in fields.timestamp.split(TWO_FIELDS)]
        if len(self._times) > 2:
            raise ValueError(f"timestamp is {fields.timestamp!r}; it must be one or two paths")
        self.where = where
        self.types = types
        self.envelope: Envelope = envelope
        self._max_bytes = max_bytes
        self.parse = parse
        self._parse_key = parse_key
        told_by = [*(clause.path for clause in where), *([types.path] if types else [])]
        every = [self._user, self._item, *self._times, *told_by]
        self._each = _list_of(self._item, every)
        in_value = [self._item, *self._times, *told_by]
        # With `parse_key` the key may be framed, which `_simple_click` cannot read.
        self._user_is_key = fields.user_id == paths.KEY_FIELD and parse_key is None
        self._is_simple = (
            envelope == "none"
            and len(self._times) == 1
            and all(one.root == "value" and one.each is None for one in in_value)
            and (self._user_is_key or self._user.root == "value")
        )
        names = [one.names[0] for one in every[:3] if one.names]
        self._names = names if self._is_simple and not told_by and all(one.is_name for one in every) else None

    def decode(
        self, value: bytes | None, key: bytes | None, record_timestamp_ms: int, headers: Headers = ()
    ) -> Decoded:
        """Return the clicks of a record, or the reason why it has no clicks.

        Bad bytes never raise an error. Errors of `parse` other than Undecodable are passed on to the caller.

        `record_timestamp_ms`: the timestamp of the record, negative if the record has no timestamp. A missing
        `timestamp` is replaced by the record's; a `timestamp` too far ahead of the record's is invalid.
        """
        try:
            if not value:
                document: Any = None
                self._absent(value, headers)
            elif len(value) > self._max_bytes:
                return Reason.TOO_LARGE
            else:
                document = self.parse(value, headers)
            if self._names and type(document) is dict:
                # Hot path: nearly all records of nearly all topics. `Click(...)` would take 0.1 us more.
                user, item, time = self._names
                get, read = document.get, self._read_id
                user_id, item_id = read(get(user)), read(get(item))
                return _new(Click, (user_id, item_id, self._read_time(get(time), record_timestamp_ms), STEP))
            if self._is_simple and type(document) is dict:
                return self._simple_click(document, key, record_timestamp_ms)
            return self._decoded(_Record(document, key, record_timestamp_ms, headers, NO_ATTRIBUTES, False))
        except Undecodable as bad:
            return bad.reason
        except Inexact:
            return self._decoded_exactly(value, key, record_timestamp_ms, headers)

    def _simple_click(
        self, document: dict[Any, Any], key: bytes | None, record_timestamp_ms: int
    ) -> Click | Request | Skipped:
        """Return the result of `_click`. All paths must lead through maps only, or to the key.

        Hot path for topics with nested fields: takes half the time of `_click`. Raises Undecodable, Inexact.
        """
        for clause in self.where:
            if not clause.holds(find(document, clause.path.names)):
                return Skipped.WHERE
        kind = self.types.kind(find(document, self.types.path.names)) if self.types else STEP
        if kind == SKIP:
            return Skipped.TYPE
        user_id = self._read_id(bytes_text(key) if self._user_is_key else find(document, self._user.names))
        item_id = self._read_id(find(document, self._item.names)) if kind != REQUEST else ""
        moment = find(document, self._times[0].names)
        time_ms = self._read_time(moment, record_timestamp_ms)
        if kind == REQUEST:
            return _request(user_id, time_ms, document)
        return _new(Click, (user_id, item_id, time_ms, kind))

    def times_in(
        self, value: bytes | None, key: bytes | None, record_timestamp_ms: int, headers: Headers = ()
    ) -> list[Any]:
        """Return the raw timestamps of a record's valid clicks; None for a click without a timestamp."""
        spy, found = copy(self), list[Any]()

        def read(moment: Any, record_timestamp_ms: int) -> int:
            time_ms = self.times.read(moment, record_timestamp_ms)
            found.append(moment)
            return time_ms

        spy._read_time = read  # noqa: SLF001  # a copy of self
        spy.decode(value, key, record_timestamp_ms, headers)
        return found

    def _absent(self, value: bytes | None, headers: Headers) -> None:
        """Raise Undecodable for a record without a value, unless its envelope allows a missing value."""
        is_tombstone = self.envelope == "debezium" and value is None
        if not is_tombstone and not (self.envelope == "cloudevents" and envelopes.is_binary(headers)):
            raise Undecodable(Reason.NULL_VALUE)

    def _decoded_exactly(
        self, value: bytes | None, key: bytes | None, record_timestamp_ms: int, headers: Headers
    ) -> Decoded:
        try:
            document = self.parse(value, headers, exact=True) if value else None
            return self._decoded(_Record(document, key, record_timestamp_ms, headers, NO_ATTRIBUTES, True))
        except Undecodable as bad:
            return bad.reason

    def _decoded(self, record: _Record) -> Decoded:
        """Return the result of `decode` for a parsed record. Raises Undecodable, Inexact."""
        if type(record.document) is list:
            if not record.document:
                raise Undecodable(Reason.NULL_VALUE)
            several = Several([], [], [], [])
            _limit(several, len(record.document))
            for number, document in enumerate(record.document, 1):
                self._add(several, record._replace(document=document), number)
            return several
        if self._each is not None:
            several = Several([], [], [], [])
            self._add(several, record, 0)
            return several
        opened = self._opened(record)
        if isinstance(opened, Skipped):
            return opened
        return self._click(opened, opened.document)

    def _add(self, several: Several, record: _Record, number: int) -> None:
        """Add an event's clicks to `several`. Raises Undecodable if the record has too many items."""
        place = f"[{number - 1}]" if number else ""
        try:
            opened = self._opened(record)
            if isinstance(opened, Skipped):
                several.skipped.append(opened)
                return
            if self._each is None or self._has_no_items(opened):
                element = opened.document if self._each is None else None
                _put(several, self._click(opened, element), number, ends_event=True)
                return
            elements = self._elements(opened)
        except Undecodable as bad:
            several.bad.append((place, bad.reason))
            return
        place = ".".join(filter(None, [place, *map(paths.escape, self._each)]))
        self._add_items(several, opened, elements, number, place)

    def _add_items(
        self, several: Several, record: _Record, elements: list[Any], number: int, place: str
    ) -> None:
        _limit(several, len(elements))
        # An element with its own user is a separate event.
        own, begin, before = self._user.each is not None, len(several.parts), several.total
        for at, element in enumerate(elements):
            try:
                found = self._click(record, element)
            except Undecodable as bad:
                several.bad.append((f"{place}[{at}]", bad.reason))
                continue
            _put(several, found, before + at + 1 if own else number, ends_event=own)
        # Only steps get lists.
        steps = [at for at in range(begin, len(several.parts)) if several.parts[at].click.kind & STEP]
        for at in steps[-1:]:
            several.parts[at] = several.parts[at]._replace(ends_event=True)

    def _opened(self, record: _Record) -> _Record | Skipped:
        """Return `record` with its event unwrapped, or why the event is skipped. Raises Undecodable."""
        if self.envelope != "none":
            found = envelopes.opened(
                self.envelope, record.document, record.headers, self.parse, exact=record.exact
            )
            if isinstance(found, Skipped):
                return found
            record = record._replace(document=found.document, attributes=found.attributes)
        document = record.document
        if type(document) is not dict:
            document = paths.inner(document, self._loads(record))
            if type(document) is not dict:
                raise Undecodable(Reason.NOT_A_MAP)
            record = record._replace(document=document)
        return record

    def _elements(self, record: _Record) -> list[Any]:
        assert self._each is not None  # noqa: S101  # checked by the callers
        found = find(record.document, self._each, self._loads(record))
        if type(found) is not list:
            found = paths.inner(found, self._loads(record)) if found is not None else None
        if not found:
            raise Undecodable(Reason.MISSING_FIELD)
        if type(found) is not list:
            raise Undecodable(Reason.WRONG_TYPE)
        return found

    def _has_no_items(self, record: _Record) -> bool:
        """Return whether an event needs no list of items, by its type. Raises Undecodable, Inexact."""
        types = self.types
        return types is not None and types.path.each is None and self._kind(types, record, None) in _NO_CLICK

    def _kind(self, types: EventTypes, record: _Record, element: Any) -> int:
        return types.kind(self._get(types.path, record, element), exact=record.exact)

    def _click(self, record: _Record, element: Any) -> Click | Request | Skipped:
        """Return what an event, or one element of its list, holds. Raises Undecodable, Inexact."""
        for clause in self.where:
            if not clause.holds(self._get(clause.path, record, element), exact=record.exact):
                return Skipped.WHERE
        kind = self._kind(self.types, record, element) if self.types else STEP
        if kind == SKIP:
            return Skipped.TYPE
        user_id = self._read_id(self._get(self._user, record, element), exact=record.exact)
        item = self._get(self._item, record, element) if kind != REQUEST else None
        item_id = self._read_id(item, exact=record.exact) if kind != REQUEST else ""
        found = [self._get(path, record, element) for path in self._times]
        moment = found[0] if len(found) == 1 else joined(*found)
        time_ms = self._read_time(moment, record.timestamp_ms)
        if kind == REQUEST:
            document = record.document if element is None else element
            return _request(user_id, time_ms, document, exact=record.exact)
        return Click(user_id, item_id, time_ms, kind)

    def _get(self, path: Path, record: _Record, element: Any) -> Any:
        if path.root == "key" and record.key and self._parse_key is not None:
            document = self._parse_key(record.key, record.headers)
            if document is not None:
                return paths.find(document, path.names, self._loads(record))
        return paths.fetch(
            path,
            record.document if path.each is None else element,
            key=record.key,
            headers=record.headers,
            attributes=record.attributes,
            loads=self._loads(record),
        )

    @staticmethod
    def _loads(record: _Record) -> paths.Loads:
        return loads_exactly if record.exact else orjson.loads


def parsed(value: bytes | None, parse: Parse = parse_plain, headers: Headers = ()) -> Any:
    """Return the document in a record's value; None if the value is missing or cannot be decoded.

    Errors of `parse` other than Undecodable are passed on to the caller.
    """
    try:
        return parse(value, headers) if value else None
    except Undecodable:
        return None


def _request(user_id: str, time_ms: int, document: Any, *, exact: bool = False) -> Request:
    """Return a request; its fields are checked later. Raises Undecodable, Inexact."""
    if type(document) is not dict:
        raise Undecodable(Reason.NOT_A_MAP)
    if not exact and any(map(is_rounded, document.values())):
        raise Inexact
    return Request(user_id, time_ms, document)


def _limit(several: Several, more: int) -> None:
    if several.total + more > MAX_PARTS:
        raise Undecodable(Reason.TOO_LARGE)


def _put(several: Several, found: Click | Request | Skipped, element: int, *, ends_event: bool) -> None:
    if isinstance(found, Click):
        several.parts.append(Part(found, element, ends_event))
    elif isinstance(found, Request):
        several.requests.append(found._replace(element=element))
    else:
        several.skipped.append(found)


def _list_of(item: Path, every: Sequence[Path]) -> tuple[str, ...] | None:
    """Return the path of the list with an event's items; None if the paths lead through no list.

    Raises ValueError if a path leads through a list that is not on the item's path.
    """
    for path in every:
        if path.each is not None and path.each != item.each:
            raise ValueError(
                f"{path.text!r} goes through a list that the item's path {item.text!r} does not; "
                "all clicks of an event must come from one list"
            )
    return item.each
