"""Decoding of the items topic: turns a record into the description of an item, or the reason why it has none.

>>> decoder = ItemDecoder(ItemFields(tags=("tags", "brand = producer.name")))
>>> item_id, item = decoder.decode(
...     b'{"available": 0, "tags": ["new"], "producer": {"name": "Acme"}}', b"lamp"
... )
>>> item_id, item.available, item.tags
('lamp', False, ('new', 'brand:Acme'))
>>> decoder.decode(None, b"lamp"), decoder.decode(b'{"available": "perhaps"}', b"lamp")
(('lamp', None), <Reason.WRONG_TYPE: 'wrong_type'>)
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from decimal import Decimal
from math import isfinite
from typing import Any, Final, NamedTuple

import orjson

from worker.core import envelopes, paths
from worker.core.envelopes import NO_ATTRIBUTES, Envelope
from worker.core.event import MAX_BYTES
from worker.core.formats import Parse, ParseKey, loads_exactly, parse_plain
from worker.core.ids import BLANKS, MAX_ID_BYTES, MISSING, IdRule, text_of
from worker.core.known_items import Change, Item
from worker.core.paths import Headers, Path
from worker.core.reasons import Inexact, Reason, Skipped, Undecodable
from worker.core.times import EARLIEST_MS, TimeRule, as_number

MAX_TAGS: Final = 255
"""Maximum number of tags of an item."""

_IN_VALUE: Final = ("value", "envelope")
"""The roots of paths that a record without a value cannot have."""

_TRUTH: Final = {"true": True, "false": False, "yes": True, "no": False}


@dataclass(frozen=True, slots=True)
class ItemFields:
    """The paths of the fields of an item in a record (`worker.core.paths`).

    Each of `tags` is the path of one or several tags, or `prefix = path`: then each value `v` is the tag
    `prefix:v`.
    """

    item_id: str = paths.KEY_FIELD
    available: str = "available"
    tags: tuple[str, ...] = ("tags",)
    title: str = "title"
    price: str = "price"
    valid_from: str = "valid_from"
    valid_until: str = "valid_until"


class TagPath(NamedTuple):
    """The path of tags, and what is put before each value: `category:`, or nothing."""

    prefix: str
    path: Path


def parse_tags(text: str) -> TagPath:
    """Return a parsed `path` or `prefix = path`. Raises ValueError with the place of the mistake."""
    prefix, sign, path = text.rpartition("=")
    prefix = prefix.strip()
    if sign and not prefix:
        raise ValueError(f"{text!r} has no prefix before =; write the path alone, or `prefix = path`")
    return TagPath(f"{prefix}:" if sign else "", paths.parse(path.strip()))


def parse_field(text: str) -> Path:
    """Return the parsed path of a field with one value. Raises ValueError if it leads through a list."""
    path = paths.parse(text)
    if path.each is not None:
        raise ValueError(f"{text!r} leads through a list; only tags can have several values")
    return path


class _Record(NamedTuple):
    document: Any
    key: bytes | None
    headers: Headers
    attributes: Mapping[str, Any]
    exact: bool


class ItemDecoder:
    """A stateless decoder of item records. Ids, times and missing values are read as those of clicks.

    `parse` parses a value, and `parse_key` a key that is a document. Raises ValueError for invalid paths.
    """

    def __init__(
        self,
        fields: ItemFields | None = None,
        *,
        ids: IdRule | None = None,
        times: TimeRule | None = None,
        missing: Collection[str] = MISSING,
        envelope: Envelope = "none",
        max_bytes: int = MAX_BYTES,
        parse: Parse = parse_plain,
        parse_key: ParseKey | None = None,
    ) -> None:
        self.fields = fields or ItemFields()
        self._id, self._available, self._title, self._price, self._from, self._until = (
            parse_field(getattr(self.fields, name))
            for name in ("item_id", "available", "title", "price", "valid_from", "valid_until")
        )
        self._tags = [parse_tags(one) for one in self.fields.tags]
        self._ids, self._times = ids or IdRule(), times or TimeRule()
        self._missing = frozenset([*missing, ""])
        self._envelope: Envelope = envelope
        self._max_bytes = max_bytes
        self._parse, self._parse_key = parse, parse_key

    def decode(self, value: bytes | None, key: bytes | None, headers: Headers = ()) -> Change | Reason:
        """Return the item id and the description, None if the item is gone; or the reason of a bad record.

        Bad bytes never raise an error. Errors of `parse` other than Undecodable are passed on to the caller.
        """
        try:
            return self._decoded(value, key, headers, exact=False)
        except Undecodable as bad:
            return bad.reason
        except Inexact:
            pass
        try:
            return self._decoded(value, key, headers, exact=True)
        except Undecodable as bad:
            return bad.reason

    def item_id(self, value: bytes | None, key: bytes | None, headers: Headers = ()) -> str | None:
        """Return the item id in a record, even if the rest of the record is bad; None if there is none."""
        record = _Record(None, key, headers, NO_ATTRIBUTES, exact=True)
        try:
            if value is not None and self._id.root in _IN_VALUE:
                record = self._opened(value, key, headers, exact=True) or record
            return self._item_id(record)
        except Undecodable:
            return None

    def _decoded(self, value: bytes | None, key: bytes | None, headers: Headers, *, exact: bool) -> Change:
        record = None if value is None else self._opened(value, key, headers, exact=exact)
        if record is not None:
            return self._item_id(record), self._item(record)
        if self._id.root in _IN_VALUE:
            raise Undecodable(Reason.NULL_VALUE)
        return self._item_id(_Record(None, key, headers, NO_ATTRIBUTES, exact)), None

    def _opened(self, value: bytes, key: bytes | None, headers: Headers, *, exact: bool) -> _Record | None:
        """Return the description in its envelope; None if the envelope says that the item was deleted."""
        if not value:
            raise Undecodable(Reason.NULL_VALUE)
        if len(value) > self._max_bytes:
            raise Undecodable(Reason.TOO_LARGE)
        document, attributes = self._parse(value, headers, exact=exact), NO_ATTRIBUTES
        if self._envelope != "none":
            opened = envelopes.opened(self._envelope, document, headers, self._parse, exact=exact)
            if isinstance(opened, Skipped):
                return None
            document, attributes = opened
        if type(document) is not dict:
            document = paths.inner(document)
            if type(document) is not dict:
                raise Undecodable(Reason.NOT_A_MAP)
        return _Record(document, key, headers, attributes, exact)

    def _item_id(self, record: _Record) -> str:
        return self._ids.read(self._get(self._id, record), exact=record.exact)

    def _item(self, record: _Record) -> Item:
        begin, end = (self._time(path, record) for path in (self._from, self._until))
        # A 0 that means "no end" must not make the item unavailable.
        if end is not None and end < EARLIEST_MS:
            raise Undecodable(Reason.TOO_EARLY)
        if begin is not None and end is not None and end < begin:
            raise Undecodable(Reason.BAD_TIMESTAMP)
        available, title, price = (
            self._present(path, record) for path in (self._available, self._title, self._price)
        )
        return Item(
            available=available is None or _truth(available),
            tags=self._all_tags(record),
            title=title if title is None or isinstance(title, str) else text_of(title, exact=True),
            price=None if price is None else _number(price),
            valid_from_ms=begin,
            valid_until_ms=end,
        )

    def _all_tags(self, record: _Record) -> tuple[str, ...]:
        found = dict[str, None]()
        for prefix, path in self._tags:
            for one in self._values(path, record):
                if not self._is_missing(one):
                    found[prefix + text_of(one, exact=record.exact)] = None
        if len(found) > MAX_TAGS:
            raise Undecodable(Reason.TOO_LARGE)
        if any(len(tag.encode()) > MAX_ID_BYTES for tag in found):
            raise Undecodable(Reason.LONG_ID)
        return tuple(found)

    def _values(self, path: Path, record: _Record) -> list[Any]:
        """Return the value, or the values, at the path of tags."""
        loads = _loads(record)
        if path.each is not None:
            elements = paths.find(record.document, path.each, loads)
            elements = elements if type(elements) is list else paths.inner(elements, loads) or []
            return [paths.find(one, path.names, loads) for one in elements]
        found = self._get(path, record)
        if isinstance(found, str) and found[:1] == "[":
            found = paths.inner(found, loads) or found
        return found if type(found) is list else [found]

    def _time(self, path: Path, record: _Record) -> int | None:
        found = self._present(path, record)
        return None if found is None else self._times.milliseconds(found, -1)

    def _present(self, path: Path, record: _Record) -> Any:
        """Return the value at a path; None if it is missing."""
        found = self._get(path, record)
        return None if self._is_missing(found) else found

    def _is_missing(self, found: Any) -> bool:
        if not isinstance(found, str):
            return found is None
        # Hot path, for each value of a million records: removing blanks takes as long as all else here.
        if found.isascii() and found[:1] > " " < found[-1:]:
            return found in self._missing
        return found.strip(BLANKS) in self._missing

    def _get(self, path: Path, record: _Record) -> Any:
        if path.root == "value" and len(path.names) == 1:
            return None if record.document is None else record.document.get(path.names[0])
        if path.root == "key" and record.key and self._parse_key is not None:
            document = self._parse_key(record.key, record.headers)
            if document is not None:
                return paths.find(document, path.names, _loads(record))
        return paths.fetch(
            path,
            record.document,
            key=record.key,
            headers=record.headers,
            attributes=record.attributes,
            loads=_loads(record),
        )


def _loads(record: _Record) -> Callable[[str | bytes], Any]:
    return loads_exactly if record.exact else orjson.loads


def _truth(found: Any) -> bool:
    """Return whether a value says that an item is available. Raises Undecodable."""
    if isinstance(found, bool):
        return found
    if isinstance(found, str) and (text := found.strip(BLANKS).lower()) in _TRUTH:
        return _TRUTH[text]
    return _number(found) > 0


def _number(found: Any) -> float:
    """Return a finite number, or a text with one. Raises Undecodable."""
    if isinstance(found, str):
        found = as_number(found.strip(BLANKS))
    if isinstance(found, bool) or not isinstance(found, int | float | Decimal):
        raise Undecodable(Reason.WRONG_TYPE)
    try:
        number = float(found)
    except OverflowError:
        raise Undecodable(Reason.NOT_FINITE) from None
    if not isfinite(number):
        raise Undecodable(Reason.NOT_FINITE)
    return number
