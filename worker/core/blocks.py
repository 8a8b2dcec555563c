"""Blocks: the format of saved user states. A block is a record's value with up to 1,024 rows of a partition.

A block is a MessagePack map: the format version, the number of rows, the user ids, the ids of the items that
the rows refer to, and every column of `worker.core.states` as raw little-endian bytes, in the order of the
rows. If any of the users bought an item, there are three more columns: the number of bought items of each
row; and the item and the day of each of them, oldest first, row after row.

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

from worker.core.bought import Items
from worker.core.ranking import NO_ITEM, Indexes
from worker.core.slabs import Rows
from worker.core.states import States
from worker.core.user_states import NO_OFFSET, Saved, UserStates
from worker.errors import StateRefused

FORMAT: Final = 1
"""The format version that is written, and the only version that is read."""

MAX_ROWS: Final = 1_024

MAX_BYTES: Final = 640 << 10
"""Maximum size of a block, in bytes; larger blocks are split. With its headers, a record must stay below the
brokers' default limit of 1 MiB.
"""

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
_BOUGHT: Final = {"bought_counts": "<u1", "bought": "<i4", "bought_days": "<u2"}
"""The columns of bought items, if there are any."""

_NOT_FINITE: Final = 0x7C00
"""The exponent bits of half precision: all are 1 in infinity and NaN."""

_SHORT: Final = "<i2"
"""The type of `recent` if 16 bits are enough for the number of items in the block."""

_HEAD: Final = msgpack.packb({"format": FORMAT})[1:]
"""The bytes of every block after its first byte, which holds the number of columns."""


def encode(states: States, rows: Rows) -> bytes:
    """Return the value of a block with `rows`. All rows must be in use and belong to one partition."""
    users = states.read(rows)
    recent, bought = np.where(users.ring.filled, users.recent, NO_ITEM), _bought(states, rows)
    codes, places = _places(recent, bought.codes)
    columns = {name: getattr(users, name).astype(kind, copy=False) for name, kind in _COLUMNS.items()}
    short = len(codes) <= np.iinfo(_SHORT).max
    columns["recent"] = places[recent].astype(_SHORT if short else _COLUMNS["recent"])
    document = {
        "format": FORMAT,
        "rows": len(rows),
        "users": states.user_ids(rows),
        "items": states.item_codes.ids(codes),
        **{name: column.tobytes() for name, column in columns.items()},
        **_bought_columns(Items(places[bought.codes], bought.days)),
    }
    return msgpack.packb(document)


def decode(value: bytes) -> Saved:
    """Return the states in a block's value. Raises StateRefused if the value is not a valid block."""
    document = _document(value)
    count, users, items = document["rows"], document["users"], document["items"]
    if len(users) != count or len(set(users)) != count or "" in users:
        raise StateRefused(f"it has {count} rows and {len(set(users) - {''})} users")
    columns = {name: _column(document, name, kind) for name, kind in _COLUMNS.items()}
    states = UserStates(**columns)
    bought = _bought_items(document) if "bought" in document else None
    _check(states, len(items), bought)
    return Saved(users, items, states, len(value), bought)


def without_offsets(value: bytes) -> bytes:
    """Return a block's value with the same states but without their offsets. Raises StateRefused.

    This is needed when the clicks topic was created again: the old offsets mean nothing in the new topic.
    """
    document = _document(value)
    offsets = np.full(document["rows"], NO_OFFSET, _COLUMNS["offset"])
    return msgpack.packb(document | {"offset": offsets.tobytes()})


def user_ids(value: bytes) -> list[str]:
    """Return the user ids in a block's value. Raises StateRefused."""
    users: list[str] = _document(value)["users"]
    return users


def may_hold(value: bytes, user_id: str) -> bool:
    """Return whether a block may hold a user's state; if False, there is no need to `decode` the block.

    Blocks contain ids as plain UTF-8, so a search for the id's bytes is enough; it is fifty times faster than
    decoding.
    """
    return not value.startswith(_HEAD, 1) or user_id.encode(errors="replace") in value


def recent_items(saved: Saved, place: int) -> list[str]:
    """Return the recent items of the user at position `place`, oldest first."""
    return [saved.item_ids[item] for item in saved.states.ring.oldest_first(place).tolist()]


def _places(recent: Indexes, bought: Indexes) -> tuple[Indexes, Indexes]:
    """Return the distinct item codes; and by code, including `NO_ITEM`, the position among these codes."""
    highest = max(recent.max(initial=NO_ITEM), bought.max(initial=NO_ITEM))
    named = np.zeros(highest + 2, np.bool_)
    named[recent] = named[bought] = True
    # NO_ITEM is -1, so it indexes the last position.
    codes = np.flatnonzero(named[:-1]).astype(np.int32)
    places = np.full(len(named), NO_ITEM, np.int32)
    places[codes] = np.arange(len(codes))
    return codes, places


