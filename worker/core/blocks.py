"""Blocks: the format of saved user states. Up to 1,024 rows of one partition in one record's value.

A MessagePack map: the format's version, how many rows, the users' ids, the ids of the items that the
rows name, and every column of `worker.core.states` as raw little-endian bytes, one row after the other.

>>> states = States(state_size=4)
>>> rows, lamp = states.rows(0, ["ada", "bob"]), states.item_codes.codes(["lamp"])
>>> states.write(rows, replace(states.read(rows), clicks=np.array([1, 1], np.int32)))
>>> saved = decode(encode(states, rows))
>>> saved.user_ids, saved.states.hidden.shape, recent_items(saved, 0)
(['ada', 'bob'], (2, 4), ['lamp'])
"""

from __future__ import annotations

from dataclasses import replace  # noqa: F401  # for the doctest
from typing import Any, Final

import msgpack
import numpy as np

from worker.core.ranking import NO_ITEM, Indexes
from worker.core.slabs import Rows
from worker.core.states import NO_OFFSET, Saved, States, UserStates
from worker.errors import StateRefused

FORMAT: Final = 1
"""The version that is written, and the only one that is read."""

MAX_ROWS: Final = 1_024

MAX_BYTES: Final = 640 << 10
"""Above this a block is divided: with its headers it must stay below the brokers' default of 1 MiB."""

_COLUMNS: Final = {
    "hidden": "<f2",
    "recent": "<i4",
    "clicks": "<i4",
    "session": "<i1",
    "warm": "?",
    "timestamp_ms": "<i8",
    "offset": "<i8",
    "release": "<i4",
}
_NOT_FINITE: Final = 0x7C00
"""The exponent of half precision numbers that are infinite or none."""

_SHORT: Final = "<i2"
"""The type of `recent` where the items of a block are few enough."""

_HEAD: Final = msgpack.packb({"format": FORMAT})[1:]
"""The beginning of every written block, after the byte with the number of columns."""


def encode(states: States, rows: Rows) -> bytes:
    """Return the value of a block that holds `rows`, all of one partition and none of them free."""
    users = states.read(rows)
    codes, recent = _places(users)
    columns = {name: getattr(users, name).astype(kind, copy=False) for name, kind in _COLUMNS.items()}
    columns["recent"] = recent.astype(_SHORT if len(codes) <= np.iinfo(_SHORT).max else _COLUMNS["recent"])
    document = {
        "format": FORMAT,
        "rows": len(rows),
        "users": states.user_ids(rows),
        "items": states.item_codes.ids(codes),
        **{name: column.tobytes() for name, column in columns.items()},
    }
    return msgpack.packb(document)


def decode(value: bytes) -> Saved:
    """Read the states in a block's value. Raises StateRefused if they cannot be read."""
    document = _document(value)
    count, users, items = document["rows"], document["users"], document["items"]
    if len(users) != count or len(set(users)) != count or "" in users:
        raise StateRefused(f"it has {count} rows and {len(set(users) - {''})} users")
    columns = {name: _column(document, name, kind) for name, kind in _COLUMNS.items()}
    states = UserStates(**columns)
    _check(states, len(items))
    return Saved(users, items, states, len(value))


def without_offsets(value: bytes) -> bytes:
    """Return a block's value with the same states, to which no record was applied. Raises StateRefused.

    For clicks in another topic, whose offsets begin again.
    """
    document = _document(value)
    offsets = np.full(document["rows"], NO_OFFSET, _COLUMNS["offset"])
    return msgpack.packb(document | {"offset": offsets.tobytes()})


def user_ids(value: bytes) -> list[str]:
    """Read the ids of the users in a block's value. Raises StateRefused."""
    users: list[str] = _document(value)["users"]
    return users


def may_hold(value: bytes, user_id: str) -> bool:
    """Return whether the block with this value may hold a user; where not, `decode` is not needed.

    An id stands in a block as it is, so looking for its bytes is enough, and fifty times faster.
    """
    return not value.startswith(_HEAD, 1) or user_id.encode(errors="replace") in value


