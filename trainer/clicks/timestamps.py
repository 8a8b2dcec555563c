"""Times as they are found in files, as milliseconds since the epoch (UTC)."""

from __future__ import annotations

from typing import Final

import numpy as np
import polars as pl

from trainer.errors import UnusableClicks

HOUR_MS: Final = 3_600_000

UNITS: Final = {"s": 1000.0, "ms": 1.0, "us": 1e-3, "ns": 1e-6}
"""Milliseconds in each unit that numbers may have."""

_NAMES: Final = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}

_BELOW: Final = ((1e11, "s"), (1e14, "ms"), (1e17, "us"), (float("inf"), "ns"))
"""Below which number a time of our days is in which unit."""

_TEXT_FORMATS: Final = ("%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%d %H:%M", "%Y-%m-%d")
"""Besides RFC 3339; these have no offset."""


def times_ms(
    sample: pl.Series, column: pl.Expr, *, zone: str, unit: str | None, source: str
) -> tuple[pl.Expr, str]:
    """Return the times in `column`, which begins with `sample`, and their unit in words.

    `zone` is that of times without an offset, `unit` that of numbers (None: inferred from their size).
    """
    if sample.dtype.is_temporal():
        times, words = _from_moments(column, sample.dtype, zone), "dates and times"
    else:
        numbers = sample.cast(pl.Float64, strict=False)
        if numbers.count() * 2 > sample.count():
            times, words = _from_numbers(column, unit or _unit_of(numbers))
        else:
            times, words = _from_text(column, zone), "dates and times"
    if sample.to_frame().select(times.alias("ms"))["ms"].count() == 0:
        raise UnusableClicks(
            f"{source}: nothing in column {sample.name!r} can be read as a time (the first value is "
            f"{sample.first()!r}); unix seconds, milliseconds, or times like 2014-09-24T12:00:00Z can"
        )
    return times, words


def _from_moments(column: pl.Expr, kind: pl.DataType, zone: str) -> pl.Expr:
    if isinstance(kind, pl.Datetime) and kind.time_zone:
        return column.dt.epoch("ms")
    return _in_zone(column.cast(pl.Datetime("ms")), zone)


def _from_numbers(column: pl.Expr, unit: str) -> tuple[pl.Expr, str]:
    numbers = column.cast(pl.Float64, strict=False) * UNITS[unit]
    return numbers.round().cast(pl.Int64, strict=False), f"unix {_NAMES[unit]}"


def _unit_of(numbers: pl.Series) -> str:
    finite = numbers.filter(numbers.is_finite())
    typical = float(np.median(np.abs(finite.to_numpy()))) if len(finite) else 0.0
    return next(unit for below, unit in _BELOW if typical < below)


def _from_text(column: pl.Expr, zone: str) -> pl.Expr:
    text = column.cast(pl.String, strict=False)
    exact = text.str.to_datetime("%+", time_unit="ms", time_zone="UTC", strict=False).dt.epoch("ms")
    local = [text.str.to_datetime(form, time_unit="ms", strict=False) for form in _TEXT_FORMATS]
    return pl.coalesce(exact, *(_in_zone(one, zone) for one in local))


def _in_zone(local: pl.Expr, zone: str) -> pl.Expr:
    # An hour that summer time repeats is read as the first of the two; one that it skips is no time.
    return local.dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null").dt.epoch("ms")
