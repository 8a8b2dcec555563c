"""Decoding: from the bytes of a record to a click, or to the reason why it is not valid.

>>> decoder = Decoder(Fields())
>>> decoder.decode(b'{"user_id": 7, "item_id": "lamp", "timestamp": 1700000000000}', None, 1700000000500)
Click(user_id='7', item_id='lamp', timestamp_ms=1700000000000)
>>> decoder.decode(b'{"user_id": 7}', None, 1700000000500)
<Reason.MISSING_FIELD: 'missing_field'>
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Final, NamedTuple

import msgpack
import orjson

MAX_ID_BYTES: Final = 256
"""The longest user or item id in UTF-8 bytes."""

MAX_BYTES: Final = 262_144
"""The most bytes of a record's value, unless the settings say otherwise."""

MAX_AHEAD_MS: Final = 3_600_000
"""The most that a click's timestamp may be ahead of its record's own."""

MAX_TIMESTAMP_MS: Final = 253_402_300_799_999
"""The last millisecond of the year 9999: no click is later, whatever its record says."""

KEY_FIELD: Final = "@key"
"""In place of a field's path: the value is the record's key, as UTF-8 text."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)
_JSON_STARTS: Final = frozenset(b"{ \t\r\n")
_MSGPACK_MAP_STARTS: Final = frozenset([*range(0x80, 0x90), 0xDE, 0xDF])


class Reason(StrEnum):
    """Why a record is no click. The value is a metric label and a dead letter's header."""

    NULL_VALUE = "null_value"
    TOO_LARGE = "too_large"
    UNKNOWN_FORMAT = "unknown_format"
    MALFORMED = "malformed"
    NOT_A_MAP = "not_a_map"
    MISSING_FIELD = "missing_field"
    WRONG_TYPE = "wrong_type"
    NOT_FINITE = "not_finite"
    EMPTY_ID = "empty_id"
    LONG_ID = "long_id"
    BAD_TIMESTAMP = "bad_timestamp"
    FUTURE_TIMESTAMP = "future_timestamp"
    UNREADABLE = "unreadable"


class Click(NamedTuple):
    """One checked click: ids are non-empty text, the time is milliseconds since the epoch (UTC)."""

    user_id: str
    item_id: str
    timestamp_ms: int


@dataclass(frozen=True, slots=True)
class Fields:
    """Where a record's value keeps what a click needs; dotted paths reach into nested maps.

    `KEY_FIELD` as `user_id` or `item_id` takes the record's key instead.
    """

    user_id: str = "user_id"
    item_id: str = "item_id"
    timestamp: str = "timestamp"


class Decoder:
    """Decodes records under one set of field names. Holds no state between calls."""

    def __init__(self, fields: Fields, *, max_bytes: int = MAX_BYTES) -> None:
        self._user_path = fields.user_id.split(".")
        self._item_path = fields.item_id.split(".")
        self._timestamp_path = fields.timestamp.split(".")
        self._max_bytes = max_bytes

    def decode(self, value: bytes | None, key: bytes | None, record_timestamp_ms: int) -> Click | Reason:
        """Return the click in a record, or the reason why there is none; raise nothing, whatever the bytes.

        `record_timestamp_ms` is the record's own time (negative: it has none); it stands in for
        an absent `timestamp` and bounds a present one.
        """
        try:
            document = self._parse(value)
            user_id = _id(_find(document, self._user_path, key))
            item_id = _id(_find(document, self._item_path, key))
            timestamp_ms = _timestamp(_find(document, self._timestamp_path, key), record_timestamp_ms)
        except _Bad as bad:
            return bad.reason
        return Click(user_id, item_id, timestamp_ms)

    def _parse(self, value: bytes | None) -> dict[Any, Any]:
        if not value:
            raise _Bad(Reason.NULL_VALUE)
        if len(value) > self._max_bytes:
            raise _Bad(Reason.TOO_LARGE)
        document = _parse(value)
        if type(document) is not dict:
            raise _Bad(Reason.NOT_A_MAP)
        return document


def parsed(value: bytes | None) -> Any:
    """Return the document in a record's value; None where there is none."""
    try:
        return _parse(value) if value else None
    except _Bad:
        return None


class _Bad(Exception):
    """Raised inside this module only: the record is no click, for `reason`."""

    def __init__(self, reason: Reason) -> None:
        self.reason = reason


def _parse(value: bytes) -> Any:
    try:
        if value[0] in _JSON_STARTS:
            return orjson.loads(value)
        if value[0] in _MSGPACK_MAP_STARTS:
            return msgpack.unpackb(value, strict_map_key=False)
    # msgpack raises ValueError and its kin for broken input, TypeError for an unhashable map key,
    # RecursionError for deep nesting, OverflowError for an extension timestamp out of range.
    except (ValueError, TypeError, RecursionError, OverflowError):
        raise _Bad(Reason.MALFORMED) from None
    raise _Bad(Reason.UNKNOWN_FORMAT)


def _find(document: dict[Any, Any], path: list[str], key: bytes | None) -> Any:
    if path[0] == KEY_FIELD:
        return _key_text(key)
    found: Any = document
    for name in path:
        if type(found) is not dict:
            return None
        found = found.get(name)
    return found


def _key_text(key: bytes | None) -> str | None:
    try:
        return None if key is None else key.decode()
    except UnicodeDecodeError:
        raise _Bad(Reason.WRONG_TYPE) from None


def _id(found: Any) -> str:
    kind = type(found)
    if kind is str:
        if not found:
            raise _Bad(Reason.EMPTY_ID)
        if len(found) > MAX_ID_BYTES or (not found.isascii() and len(found.encode()) > MAX_ID_BYTES):
            raise _Bad(Reason.LONG_ID)
        return found
    if kind is int:
        return str(found)
    raise _Bad(_kind_reason(found))


def _kind_reason(found: Any) -> Reason:
    if found is None:
        return Reason.MISSING_FIELD
    if type(found) is float and not _finite(found):
        return Reason.NOT_FINITE
    return Reason.WRONG_TYPE


def _finite(number: float) -> bool:
    return number - number == 0


def _timestamp(found: Any, record_timestamp_ms: int) -> int:
    if found is None:
        if record_timestamp_ms < 0:
            raise _Bad(Reason.MISSING_FIELD)
        timestamp_ms = record_timestamp_ms
    else:
        timestamp_ms = found if type(found) is int else _converted(found)
    if not 0 <= timestamp_ms <= MAX_TIMESTAMP_MS:
        raise _Bad(Reason.BAD_TIMESTAMP)
    if 0 <= record_timestamp_ms < timestamp_ms - MAX_AHEAD_MS:
        raise _Bad(Reason.FUTURE_TIMESTAMP)
    return timestamp_ms


def _converted(found: Any) -> int:
    if type(found) is str:
        return _rfc3339_ms(found)
    if type(found) is float and _finite(found):
        return int(found)
    raise _Bad(_kind_reason(found))


def _rfc3339_ms(text: str) -> int:
    try:
        # RFC 3339, section 5.6: "T" and "Z" may be written in lower case.
        moment = datetime.fromisoformat(text.upper())
    except ValueError:
        raise _Bad(Reason.BAD_TIMESTAMP) from None
    if moment.tzinfo is None:
        raise _Bad(Reason.BAD_TIMESTAMP)
    return (moment - _EPOCH) // _MILLISECOND
