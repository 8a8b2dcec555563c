r"""Conversion of a table with users, items and times to clicks.

A table of clicks has three columns: `user_id` and `item_id` (text; an integer becomes its decimal text, as
in the worker) and `timestamp_ms` (milliseconds since the epoch, UTC). Unreadable values are null;
`trainer.clicks.cleaning` removes and reports them. The rows of a user are in order of arrival.

    >>> frame = pl.DataFrame(
    ...     {"SessionId": [1, 1], "ItemId": [7, 8], "Time": ["2014-09-24T12:00:00Z", "soon"]}
    ... )
    >>> scan = convert(frame.lazy(), Columns(), source="the table")
    >>> scan.clicks.collect().rows(), scan.times
    ([('1', '7', 1411560000000), ('1', '8', None)], 'dates and times')
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import Final, NamedTuple

import polars as pl

from trainer.clicks import ids
from trainer.clicks.counts import ROLES, Counts, counted
from trainer.clicks.fields import EACH, Field, exploded, field_at, in_each
from trainer.clicks.recognition import date_column, in_words, recognise, repeated
from trainer.clicks.rules import Rules
from trainer.clicks.timestamps import is_time_of_day, joined, time_kind_in_words, times_ms
from trainer.errors import MissingColumn, UnreadableFile, UnusableClicks
from worker.core import paths
from worker.core.event import TWO_FIELDS
from worker.core.ids import MISSING
from worker.core.where import settings_of

SCHEMA: Final = {"user_id": pl.String(), "item_id": pl.String(), "timestamp_ms": pl.Int64()}
"""The columns of a table of clicks."""

SAMPLE_ROWS: Final = 100_000
"""The number of rows from which the contents of a column are inferred: a source may exceed memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """The columns of a source, as paths (`worker.core.paths`); a column that is None is recognised by name.

    `timestamp` may be the paths of a date and of a time of day, joined by ` + `. `extra` columns are kept
    under their own names.
    """

    user: str | None = None
    item: str | None = None
    timestamp: str | None = None
    extra: tuple[str, ...] = ()


class Table(NamedTuple):
    """`clicks` with the columns of `SCHEMA`, their source `columns`, and the kind of the `times` as text."""

    clicks: pl.DataFrame
    columns: Columns
    times: str


@dataclass(frozen=True, slots=True)
class Scan:
    """A `Table` that has not been read yet.

    `left` maps a role to the columns that might have been meant instead.
    """

    clicks: pl.LazyFrame
    columns: Columns
    times: str
    rows: int
    counts: Counts = field(default_factory=Counts)
    left: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def notes(self) -> tuple[str, ...]:
        """Human-readable notes: which columns were chosen over others, and how values were read."""
        names = {role: getattr(self.columns, role) or role for role in (*ROLES, "timestamp")}
        left = [
            f"using column {names[role]} as the {role}, not {', '.join(others)}; "
            f"to use another column, name it with --{role}"
            for role, others in self.left.items()
            if others
        ]
        return (*left, *self.counts.notes(names))


class _Found(NamedTuple):
    """The fields of a click by role, with `columns` and `left` as in `Scan`."""

    fields: dict[str, Field]
    columns: Columns
    left: dict[str, tuple[str, ...]]


