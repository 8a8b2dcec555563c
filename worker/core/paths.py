r"""Paths: where to find a field in a record.

`who.id` is the field `id` of the map `who`. If that field is absent, the path finds a field whose own name is
`who.id`; likewise, `a.b.c` may find the field `c` of a map named `a.b`. If a record has several of these
fields, the most deeply nested field wins. A backslash escapes the next character: `who\.id` finds only the
field named `who.id`. If a path leads into text or bytes, the text or bytes are parsed as JSON.

`items[].id` is the field `id` of every map in the list `items`. `@key` is the record's key as text, `@key.id`
a field of a JSON key, `@key:int` an integer key of 4 or 8 bytes, as written by Kafka's integer serializers.
`@header.name` is a header. `@envelope.type` is an attribute of the event's envelope.

>>> path = parse("who.id")
>>> [find(one, path.names) for one in ({"who": {"id": 1}}, {"who.id": 2}, {"who": '{"id": 3}'})]
[1, 2, 3]
>>> find({"who": {"id": 1}}, parse(r"who\.id").names) is None
True
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import orjson

from worker.core.ids import BLANKS
from worker.core.reasons import Reason, Undecodable

Headers = Sequence[tuple[str, bytes | None]]
Root = Literal["value", "key", "int key", "header", "envelope"]

KEY_FIELD: Final = "@key"
"""The path of the record's key, as UTF-8 text."""

INT_KEY_FIELD: Final = "@key:int"
HEADER: Final = "@header."
ENVELOPE: Final = "@envelope."

_KEYS: Final[dict[str, Root]] = {KEY_FIELD: "key", INT_KEY_FIELD: "int key"}
_EACH: Final = "[]"
_INT_FORMATS: Final = {4: ">i", 8: ">q"}


@dataclass(frozen=True, slots=True)
class Path:
    """A parsed path: `names` lead to the field from `root`, or from each element of the list at `each`."""

    text: str
    root: Root
    names: tuple[str, ...]
    each: tuple[str, ...] | None = None

    @property
    def is_name(self) -> bool:
        """Whether the path is a plain field name in the record's value."""
        return self.root == "value" and len(self.names) == 1 and self.each is None


def parse(text: str) -> Path:
    """Return the parsed path. Raises ValueError with the place of the mistake."""
    if text in _KEYS:
        return Path(text, _KEYS[text], ())
    if text.startswith(f"{KEY_FIELD}."):
        return Path(text, "key", tuple(_names(text, len(KEY_FIELD) + 1)))
    if text.startswith(HEADER) and text != HEADER:
        return Path(text, "header", (text.removeprefix(HEADER),))
    if text.startswith(ENVELOPE) and text != ENVELOPE:
        return Path(text, "envelope", tuple(_names(text, len(ENVELOPE))))
    if text.startswith("@"):
        raise ValueError(
            f"{text!r} starts with @, so it must be {KEY_FIELD}, {KEY_FIELD}.name, {INT_KEY_FIELD}, "
            rf"{HEADER}name or {ENVELOPE}name; write \@ for an @ in a field's name"
        )
    names = _names(text, 0)
    lists = [at for at, name in enumerate(names) if isinstance(name, _Each)]
    if len(lists) > 1:
        raise ValueError(f"{text!r} has {_EACH} twice; a path can lead through one list only")
    each = lists[0] + 1 if lists else 0
    return Path(text, "value", tuple(names[each:]), tuple(names[:each]) if each else None)


def escape(name: str) -> str:
    r"""Return a path that finds only the field with this name: special characters are escaped.

    >>> escape("who.id")
    'who\\.id'
    """
    return "".join(f"\\{one}" if one in ".\\@[]" else one for one in name)


class _Each(str):
    """The name of a list: the path continues in each of its elements."""

    __slots__ = ()