def _bought(states: States, rows: Rows) -> Items:
    if states.bought is None:
        return Items(np.empty((len(rows), 0), np.int32), np.empty((len(rows), 0), np.uint16))
    return states.bought.of(rows)


def _bought_columns(bought: Items) -> dict[str, bytes]:
    kept = bought.codes != NO_ITEM
    if not kept.any():
        return {}
    columns = kept.sum(axis=1), bought.codes[kept], bought.days[kept]
    return {
        name: column.astype(kind).tobytes()
        for (name, kind), column in zip(_BOUGHT.items(), columns, strict=True)
    }


def _bought_items(document: dict[str, Any]) -> Items:
    """Return the bought items in a block. Raises StateRefused if the columns do not fit each other."""
    counts = np.frombuffer(document["bought_counts"], _BOUGHT["bought_counts"])
    total, sizes = int(counts.sum()), [len(document[name]) for name in _BOUGHT]
    if sizes != [document["rows"], 4 * total, 2 * total]:
        raise StateRefused(f"its columns of {total} bought items have {sizes} bytes")
    codes, days = (np.frombuffer(document[name], _BOUGHT[name]) for name in ("bought", "bought_days"))
    width = int(counts.max(initial=0))
    filled = np.arange(width) >= width - counts[:, None].astype(np.int64)
    found = Items(np.full(filled.shape, NO_ITEM, np.int32), np.zeros(filled.shape, np.uint16))
    found.codes[filled], found.days[filled] = codes, days
    return found


def _document(value: bytes) -> dict[str, Any]:
    try:
        document = msgpack.unpackb(value)
    # Broken input raises ValueError and its subclasses, an out-of-range extension timestamp OverflowError.
    except (ValueError, OverflowError, msgpack.UnpackException) as error:
        why = str(error).rstrip(".") or type(error).__name__
        raise StateRefused(f"it is not MessagePack: {why}") from None
    if not isinstance(document, dict) or type(document.get("format")) is not int:
        raise StateRefused("it is not a map with an integer `format`")
    if document["format"] != FORMAT:
        raise StateRefused(
            f"its format is {document['format']}, but this worker reads {FORMAT}: another version wrote it"
        )
    kinds = {"rows": int, "users": list, "items": list, **dict.fromkeys(_COLUMNS, bytes)}
    if _BOUGHT.keys() & document.keys():
        kinds |= dict.fromkeys(_BOUGHT, bytes)
    for name, kind in kinds.items():
        if type(document.get(name)) is not kind:
            raise StateRefused(
                f"its {name} is of type {type(document.get(name)).__name__}, not {kind.__name__}"
            )
    for name in ("users", "items"):
        try:
            "".join(document[name])
        except TypeError:
            raise StateRefused(f"one of its {name} is not text") from None
    return document


def _check(states: UserStates, items: int, bought: Items | None) -> None:
    """Raise StateRefused if the columns are not valid user states."""
    recent, clicks, session = states.recent, states.clicks, states.session
    named = [recent] if bought is None else [recent, bought.codes]
    if any(one.max(initial=NO_ITEM) >= items or one.min(initial=NO_ITEM) < NO_ITEM for one in named):
        raise StateRefused(f"a row refers to an item outside the {items} items of its block")
    only_bought = np.zeros(len(states), np.bool_)
    if bought is not None:
        only_bought = (clicks == 0) & (bought.codes != NO_ITEM).any(axis=1)
    if (
        np.where(only_bought, 1, clicks).min(initial=1) < 1
        or states.release.min(initial=0) < 0
        or states.offset.min(initial=0) < NO_OFFSET
    ):
        raise StateRefused("a row has no clicks, or a negative offset or release")
    if session.min(initial=0) < 0 or np.any(session > states.ring.kept):
        raise StateRefused("the session of a row has more clicks than the row keeps")
    if states.warm.view(np.uint8).max(initial=0) > 1:
        raise StateRefused("a row's `warm` is neither 0 nor 1")
    # A test of the bits is twelve times faster than isfinite.
    if (states.hidden.view(np.uint16) & _NOT_FINITE).max(initial=0) == _NOT_FINITE:
        raise StateRefused("a hidden state has values that are not finite")


def _column(document: dict[str, Any], name: str, kind: str) -> Any:
    """Return one column, `[rows]` or `[rows, n]`, in native byte order."""
    count, raw = document["rows"], document[name]
    if name == "recent" and len(document["items"]) <= np.iinfo(_SHORT).max:
        kind = _SHORT
    size = np.dtype(kind).itemsize
    wide = name in {"hidden", "recent"}
    width = len(raw) // (count * size) if wide and count else 1
    if len(raw) != count * width * size:
        raise StateRefused(
            f"its {name} has {len(raw)} bytes, which does not fit {count} rows of {size}-byte values"
        )
    column = np.frombuffer(raw, kind).astype(np.dtype(_COLUMNS[name]).newbyteorder("="), copy=False)
    return column.reshape(count, width) if wide else column