def convert(frame: pl.LazyFrame, columns: Columns, *, source: str, rules: Rules = Rules()) -> Scan:  # noqa: B008  # frozen
    """Return the clicks in a table that has columns for users, items and times, in the order of the table.

    `source` names the table in errors. All rows are scanned, so damage is found here, but only a sample is
    kept in memory. Raises MissingColumn, UnusableClicks, or UnreadableFile if there are no rows.
    """
    frame = _in_rows(frame, columns, source)
    found = _found(frame, columns, source)
    count = frame.select(pl.len()).collect(engine="streaming").item() if rules.where else 0
    for clause in rules.where:
        one = _field(frame.collect_schema(), clause.path, source, clause.setting)
        frame = frame.filter(_holds(one, clause.equal, sorted(clause.values)))
    sample = _sample(frame, found)
    if sample.is_empty():
        why = f"{settings_of(rules.where)} excludes all rows" if count else "it has no rows"
        raise UnreadableFile(source, why)
    if (dated := _with_date(frame, found, columns, sample)) is not found:
        found, sample = dated, _sample(frame, dated)
    time = _time(sample, found, rules, source)
    for role in ROLES:
        _check_ids(sample[role], found.fields[role].kind, getattr(found.columns, role), source)
    counts = counted(frame, found.fields, time, rules)
    counts.skipped = count - counts.rows if rules.where else 0
    clicks = frame.select(
        ids.ids(*found.fields["user"], missing=rules.missing).alias("user_id"),
        ids.ids(*found.fields["item"], missing=rules.missing).alias("item_id"),
        time.alias("timestamp_ms"),
        *_extra(frame, columns, source),
    ).filter(pl.col("timestamp_ms").is_between(rules.times.earliest_ms, rules.latest_ms).fill_null(True))
    return Scan(clicks, found.columns, counts.times, counts.rows, counts, found.left)


def convert_items(
    frame: pl.LazyFrame, columns: Columns, *, source: str, missing: tuple[str, ...] = MISSING
) -> pl.LazyFrame:
    """Return the item ids of a table of items as `item_id`, with the extra columns."""
    schema = frame.collect_schema()
    wanted = columns.item or ("id" if "id" in schema and "item_id" not in schema else None)
    frame = _in_rows(frame, replace(columns, user=None, timestamp=None), source)
    name, item, _ = _one(frame.collect_schema(), "item", wanted, source)
    sample = frame.select(item.column.alias("item")).head(SAMPLE_ROWS).collect()["item"]
    _check_ids(sample, item.kind, name, source)
    return frame.select(ids.ids(*item, missing=missing).alias("item_id"), *_extra(frame, columns, source))


def _in_rows(frame: pl.LazyFrame, columns: Columns, source: str) -> pl.LazyFrame:
    """Return a row for each click. If the item's path goes through a list, each element is a click."""
    each = paths.parse(columns.item).each if columns.item else None
    if each is None:
        return frame
    rows = exploded(frame, each)
    if rows is None:
        raise MissingColumn(
            f"{source} has no list {'.'.join(each)!r}; it has: {in_words(frame.collect_schema())}",
            role="item",
            existing=frame.collect_schema().names(),
        )
    return rows


def _found(frame: pl.LazyFrame, columns: Columns, source: str) -> _Found:
    schema = frame.collect_schema()
    if not schema:
        raise UnreadableFile(source, "it has no rows with fields")
    names, fields, left = dict[str, str](), dict[str, Field](), dict[str, tuple[str, ...]]()
    for role in (*ROLES, "timestamp"):
        wanted = getattr(columns, role)
        if role == "timestamp" and wanted and TWO_FIELDS in wanted:
            day, clock = (_one(schema, role, one, source)[1] for one in wanted.split(TWO_FIELDS))
            names[role], fields[role] = wanted, Field(joined(*day, *clock), pl.String())
        else:
            names[role], fields[role], left[role] = _one(schema, role, wanted, source)
    for one, other in combinations(names, 2):
        if names[one] == names[other]:
            raise UnusableClicks(
                f"{source}: column {names[one]!r} is both the {one} and the {other}; name another column "
                f"with --{one} or --{other}"
            )
    taken = replace(columns, user=names["user"], item=names["item"], timestamp=names["timestamp"])
    return _Found(fields, taken, left)


def _one(schema: pl.Schema, role: str, wanted: str | None, source: str) -> tuple[str, Field, tuple[str, ...]]:
    """Return the name and the field of a role, and the columns that might have been meant instead."""
    if wanted is not None:
        return wanted, _field(schema, paths.parse(wanted), source, role), repeated(schema, wanted)
    taken = recognise({name: kind for name, kind in schema.items() if name != EACH}, role, source)
    found = field_at(schema, taken.names, of_ids=role in ROLES)
    assert found is not None  # noqa: S101  # it is one of the schema's
    name = ".".join(taken.names)
    return name, found, tuple(dict.fromkeys((*taken.left, *repeated(schema, name))))