def _names(text: str, begin: int) -> list[str]:
    names, name, at, each = [], "", begin, False
    while at < len(text):
        sign = text[at]
        if sign == "\\":
            at += 1
            if at == len(text):
                raise ValueError(f"{text!r} ends with a backslash; write a backslash twice")
            name += text[at]
        elif text.startswith(_EACH, at) and (at + 2 == len(text) or text[at + 2] == "."):
            if begin:
                raise ValueError(f"{text!r}, character {at + 1}: {_EACH} works only for fields of the value")
            each = True
            at += 1
        elif sign == ".":
            names.append(_Each(name) if each else name)
            name, each = "", False
        else:
            name += sign
        at += 1
    names.append(_Each(name) if each else name)
    return names


Loads = Callable[[str | bytes], Any]
"""A parser of JSON. Raises ValueError."""


def find(document: Any, names: Sequence[str], loads: Loads = orjson.loads) -> Any:
    """Return the value of the field at `names`; None if the field is absent or null."""
    found = document
    for name in names:
        if type(found) is not dict:
            found = inner(found, loads)
            if type(found) is not dict:
                found = None
                break
        found = found.get(name)
    return _flat(document, names, loads) if found is None and len(names) > 1 else found


def _flat(document: Any, names: Sequence[str], loads: Loads) -> Any:
    """Return the value of the field at `names`; in the document, adjacent names may be joined by dots."""
    if type(document) is not dict:
        document = inner(document, loads)
    if not names or type(document) is not dict:
        return None if names else document
    for count in range(1, len(names) + 1):
        found = document.get(".".join(names[:count]))
        if found is not None and count < len(names):
            found = _flat(found, names[count:], loads)
        if found is not None:
            return found
    return None


def inner(found: Any, loads: Loads = orjson.loads) -> Any:
    """Return the map or list in JSON text or bytes, even if encoded repeatedly; None if there is none."""
    while isinstance(found, str | bytes):
        start = found[:1]
        if start not in ("{", "[", '"', b"{", b"[", b'"'):
            stripped = found.lstrip(BLANKS) if isinstance(found, str) else found.lstrip()
            if len(stripped) == len(found):
                return None
            found = stripped
            continue
        try:
            found = loads(found)
        except (ValueError, RecursionError):
            return None
    return found if isinstance(found, dict | list) else None


def bytes_text(found: bytes | None) -> str | None:
    """Return a key or header as text; quoted text is parsed as JSON. Raises Undecodable if it is not text."""
    if found is None:
        return None
    try:
        text = found.decode()
    except UnicodeDecodeError:
        raise Undecodable(Reason.WRONG_TYPE) from None
    if found.startswith(b'"') and found.endswith(b'"'):
        try:
            unquoted = orjson.loads(found)
        except ValueError:
            return text
        return unquoted if isinstance(unquoted, str) else text
    # Small binary integers are valid UTF-8, but contain null characters.
    if "\0" in text:
        raise Undecodable(Reason.WRONG_TYPE)
    return text


def int_key(key: bytes | None) -> int | None:
    """Return a big-endian integer key. Raises Undecodable if the key does not have 4 or 8 bytes."""
    if key is None:
        return None
    if len(key) not in _INT_FORMATS:
        raise Undecodable(Reason.WRONG_TYPE)
    number: int = struct.unpack(_INT_FORMATS[len(key)], key)[0]
    return number


def header(headers: Headers, name: str) -> str | None:
    """Return the last header with this name as text; None if the header is absent. Raises Undecodable."""
    return bytes_text(next((value for key, value in reversed(headers) if key == name), None))


def fetch(
    path: Path,
    document: Any,
    *,
    key: bytes | None,
    headers: Headers,
    attributes: Mapping[str, Any],
    loads: Loads = orjson.loads,
) -> Any:
    """Return the value at a path in a record; None if the value is absent. Raises Undecodable.

    `document` is the record's value, or an element of the path's list.
    """
    if path.root == "value":
        return find(document, path.names, loads)
    if path.root == "key":
        return find(key, path.names, loads) if path.names else bytes_text(key)
    if path.root == "int key":
        return int_key(key)
    if path.root == "header":
        return header(headers, path.names[0])
    return find(attributes, path.names, loads)
