"""Explains in words why records are not clicks.

>>> foreign = b'{"who": {"id": 7}, "ts": 1700000000000}'
>>> fault(foreign, None, Reason.MISSING_FIELD, Fields("user.id", "@key"))
'have no field user.id and no key'
>>> field_list(foreign)
'who.id, ts'
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from worker.core.event import Fields, parsed
from worker.core.paths import KEY_FIELD
from worker.core.reasons import Reason

_SHOWN: Final = 12
"""The most field names that a message lists."""

_SHOWN_CHARACTERS: Final = 60
"""The most characters of a field name that a message shows."""

_FAULTS: Final[Mapping[Reason, str]] = {
    Reason.NULL_VALUE: "have no value",
    Reason.TOO_LARGE: "are larger than click.max_bytes",
    Reason.UNKNOWN_FORMAT: "are neither a JSON object nor a MessagePack map",
    Reason.MALFORMED: "are damaged JSON or MessagePack",
    Reason.NOT_A_MAP: "are not a JSON object or a MessagePack map",
    Reason.MISSING_FIELD: "lack a field",
    Reason.WRONG_TYPE: "have an id that is neither text nor an integer, or a time of another type",
    Reason.NOT_FINITE: "have a number that is not finite",
    Reason.EMPTY_ID: "have an empty id",
    Reason.LONG_ID: "have an id that is too long",
    Reason.BAD_TIMESTAMP: "have a time that cannot be read as milliseconds or RFC 3339",
    Reason.FUTURE_TIMESTAMP: "have a time over an hour after that of their record (not in milliseconds?)",
}


def fault(value: bytes | None, key: bytes | None, reason: Reason, fields: Fields) -> str:
    """Return what is wrong with records such as this one; a missing field is named."""
    if reason != Reason.MISSING_FIELD:
        return _FAULTS[reason]
    there = set(_leaves(parsed(value)))
    absent = [
        "no key" if path == KEY_FIELD else f"no field {path}"
        for path in (fields.user_id, fields.item_id)
        if (key is None if path == KEY_FIELD else path not in there)
    ]
    return f"have {' and '.join(absent)}" if absent else _FAULTS[reason]


def field_list(value: bytes | None) -> str:
    """Return the names of the fields that a record has, nested ones as dotted paths; empty without any.

    A name that has a dot itself stands in quotes: no path reaches it.
    """
    names = list(_leaves(parsed(value)))
    shown = [name[:_SHOWN_CHARACTERS] for name in names[:_SHOWN]]
    more = [f"{len(names) - _SHOWN} more"] if len(names) > _SHOWN else []
    return ", ".join(shown + more)


def _leaves(document: Any, path: str = "") -> Iterator[str]:
    """Yield the path of each value that is not null; a document that is no map has none."""
    if type(document) is not dict:
        return
    for key, value in document.items():
        name = str(key)
        here = path + (f'"{name}"' if "." in name else name)
        if type(value) is dict and value:
            yield from _leaves(value, f"{here}.")
        elif value is not None:
            yield here
