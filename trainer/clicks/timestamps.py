"""Times in a column, for all rows at once by the worker's rule (`worker.core.times`): milliseconds (UTC).

The unit of each number is inferred from its own size, so a column may mix units. Common formats of text are
parsed by polars; other texts by the worker's rule, once for each distinct text. A Hypothesis test checks that
any value of any type gives the same time as the worker's rule (in zones with summer time until 2099, where
the tables of polars end).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final
from zoneinfo import ZoneInfo

import polars as pl

from trainer.clicks.ids import are_integers, is_text
from worker.core.ids import BLANKS, MISSING
from worker.core.reasons import Undecodable
from worker.core.times import BELOW, EARLIEST_MS, MAX_TIMESTAMP_MS, MICROSECONDS, TimeRule, Unit

HOUR_MS: Final = 3_600_000

_UNITS_A_MS: Final = {"ms": 1, "us": 1_000, "ns": 1_000_000}

_NUMBER: Final = r"^[+-]?[0-9]+(?:\.[0-9]*)?(?:[eE][+-]?[0-9]+)?$"
_USUAL: Final = (
    r"^[12][0-9]{3}-[0-9]{2}-[0-9]{2}[Tt ](?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]+)?"
    r"(?:[Zz]|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])?$"
)
_OFFSET: Final = r"([+-])([0-9]{2}):([0-9]{2})$"


@dataclass(frozen=True, kw_only=True)
class TimeSettings:
    """The settings of `[click]` for times. If `unit` is None, it is inferred from each number's size."""

    unit: Unit | None = None
    zone: str = "UTC"
    earliest_ms: int = EARLIEST_MS
    missing: tuple[str, ...] = MISSING

    def rule(self) -> TimeRule:
        """Return the worker's rule for times, with these settings."""
        zone = ZoneInfo(self.zone)
        return TimeRule(unit=self.unit, earliest_ms=self.earliest_ms, zone=zone, missing=self.missing)

    def read(self, value: Any) -> int | None:
        """Return a value as a time, plausible or not; None if it is not a time."""
        return _read(self.rule(), value)


def times_ms(column: pl.Expr, kind: pl.DataType, settings: TimeSettings) -> pl.Expr:
    """Return the times in a column of this type, plausible or not; null for values that are not times.

    Times after the year 9999 become null, as the worker refuses them.
    """
    if is_text(kind):
        texts = column.cast(pl.String)
        return texts.map_batches(partial(_of_texts, settings), return_dtype=pl.Int64(), is_elementwise=True)
    return _possible(_of_values(column, kind, settings))


def _of_values(column: pl.Expr, kind: pl.DataType, settings: TimeSettings) -> pl.Expr:
    if kind == pl.Date:
        return _in_zone(column.cast(pl.Datetime("us")), settings.zone)
    if isinstance(kind, pl.Datetime):
        return _floored(column, kind) if kind.time_zone else _in_zone(column, settings.zone, kind)
    if kind.is_integer():
        return _of_integers(column.cast(pl.Int128), settings.unit)
    if kind.is_float() or kind.is_decimal():
        return _of_floats(column.cast(pl.Float64), settings.unit)
    return pl.lit(None, pl.Int64())


def _possible(times: pl.Expr) -> pl.Expr:
    return pl.when(times.is_between(-MAX_TIMESTAMP_MS, MAX_TIMESTAMP_MS)).then(times)


def size_of(column: pl.Expr, kind: pl.DataType, settings: TimeSettings) -> pl.Expr:
    """Return the absolute value of each number, including numbers in text; null for all other values."""
    if is_text(kind):
        read = partial(_numbers, settings)
        texts = column.cast(pl.String)
        number = texts.map_batches(read, return_dtype=pl.Float64(), is_elementwise=True)
    else:
        number = column.cast(pl.Float64) if kind.is_numeric() else pl.lit(None, pl.Float64())
    return number.abs()


def is_of_unit(size: pl.Expr, unit: Unit, settings: TimeSettings) -> pl.Expr:
    """Return whether numbers of this size are in `unit`."""
    if settings.unit:
        return size.is_finite() & (settings.unit == unit)
    smaller = [BELOW[one] for one in BELOW if BELOW[one] < BELOW[unit]]
    return (size >= max(smaller, default=0)) & (size < BELOW[unit])


def _numbers(settings: TimeSettings, column: pl.Series) -> pl.Series:
    texts = _given(column, settings)
    if not are_integers(texts):
        texts = texts.set(~texts.str.contains(_NUMBER), None)
    return texts.cast(pl.Float64, strict=False)


def _given(column: pl.Series, settings: TimeSettings) -> pl.Series:
    """Return texts without whitespace around them; null for missing values."""
    texts = column if are_integers(column) else column.str.strip_chars(BLANKS)
    return texts.replace(["", *settings.missing], None)


def is_time_of_day(column: pl.Expr, kind: pl.DataType) -> pl.Expr:
    """Return whether values are times of day without a date."""
    if kind == pl.String:
        return column.str.contains(r"^\s*[0-9]{1,2}:[0-9]{2}(?::[0-9]{2}(?:[.,][0-9]+)?)?\s*$")
    return column.is_not_null() if kind == pl.Time else pl.lit(False)


def joined(day: pl.Expr, day_kind: pl.DataType, clock: pl.Expr, clock_kind: pl.DataType) -> pl.Expr:
    """Join a column of dates and a column of times of day to text, as `worker.core.times.joined` does."""
    date = _part(day, day_kind, 8).str.replace(r"^(\S+)[T ]00:00(?::00(?:\.0+)?)?$", "$1")
    return date + " " + _part(clock, clock_kind, 6)