def recent_items(saved: Saved, place: int) -> list[str]:
    """Return the last items of the user at `place`, the latest one last."""
    return [saved.item_ids[item] for item in saved.states.ring.oldest_first(place).tolist()]


def _places(users: UserStates) -> tuple[Indexes, Indexes]:
    """Return the codes of all items that `users` name, each once, and `users.recent` as places among them."""
    recent = np.where(users.ring.filled, users.recent, NO_ITEM)
    named = np.zeros(recent.max(initial=NO_ITEM) + 2, np.bool_)
    named[recent] = True
    # The last place is where NO_ITEM looks.
    codes = np.flatnonzero(named[:-1]).astype(np.int32)
    places = np.full(len(named), NO_ITEM, np.int32)
    places[codes] = np.arange(len(codes))
    return codes, places[recent]


def _document(value: bytes) -> dict[str, Any]:
    try:
        document = msgpack.unpackb(value)
    # Broken input raises ValueError and its kin, an extension timestamp out of range OverflowError.
    except (ValueError, OverflowError, msgpack.UnpackException) as error:
        why = str(error).rstrip(".") or type(error).__name__
        raise StateRefused(f"it is no MessagePack: {why}") from None
    if not isinstance(document, dict) or type(document.get("format")) is not int:
        raise StateRefused("it is not a map with the number of a format")
    if document["format"] != FORMAT:
        raise StateRefused(
            f"its format is {document['format']}, this worker reads {FORMAT}: another version wrote it"
        )
    kinds = {"rows": int, "users": list, "items": list, **dict.fromkeys(_COLUMNS, bytes)}
    for name, kind in kinds.items():
        if type(document.get(name)) is not kind:
            raise StateRefused(f"its {name} is not a {kind.__name__} but {type(document.get(name)).__name__}")
    for name in ("users", "items"):
        try:
            "".join(document[name])
        except TypeError:
            raise StateRefused(f"one of its {name} is not a text") from None
    return document


def _check(states: UserStates, items: int) -> None:
    """Raise StateRefused for what cannot be the states of users."""
    recent, clicks, session = states.recent, states.clicks, states.session
    if recent.max(initial=NO_ITEM) >= items or recent.min(initial=NO_ITEM) < NO_ITEM:
        raise StateRefused(f"a row names an item that is not among its {items}")
    if (
        clicks.min(initial=1) < 1
        or states.release.min(initial=0) < 0
        or states.offset.min(initial=0) < NO_OFFSET
    ):
        raise StateRefused("a row has no clicks, or a negative offset or release")
    if session.min(initial=0) < 0 or np.any(session > states.ring.kept):
        raise StateRefused("a row has more clicks in its session than it keeps")
    if states.warm.view(np.uint8).max(initial=0) > 1:
        raise StateRefused("a row's `warm` is neither 0 nor 1")
    # By their bits: twelve times faster than isfinite.
    if (states.hidden.view(np.uint16) & _NOT_FINITE).max(initial=0) == _NOT_FINITE:
        raise StateRefused("a hidden state holds values that are not finite")


def _column(document: dict[str, Any], name: str, kind: str) -> Any:
    """Read one column, `[rows]` or `[rows, n]`, into the machine's own byte order."""
    count, raw = document["rows"], document[name]
    if name == "recent" and len(document["items"]) <= np.iinfo(_SHORT).max:
        kind = _SHORT
    size = np.dtype(kind).itemsize
    wide = name in {"hidden", "recent"}
    width = len(raw) // (count * size) if wide and count else 1
    if len(raw) != count * width * size:
        raise StateRefused(f"its {name} has {len(raw)} bytes for {count} rows of {size}-byte values")
    column = np.frombuffer(raw, kind).astype(np.dtype(_COLUMNS[name]).newbyteorder("="), copy=False)
    return column.reshape(count, width) if wide else column