def _field(schema: pl.Schema, path: paths.Path, source: str, role: str) -> Field:
    found = None
    if path.root == "value":
        at = field_at if path.each is None else in_each
        found = at(schema, path.names, of_ids=role in ROLES)
    if found is None:
        by = "" if role in (*ROLES, "timestamp", "extra") else f" ({role})"
        raise MissingColumn(
            f"{source} has no column {path.text!r}{by}; it has: {in_words(schema)}",
            role=role,
            existing=schema.names(),
        )
    return found


def _extra(frame: pl.LazyFrame, columns: Columns, source: str) -> list[pl.Expr]:
    schema = frame.collect_schema()
    return [_field(schema, paths.parse(name), source, "extra").column.alias(name) for name in columns.extra]


def _sample(frame: pl.LazyFrame, found: _Found) -> pl.DataFrame:
    columns = {role: one.column for role, one in found.fields.items()}
    return frame.select(**columns).head(SAMPLE_ROWS).collect()


def _with_date(frame: pl.LazyFrame, found: _Found, columns: Columns, sample: pl.DataFrame) -> _Found:
    """Return `found`. If its times are times of day, join them with a column of dates."""
    kind = found.fields["timestamp"].kind
    clocks = sample.select(is_time_of_day(pl.col("timestamp"), kind).sum()).item()
    day = date_column(frame.collect_schema())
    if columns.timestamp or day is None or 2 * clocks <= len(sample):
        return found
    date = field_at(frame.collect_schema(), (day,))
    assert date is not None  # noqa: S101  # it is one of the schema's
    together = Field(joined(*date, *found.fields["timestamp"]), pl.String())
    names = replace(found.columns, timestamp=f"{day}{TWO_FIELDS}{found.columns.timestamp}")
    left = tuple(one for one in found.left["timestamp"] if one != day)
    return _Found({**found.fields, "timestamp": together}, names, {**found.left, "timestamp": left})


def _time(sample: pl.DataFrame, found: _Found, rules: Rules, source: str) -> pl.Expr:
    """Return the times in milliseconds. Raises UnusableClicks if `sample` has no readable time."""
    name, (column, kind) = found.columns.timestamp, found.fields["timestamp"]
    if words := time_kind_in_words(kind):
        raise UnusableClicks(
            f"{source}: column {name!r} holds {words}, not times; choose another column with --timestamp"
        )
    if sample.select(times_ms(pl.col("timestamp"), kind, rules.times).count()).item() == 0:
        raise UnusableClicks(
            f"{source}: no value in column {name!r} can be read as a time (the first value is "
            f"{sample['timestamp'].first()!r}); use unix seconds, unix milliseconds or times "
            "such as 2014-09-24T12:00:00Z"
        )
    return times_ms(column, kind, rules.times)


def _check_ids(sample: pl.Series, kind: pl.DataType, name: str, source: str) -> None:
    """Raise UnusableClicks if a column that starts with `sample` does not hold ids."""
    if words := ids.kind_in_words(kind):
        advice = "; use a path such as items[] to get a click for each element" if words == "lists" else ""
        raise UnusableClicks(
            f"{source}: column {name!r} holds {words}, but ids must be text or integers{advice}"
        )
    if kind.is_float() or kind.is_decimal():
        finite = sample.filter(sample.is_finite()) if kind.is_float() else sample.drop_nulls()
        if (broken := finite.filter(finite != finite.floor())).len():
            raise UnusableClicks(
                f"{source}: column {name!r} holds numbers such as {broken[0]}, "
                "but ids must be text or integers"
            )


def _holds(one: Field, equal: bool, values: list[str]) -> pl.Expr:
    """Return whether a clause of `click.where` holds, as `worker.core.where.Clause.holds` does."""
    text = one.column.cast(pl.String) if one.kind == pl.Boolean else ids.texts(*one)
    is_one = text.is_in(values).fill_null(False)
    return is_one if equal else ~is_one