def _part(column: pl.Expr, kind: pl.DataType, digits: int) -> pl.Expr:
    if kind.is_integer():
        return pl.when(column >= 0).then(column.cast(pl.String).str.zfill(digits))
    if isinstance(kind, pl.Datetime):
        return column.dt.to_string("iso:strict").str.replace("T", " ")
    if kind.is_temporal():
        return column.dt.to_string("iso")
    return column.cast(pl.String).str.strip_chars(BLANKS)


def _of_integers(number: pl.Expr, unit: Unit | None) -> pl.Expr:
    """Return integers as times; null for numbers that are too large for any unit."""
    times = pl.lit(None, pl.Int64())
    for one, below in reversed(BELOW.items()):
        if unit in (None, one):
            # Larger numbers of seconds are after the year 9999, and their milliseconds may exceed 64 bits.
            most = below if unit is None else BELOW["ms" if one == "s" else "ns"]
            found = number * 1000 if one == "s" else number // _UNITS_A_MS[one]
            times = pl.when(number.is_between(-most, most, closed="none")).then(found).otherwise(times)
    return times.cast(pl.Int64, strict=False)


def _of_floats(number: pl.Expr, unit: Unit | None) -> pl.Expr:
    """Return floats as times, rounded to microseconds first, as in the worker's rule."""
    size, times = number.abs(), pl.lit(None, pl.Float64())
    units: Iterable[Unit] = [unit] if unit else reversed(BELOW)
    for one in units:
        below = BELOW["ns"] if unit else BELOW[one]
        times = pl.when(size < below).then(number * MICROSECONDS[one]).otherwise(times)
    return (times.round().cast(pl.Int128, strict=False) // 1000).cast(pl.Int64, strict=False)


def _of_texts(settings: TimeSettings, column: pl.Series) -> pl.Series:
    text, value, unit = pl.col("text"), pl.col("value"), settings.unit
    by_rule = partial(_by_rule, settings.rule())
    ways = (
        (text.cast(pl.Int64, strict=False), _of_integers(value, unit)),
        (text.cast(pl.Int128, strict=False), _of_integers(value, unit)),
        (pl.when(text.str.contains(_NUMBER)).then(text).cast(pl.Float64), _of_floats(value, unit)),
        (pl.when(text.str.contains(_USUAL)).then(text), _usual(value, settings.zone)),
        (text, value.map_batches(by_rule, return_dtype=pl.Int64())),
    )
    return _read_in_turn(_given(column, settings).alias("text"), ways).alias(column.name)


def _read_in_turn(texts: pl.Series, ways: Sequence[tuple[pl.Expr, pl.Expr]]) -> pl.Series:
    """Return texts as times. Hot path: each parser gets only the texts that the parsers before it refuse."""
    (value, time), *others = ways
    # Each step is a select, because polars computes a repeated expression again at each place.
    read = texts.to_frame().select(value=value).select(time=time)
    times = read.select(_possible(pl.col("time"))).to_series()
    left = (texts.is_not_null() & times.is_null()).arg_true()
    if not others or left.is_empty():
        return times
    return times.scatter(left, _read_in_turn(texts.gather(left), others))


def _usual(text: pl.Expr, zone: str) -> pl.Expr:
    """Return texts in the common formats with seconds as milliseconds."""
    day_and_clock = text.str.slice(0, 10) + " " + text.str.slice(11, 8)
    seconds = day_and_clock.str.to_datetime("%Y-%m-%d %H:%M:%S", time_unit="us", strict=False)
    fraction = text.str.extract(r"\.([0-9]{1,3})").str.pad_end(3, "0").cast(pl.Int64, strict=False)
    minutes = text.str.extract(_OFFSET, 2).cast(pl.Int64) * 60 + text.str.extract(_OFFSET, 3).cast(pl.Int64)
    offset = pl.when(text.str.extract(_OFFSET, 1) == "-").then(-minutes).otherwise(minutes)
    exact = text.str.ends_with("Z") | text.str.ends_with("z") | offset.is_not_null()
    utc = seconds.dt.epoch("ms") - offset.fill_null(0) * 60_000
    return pl.when(exact).then(utc).otherwise(_in_zone(seconds, zone)) + fraction.fill_null(0)


def _by_rule(rule: TimeRule, column: pl.Series) -> pl.Series:
    found = {one: _read(rule, one) for one in column.unique().to_list()}
    return pl.Series(column.name, [found[one] for one in column.to_list()], pl.Int64())


def _read(rule: TimeRule, value: Any) -> int | None:
    try:
        found = rule.milliseconds(value, -1)
    except Undecodable:
        return None
    return found if abs(found) <= MAX_TIMESTAMP_MS else None


def _in_zone(local: pl.Expr, zone: str, kind: pl.Datetime | None = None) -> pl.Expr:
    # If summer time repeats an hour, the first of the two is meant; times in a skipped hour become null.
    placed = local.dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null")
    return _floored(placed, kind or pl.Datetime("us"))


def _floored(moment: pl.Expr, kind: pl.Datetime) -> pl.Expr:
    """Return moments as milliseconds, rounded down."""
    return moment.dt.timestamp(kind.time_unit) // _UNITS_A_MS[kind.time_unit]


def time_kind_in_words(kind: pl.DataType) -> str | None:
    """Return `kind` as text for display if a column of this type cannot hold times; otherwise None."""
    names: dict[Any, str] = {
        pl.Boolean: "true or false",
        pl.Duration: "durations",
        pl.Time: "times of day without a date",
        pl.List: "lists",
        pl.Array: "lists",
        pl.Struct: "structures",
        pl.Binary: "bytes",
    }
    if is_text(kind) or kind.is_numeric() or isinstance(kind, pl.Date | pl.Datetime | pl.Null):
        return None
    return names.get(type(kind), f"values of the type {type(kind).__name__.lower()}")
