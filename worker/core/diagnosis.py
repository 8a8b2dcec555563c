"""Plain explanations of why records are not valid clicks.

>>> foreign = b'{"who": {"id": 7}, "cart": [{"sku": "x"}], "ts": 1700000000000}'
>>> fault(foreign, None, Reason.MISSING_FIELD, Fields("user.id", "@key"))
'have no field user.id and no key'
>>> field_list(foreign)
'who.id, cart[].sku, ts'
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from worker.core import envelopes, paths
from worker.core.event import Fields, parsed
from worker.core.formats import Parse, parse_plain
from worker.core.framing import VALUE_HEADER, frame_header, unframed
from worker.core.paths import Headers, Path
from worker.core.reasons import Reason, Undecodable

_SHOWN: Final = 12
"""Maximum number of field names in a message."""

_SHOWN_CHARACTERS: Final = 60
"""Maximum number of characters of a field name in a message."""

_DEPTH: Final = 20
"""Maximum nesting depth that is searched for fields."""

_FAULTS: Final[Mapping[Reason, str]] = {
    Reason.NULL_VALUE: "have no value, or an empty list",
    Reason.TOO_LARGE: "are larger than click.max_bytes, or have thousands of events",
    Reason.UNKNOWN_FORMAT: "are neither a JSON object, list or text, nor a MessagePack map or list",
    Reason.MALFORMED: "are invalid JSON or MessagePack",
    Reason.UNKNOWN_SCHEMA: "have a schema that the registry does not have, or that cannot be used",
    Reason.SCHEMA_MISMATCH: "have data that do not match their schema",
    Reason.NOT_A_MAP: "are not a JSON object or a MessagePack map",
    Reason.NO_ENVELOPE: "are not in the envelope that click.envelope names",
    Reason.MISSING_FIELD: "lack a field",
    Reason.WRONG_TYPE: "have an id that is neither text nor an integer, or a time of another type",
    Reason.NOT_FINITE: "have a number that is not finite",
    Reason.EMPTY_ID: "have an id that is empty or means a missing value (click.missing)",
    Reason.LONG_ID: "have an id that is too long",
    Reason.BAD_TIMESTAMP: "have a time that cannot be read as a number or as a date and time",
    Reason.TOO_EARLY: "have a time before click.earliest (in another unit, or not a time?)",
    Reason.FUTURE_TIMESTAMP: "have a time over an hour after their record's own (in another unit or zone?)",
    Reason.INVALID_RULE: "are not valid rules",
    Reason.BAD_REQUEST: "are requests with a field that is not valid",
    Reason.UNREADABLE: "are damaged: they cannot be decoded as Kafka records",
}


def fault(
    value: bytes | None,
    key: bytes | None,
    reason: Reason,
    fields: Fields,
    *,
    parse: Parse = parse_plain,
    headers: Headers = (),
) -> str:
    """Return a phrase that says what is wrong with a record, such as "have no field item_id".

    Raises the errors of `parse` other than Undecodable.
    """
    frame = unframed(value or b"", frame_header(headers, VALUE_HEADER))
    if frame is not None and reason == Reason.UNKNOWN_FORMAT:
        return f"have the frame of a schema registry ({frame}): set registry.url"
    if reason != Reason.MISSING_FIELD:
        return _FAULTS[reason]
    document = parsed(value, parse, headers)
    if frame is not None and document is None:
        # Without a registry, `parse` cannot decode the frame.
        return f"lack the field {fields.user_id} or {fields.item_id} in the frame of a registry ({frame})"
    absent = [
        words
        for path in map(paths.parse, (fields.user_id, fields.item_id))
        if (words := _absent(path, document, key, headers))
    ]
    return f"have {' and '.join(absent)}" if absent else _FAULTS[reason]


def field_list(value: bytes | None, parse: Parse = parse_plain, headers: Headers = ()) -> str:
    """Return the paths of a record's fields, separated by commas; empty if there are no fields.

    Raises the errors of `parse` other than Undecodable.
    """
    names = list(dict.fromkeys(_leaves(parsed(value, parse, headers))))
    shown = [name[:_SHOWN_CHARACTERS] for name in names[:_SHOWN]]
    more = [f"{len(names) - _SHOWN} more"] if len(names) > _SHOWN else []
    return ", ".join(shown + more)


def about(seconds: float) -> str:
    """Return a duration as text in its natural unit.

    >>> about(90), about(7_300), about(400_000)
    ('90 s', '2 hours', '5 days')
    """
    for unit, size in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def mixture(kinds: Mapping[str, tuple[int, Any]]) -> str:
    """Return a phrase that counts times by kind, with an example each; empty if there is only one kind.

    >>> mixture({"seconds": (1, 1_700_000_000), "milliseconds": (19, 1_700_000_000_000), "": (3, None)})
    '19 in milliseconds, such as 1700000000000; 1 in seconds, such as 1700000000'
    """
    own = [(count, kind, example) for kind, (count, example) in kinds.items() if kind]
    if len(own) < 2:
        return ""
    return "; ".join(
        f"{count:,} in {kind}" + ("" if example is None else f", such as {example!r}")
        for count, kind, example in sorted(own, key=lambda one: (-one[0], one[1]))
    )


def look_alike(unknown: Sequence[str], known: Iterable[str]) -> tuple[str, str] | None:
    """Return an `unknown` id and a `known` id that differ only in notation; None if there is no such pair.

    >>> look_alike(["sofa", "lamp 1"], ["rug", "LAMP-001"])
    ('lamp 1', 'LAMP-001')
    """
    plain = {_plain(one): one for one in reversed(unknown)}
    return next(((plain[text], one) for one in known if (text := _plain(one)) in plain), None)


def _plain(item_id: str) -> str:
    return re.sub(r"(?<!\d)0+(?=\d)", "", re.sub(r"[\W_]+", "", item_id.lower()))


def _absent(path: Path, document: Any, key: bytes | None, headers: Headers) -> str:
    """Return a phrase for a missing field; empty if the field is present or cannot be checked."""
    if path.root in ("key", "int key"):
        return "no key" if key is None else ""
    if path.root == "header":
        found = any(name == path.names[0] and value is not None for name, value in headers)
        return "" if found else f"no header {path.names[0]}"
    if path.root != "value":
        return ""
    first = document[0] if isinstance(document, list) and document else document
    names = path.names if path.each is None else path.each
    candidates = [first, _unwrapped(first)]
    return "" if any(paths.find(one, names) is not None for one in candidates) else f"no field {path.text}"


def _unwrapped(document: Any) -> Any:
    """Return the event in `document`, without the envelope that `document` appears to have, if it opens."""
    envelope = envelopes.recognised(document, ())
    if envelope == "none":
        return document
    try:
        opened = envelopes.opened(envelope, document, ())
    except Undecodable:
        return document
    return opened.document if isinstance(opened, envelopes.Opened) else document


def _leaves(document: Any, path: str = "", depth: int = 0) -> Iterator[str]:
    """Yield the path of each value that is not null, if the document is a map or a list of maps."""
    inner = paths.inner(document)
    document = document if inner is None else inner
    if type(document) is list:
        document = next((one for one in document if type(one) is dict), None)
    if type(document) is not dict or depth > _DEPTH:
        return
    for key, value in document.items():
        # Dots in a name need no escape, because a path also finds names with dots. All other special
        # characters need an escape.
        here = path + paths.escape(str(key)).replace(r"\.", ".")
        if type(value) is list and "[]" not in here and any(type(one) is dict for one in value):
            here += "[]"
        below = list(_leaves(value, f"{here}.", depth + 1))
        if below:
            yield from below
        elif value is not None:
            yield here
