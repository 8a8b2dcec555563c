r"""Paths of fields: where a record keeps something.

`who.id` is the field `id` of the map `who`. Where that is absent, it is the field whose own name is
`who.id`, or any mixture of the two; the deepest nesting wins. A backslash takes the next character as it
is: `who\.id` is only the flat name. Text and bytes that a path must go into are read as JSON.

`items[].id` is the field of every map in a list. `@key` is the record's key as text, `@key.id` a field of
its JSON, `@key:int` a key of 4 or 8 bytes, as Kafka's serializers write integers. `@header.name` is a
header. `@envelope.type` is what an envelope says of the event in it.

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
"""In place of a field's path: the value is the record's key, as UTF-8 text."""

INT_KEY_FIELD: Final = "@key:int"
HEADER: Final = "@header."
ENVELOPE: Final = "@envelope."

_KEYS: Final[dict[str, Root]] = {KEY_FIELD: "key", INT_KEY_FIELD: "int key"}
_EACH: Final = "[]"
_INT_FORMATS: Final = {4: ">i", 8: ">q"}


@dataclass(frozen=True, slots=True)
class Path:
    """A path: `names` lead from `root`, or from each element of the list at `each`, to the field."""

    text: str
    root: Root
    names: tuple[str, ...]
    each: tuple[str, ...] | None = None

    @property
    def is_name(self) -> bool:
        """Whether it is the plain name of a field of the record's value."""
        return self.root == "value" and len(self.names) == 1 and self.each is None


def parse(text: str) -> Path:
    """Return the path. Raises ValueError with the place of what is wrong."""
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
            f"{text!r} begins with @: it must be {KEY_FIELD}, {KEY_FIELD}.name, {INT_KEY_FIELD}, "
            rf"{HEADER}name or {ENVELOPE}name; a field's own @ is written \@"
        )
    names = _names(text, 0)
    lists = [at for at, name in enumerate(names) if isinstance(name, _Each)]
    if len(lists) > 1:
        raise ValueError(f"{text!r} has {_EACH} twice: events are taken from one list only")
    each = lists[0] + 1 if lists else 0
    return Path(text, "value", tuple(names[each:]), tuple(names[:each]) if each else None)


def escape(name: str) -> str:
    r"""Return the path of a field with this name.

    >>> escape("who.id")
    'who\\.id'
    """
    return "".join(f"\\{one}" if one in ".\\@[]" else one for one in name)


class _Each(str):
    """The name of a list whose elements are meant."""

    __slots__ = ()


def _names(text: str, begin: int) -> list[str]:
    names, name, at, each = [], "", begin, False
    while at < len(text):
        sign = text[at]
        if sign == "\\":
            at += 1
            if at == len(text):
                raise ValueError(f"{text!r} ends with a backslash: a backslash is written twice")
            name += text[at]
        elif text.startswith(_EACH, at) and (at + 2 == len(text) or text[at + 2] == "."):
            if begin:
                raise ValueError(f"{text!r}, character {at + 1}: {_EACH} is for fields of the value only")
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
"""Reads JSON. Raises ValueError."""


def find(document: Any, names: Sequence[str], loads: Loads = orjson.loads) -> Any:
    """Return the field at `names`; None where it is absent or null."""
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
    """Return the field at `names`, of which some neighbours are one name with dots."""
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
    """Return the map or list that text or bytes hold as JSON, or as JSON in JSON; None if there is none."""
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
    """Return a key or a header as text; text in quotes is JSON. Raises Undecodable where it is no text."""
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
    # Small integers in binary are valid UTF-8, made of such characters.
    if "\0" in text:
        raise Undecodable(Reason.WRONG_TYPE)
    return text


def int_key(key: bytes | None) -> int | None:
    """Return a key that is a big-endian integer. Raises Undecodable where it is not of such a length."""
    if key is None:
        return None
    if len(key) not in _INT_FORMATS:
        raise Undecodable(Reason.WRONG_TYPE)
    number: int = struct.unpack(_INT_FORMATS[len(key)], key)[0]
    return number


def header(headers: Headers, name: str) -> str | None:
    """Return the last header of this name as text; None where there is none. Raises Undecodable."""
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
    """Return what a path finds in a record; None where it is absent. Raises Undecodable.

    `document` is the record's value, or the element of the list that the path has.
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
