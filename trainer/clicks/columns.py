"""Conversion of any table with users, items and times to clicks.

Clicks of any source have three columns: `user_id` and `item_id` (text; an integer is its
decimal text, as in the worker) and `timestamp_ms` (milliseconds since the epoch, UTC). Unreadable values
are null; `trainer.clicks.cleaning` removes and reports them. A user's rows are in the order of arrival.

    >>> frame = pl.DataFrame(
    ...     {"SessionId": [1, 1], "ItemId": [7, 8], "Time": ["2014-09-24T12:00:00Z", "soon"]}
    ... )
    >>> scan = convert(frame.lazy(), Columns(), source="the table")
    >>> scan.clicks.collect().rows(), scan.times
    ([('1', '7', 1411560000000), ('1', '8', None)], 'dates and times')
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple

import polars as pl

from trainer.clicks.timestamps import times_ms
from trainer.errors import MissingColumn, UnreadableFile, UnusableClicks

SCHEMA: Final = {"user_id": pl.String(), "item_id": pl.String(), "timestamp_ms": pl.Int64()}
"""The columns of a table of clicks."""

SAMPLE_ROWS: Final = 100_000
"""The number of first rows from which the kinds of ids and times are inferred: a source may exceed memory."""

_KNOWN_NAMES: Final = {
    "user": ("userid", "sessionid", "user", "session", "visitorid", "customerid", "clientid", "uid", "sid"),
    "item": (
        "itemid",
        "productid",
        "articleid",
        "movieid",
        "item",
        "product",
        "article",
        "movie",
        "iid",
        "sku",
    ),
    "timestamp": (
        "timestamp",
        "timestampms",
        "time",
        "eventtime",
        "ts",
        "datetime",
        "createdat",
        "eventdate",
        "date",
    ),
}
"""Column names that are recognised, in lower case and without separators, the likeliest first."""

_WHOLE_FLOAT: Final = r"^(\d+)\.0$"


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """The columns of a source. A dot in a name reaches into a nested column; None: the first recognised name.

    `extra` columns are taken along under their own names. `time_zone` is that of times without an
    offset, `time_unit` (s, ms, us, ns) that of numbers; None: inferred from their size.
    """

    user: str | None = None
    item: str | None = None
    timestamp: str | None = None
    extra: tuple[str, ...] = ()
    time_zone: str = "UTC"
    time_unit: str | None = None


class Table(NamedTuple):
    """`clicks` with the columns of `SCHEMA`; `columns` names the columns they came from, `times` the unit."""

    clicks: pl.DataFrame
    columns: Columns
    times: str


class Scan(NamedTuple):
    """As `Table`, before it is read; `rows` is their number, `notes` what a person should know of the ids."""

    clicks: pl.LazyFrame
    columns: Columns
    times: str
    rows: int
    notes: tuple[str, ...] = ()


def convert(frame: pl.LazyFrame, columns: Columns, *, source: str) -> Scan:
    """Return the clicks in any table that has columns for users, items and times, in the order of the table.

    `source` is its name in errors. All rows are looked at, so that what is damaged is found here, but no
    more than the first are in memory.
    """
    schema = frame.collect_schema()
    user = _find(schema, "user", columns.user, source)
    item = _find(schema, "item", columns.item, source)
    timestamp = _find(schema, "timestamp", columns.timestamp, source)
    for name in columns.extra:
        _find(schema, "extra", name, source)
    used = frame.select(user=at(user), item=at(item), timestamp=at(timestamp))
    sample = used.head(SAMPLE_ROWS).collect()
    if sample.is_empty():
        raise UnreadableFile(source, "it has no rows")
    times, unit = times_ms(
        sample["timestamp"].alias(timestamp),
        at(timestamp),
        zone=columns.time_zone,
        unit=columns.time_unit,
        source=source,
    )
    clicks = frame.select(
        _id(sample["user"].alias(user), source).alias("user_id"),
        _id(sample["item"].alias(item), source).alias("item_id"),
        times.alias("timestamp_ms"),
        *(at(name).alias(name) for name in columns.extra),
    )
    rows = used.select(pl.len(), pl.all().null_count()).collect(engine="streaming").item(0, 0)
    notes = (_id_note(sample["user"].alias(user)), _id_note(sample["item"].alias(item)))
    found = replace(columns, user=user, item=item, timestamp=timestamp)
    return Scan(clicks, found, unit, rows, tuple(filter(None, notes)))


def convert_items(frame: pl.LazyFrame, columns: Columns, *, source: str) -> pl.LazyFrame:
    """Return the column of items as `item_id`, with the extra columns, of a table of items without clicks."""
    schema = frame.collect_schema()
    item = _find(schema, "item", columns.item or ("id" if "id" in schema else None), source)
    for name in columns.extra:
        _find(schema, "extra", name, source)
    sample = frame.select(at(item).alias(item)).head(SAMPLE_ROWS).collect()[item]
    return frame.select(
        _id(sample, source).alias("item_id"), *(at(name).alias(name) for name in columns.extra)
    )


def at(name: str) -> pl.Expr:
    """Return the column `name`; dots reach into nested columns."""
    outer, *inner = name.split(".")
    column = pl.col(outer)
    for field in inner:
        column = column.struct.field(field)
    return column


def _find(schema: pl.Schema, role: str, wanted: str | None, source: str) -> str:
    existing = schema.names()
    hint = "" if len(existing) > 1 else "; fields must be separated by comma, semicolon, tab or |"
    names = ", ".join(existing) + hint
    if wanted is not None:
        if _exists(schema, wanted):
            return wanted
        raise MissingColumn(
            f"{source} has no column {wanted!r}; it has: {names}", role=role, existing=existing
        )
    plain = {"".join(filter(str.isalnum, name.lower())): name for name in reversed(existing)}
    for known in _KNOWN_NAMES[role]:
        if known in plain:
            return plain[known]
    raise MissingColumn(
        f"{source} has no column that looks like the {role}; name one with --{role}, it has: {names}",
        role=role,
        existing=existing,
    )


def _exists(schema: pl.Schema, name: str) -> bool:
    outer, *inner = name.split(".")
    kind: Any = schema.get(outer)
    for field in inner:
        kind = dict(kind).get(field) if isinstance(kind, pl.Struct) else None
    return kind is not None


def _id_note(sample: pl.Series) -> str:
    """Return what becomes of ids that look like 12.0; empty where there are none in `sample`."""
    ids = sample.drop_nulls().cast(pl.String)
    whole = ids.filter(ids.str.contains(_WHOLE_FLOAT))
    if not len(whole) or not (sample.dtype.is_float() or len(whole) == len(ids)):
        return ""
    first = whole[0]
    return (
        f"column {sample.name} has ids such as {first} (integers with missing values are stored so): "
        f"they are read as {first.removesuffix('.0')}"
    )


def _id(sample: pl.Series, source: str) -> pl.Expr:
    """Return a column that begins with `sample` as ids. 7.0, which integers with gaps become, is 7."""
    column, kind = at(sample.name), sample.dtype
    if kind.is_nested() or kind == pl.Boolean:
        raise UnusableClicks(f"{source}: column {sample.name!r} holds {kind}, ids must be text or integers")
    if kind.is_float():
        finite = sample.filter(sample.is_finite())
        if (broken := finite.filter(finite != finite.round())).len():
            raise UnusableClicks(
                f"{source}: column {sample.name!r} holds numbers such as {broken[0]}, "
                "ids must be text or integers"
            )
        whole = pl.when(column.is_finite() & (column == column.round())).then(column)
        return whole.cast(pl.Int64, strict=False).cast(pl.String)
    if kind == pl.String and sample.count() and sample.str.contains(_WHOLE_FLOAT).all():
        return column.str.replace(_WHOLE_FLOAT, "$1")
    return column.cast(pl.String)
