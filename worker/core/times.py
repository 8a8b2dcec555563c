"""The rule for times, the same for records and for columns of files: milliseconds since the epoch (UTC).

- A number, or text with a number, is in seconds, milliseconds, microseconds or nanoseconds. The unit is a
  setting, or it follows from the number's size: below 10^11 seconds, below 10^14 milliseconds, and so on.
  From March 1973 to the year 5138 no number is a valid time in two units. So the unit never depends on
  earlier numbers, and a replay always reads the same time. If `earliest` is before March 1973, the unit must
  be set.
- RFC 3339 and similar text: a space for the T, `+00`, ` UTC`, `2026/09/21`, any number of digits after the
  decimal point. Text without an offset is a local time in `zone`. If a clock change repeats the hour, the
  first occurrence is meant; if a clock change skips the hour, the time is invalid. A date alone is midnight.
- Fractions of a millisecond are cut off.

>>> rule = TimeRule()
>>> {rule.read(one, -1) for one in (1790000000, "1790000000000", 1790000000000000, "2026-09-21 14:13:20 UTC")}
{1790000000000}
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from decimal import Decimal
from typing import Any, Final, Literal

import msgpack

from worker.core.ids import BLANKS, MISSING
from worker.core.reasons import Reason, Undecodable

Unit = Literal["s", "ms", "us", "ns"]

MICROSECONDS: Final[dict[Unit, float]] = {"s": 1e6, "ms": 1e3, "us": 1.0, "ns": 1e-3}
"""The number of microseconds in each unit."""

BELOW: Final[dict[Unit, int]] = {"s": 10**11, "ms": 10**14, "us": 10**17, "ns": 10**20}
"""The exclusive upper limit for numbers in each unit; the limit of the previous unit is the lower limit."""

NAMES: Final[dict[Unit, str]] = {
    "s": "seconds",
    "ms": "milliseconds",
    "us": "microseconds",
    "ns": "nanoseconds",
}

DATES: Final = "dates and times"
NO_TIME: Final = ""
"""The kinds of times that are not numbers; the kind of a number is the name of its unit."""

EARLIEST_MS: Final = 946_684_800_000
"""Default for the earliest valid time: the beginning of the year 2000."""

UNAMBIGUOUS_FROM_MS: Final = 100_000_000_000
"""March 1973: from this time on, no number is a valid time in two units."""

MAX_AHEAD_MS: Final = 3_600_000
"""Maximum time by which a click's timestamp may be ahead of its record's timestamp, in milliseconds."""

MAX_TIMESTAMP_MS: Final = 253_402_300_799_999
"""The last millisecond of the year 9999, the latest valid time."""

_KINDS: Final = (*NAMES.values(), DATES, NO_TIME)
_UNITS_A_MS: Final[dict[Unit, int]] = {"ms": 1, "us": 1_000, "ns": 1_000_000}

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)
_number: Final = re.compile(r"[+-]?[0-9]+(?P<fraction>(?:\.[0-9]*)?(?:[eE][+-]?[0-9]+)?)").fullmatch
_midnight: Final = re.compile(r"(\S+)[T ]00:00(?::00(?:\.0+)?)?").fullmatch
_relative: Final = re.compile(
    r"([0-9]{4})[-/.]([0-9]{1,2})[-/.]([0-9]{1,2})"
    r"(?:(?:T|\s+)([0-9]{1,2}):([0-9]{2})(?::([0-9]{2})(?:[.,]([0-9]+))?)?"
    r"\s*(Z|UTC|GMT|[+-][0-9]{2}(?::?[0-9]{2})?(?:\s+UTC)?)?)?"
).fullmatch


class TimeRule:
    """Converts a field's value into a time.

    `unit` is the unit of numbers (None: by their size), `zone` the time zone of times without an offset.
    Raises ValueError if `unit` is None and numbers from `earliest_ms` on are ambiguous.
    """

    def __init__(
        self,
        *,
        unit: Unit | None = None,
        earliest_ms: int = EARLIEST_MS,
        zone: tzinfo = UTC,
        missing: Iterable[str] = MISSING,
    ) -> None:
        if unit is None and earliest_ms < UNAMBIGUOUS_FROM_MS:
            day = datetime.fromtimestamp(earliest_ms / 1000, UTC).date()
            raise ValueError(
                f"earliest is {day}, but before 1973-03-04 a number may be a valid time in two units: "
                "set timestamp_unit"
            )
        self._unit = unit
        self._earliest_ms = earliest_ms
        self._zone = zone
        self._is_utc = zone is UTC or str(zone) == "UTC"
        self._missing = frozenset([*missing, ""])
        # The range of integers that are certainly milliseconds.
        self._begin = max(BELOW["s"], earliest_ms)
        self._end = BELOW["ms"] if unit is None else 0
        self._kinds = dict.fromkeys(_KINDS, 0)
        self._examples: dict[str, Any] = {}

    def read(self, found: Any, record_timestamp_ms: int) -> int:
        """Return the time in `found`, in milliseconds; if `found` is missing, return the record's time.

        `record_timestamp_ms` is negative if the record has no time. Raises Undecodable.
        """
        # Hot path, once per record: nearly all times are integers in milliseconds.
        if (
            type(found) is int
            and self._begin <= found < self._end
            and not 0 <= record_timestamp_ms < found - MAX_AHEAD_MS
        ):
            return found
        timestamp_ms, kind = self._read(found, record_timestamp_ms)
        if timestamp_ms < self._earliest_ms:
            raise Undecodable(Reason.TOO_EARLY)
        if timestamp_ms > MAX_TIMESTAMP_MS:
            raise Undecodable(Reason.BAD_TIMESTAMP)
        if 0 <= record_timestamp_ms < timestamp_ms - MAX_AHEAD_MS:
            raise Undecodable(Reason.FUTURE_TIMESTAMP)
        self._kinds[kind] += 1
        self._examples[kind] = found
        return timestamp_ms

    def take_kinds(self) -> dict[str, tuple[int, Any]]:
        """Return the number of valid times by kind since the last call, each with an example.

        Does not count integers in milliseconds, which `read` does not examine further.
        """
        found = {kind: (self._kinds[kind], example) for kind, example in self._examples.items()}
        self._kinds |= dict.fromkeys(found, 0)
        self._examples.clear()
        return found

    def milliseconds(self, found: Any, record_timestamp_ms: int) -> int:
        """Return the same time as `read`, but without checks of its range. Raises Undecodable."""
        return self._read(found, record_timestamp_ms)[0]

    def _read(self, found: Any, record_timestamp_ms: int) -> tuple[int, str]:
        """Return the time and its kind. Raises Undecodable."""
        if isinstance(found, str):
            found = found.strip(BLANKS)
        if found is None or (isinstance(found, str) and found in self._missing):
            if record_timestamp_ms < 0:
                raise Undecodable(Reason.MISSING_FIELD)
            return record_timestamp_ms, NO_TIME
        if isinstance(found, str):
            number = as_number(found)
            return (self._text_ms(found), DATES) if number is None else self._number(number)
        if isinstance(found, msgpack.Timestamp):
            return found.to_unix_nano() // 1_000_000, DATES
        if isinstance(found, datetime):
            return self._moment_ms(found), DATES
        if isinstance(found, date):
            return self._moment_ms(datetime.combine(found, time())), DATES
        if isinstance(found, int | float | Decimal) and not isinstance(found, bool):
            return self._number(found)
        raise Undecodable(Reason.WRONG_TYPE)

    def _number(self, number: float | Decimal) -> tuple[int, str]:
        if not isinstance(number, int) and not _finite(number):
            raise Undecodable(Reason.NOT_FINITE)
        unit = self._unit or unit_of(number)
        if unit is None or not -BELOW["ns"] < number < BELOW["ns"]:
            raise Undecodable(Reason.BAD_TIMESTAMP)
        return to_ms(number, unit), NAMES[unit]

    def _text_ms(self, text: str) -> int:
        # RFC 3339, section 5.6: "T" and "Z" may be in lower case.
        text = text.upper()
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            moment = _like_rfc3339(text)
        return self._moment_ms(moment)

    def _moment_ms(self, moment: datetime) -> int:
        try:
            return ((moment if moment.tzinfo else self._in_zone(moment)) - _EPOCH) // _MILLISECOND
        except OverflowError:
            raise Undecodable(Reason.BAD_TIMESTAMP) from None

    def _in_zone(self, local: datetime) -> datetime:
        if self._is_utc:
            return local.replace(tzinfo=UTC)
        # If an hour repeats, `fold` 0 means its first occurrence; a time in a skipped hour is changed by the
        # conversion to UTC and back.
        moment = local.replace(tzinfo=self._zone).astimezone(UTC)
        if moment.astimezone(self._zone).replace(tzinfo=None, fold=0) != local.replace(fold=0):
            raise Undecodable(Reason.BAD_TIMESTAMP)
        return moment


def unit_of(number: float | Decimal) -> Unit | None:
    """Return the unit that the size of a number implies; None if it is too large for all units."""
    return next((unit for unit, below in BELOW.items() if -below < number < below), None)


def to_ms(number: float | Decimal, unit: Unit) -> int:
    """Return a finite number of `unit` as milliseconds, rounded down.

    A number with a fraction is rounded to microseconds first, because 0.001 has no exact float.
    """
    if isinstance(number, int):
        return number * 1000 if unit == "s" else number // _UNITS_A_MS[unit]
    return round(float(number) * MICROSECONDS[unit]) // 1000


def as_number(text: str) -> int | float | None:
    """Return the number in a text; None if the text is not a number."""
    found = _number(text)
    if not found:
        return None
    return float(text) if found["fraction"] or len(text) > 40 else int(text)


def joined(day: Any, clock: Any) -> str | None:
    """Return a date and a time of day from two fields as one text; None if both are missing.

    Raises Undecodable if exactly one of the fields is missing, or if a field is not text, a number, a date or
    a time.
    """
    if day is None and clock is None:
        return None
    parts = [_part(day, "08"), _part(clock, "06")]
    if found := _midnight(parts[0]):
        parts[0] = found[1]
    return " ".join(parts)


def _part(found: Any, digits: str) -> str:
    if found is None:
        raise Undecodable(Reason.MISSING_FIELD)
    if isinstance(found, str):
        return found.strip(BLANKS)
    if isinstance(found, datetime | date | time):
        return found.isoformat().replace("T", " ")
    if isinstance(found, int) and not isinstance(found, bool) and found >= 0:
        return format(found, digits)
    raise Undecodable(Reason.WRONG_TYPE)


def _like_rfc3339(text: str) -> datetime:
    found = _relative(text)
    if not found:
        raise Undecodable(Reason.BAD_TIMESTAMP)
    year, month, day, hour, minute, second, fraction, offset = found.groups()
    digits = ((fraction or "") + "000000")[:6]
    try:
        clock = time(int(hour or 0), int(minute or 0), int(second or 0), int(digits))
        zone = _offset(offset) if offset else None
        return datetime.combine(date(int(year), int(month), int(day)), clock, zone)
    except ValueError:
        raise Undecodable(Reason.BAD_TIMESTAMP) from None


def _offset(text: str) -> tzinfo:
    if text[0] not in "+-":
        return UTC
    zone = datetime.fromisoformat(f"2000-01-01T00:00{text.removesuffix('UTC').strip()}").tzinfo
    assert zone is not None  # noqa: S101  # text with an offset has a zone
    return zone


def _finite(number: float | Decimal) -> bool:
    return number.is_finite() if isinstance(number, Decimal) else number - number == 0
