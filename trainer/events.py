"""Clicks from files, as one table, and its cleaning.

Whatever the file, the table has three columns: `user_id` and `item_id` (text; an integer is its
decimal text, as in the worker) and `timestamp_ms` (milliseconds since the epoch, UTC). What cannot be
read is null; `clean` removes it and says so. A user's rows stand in the order of arrival.

    >>> frame = pl.DataFrame(
    ...     {"SessionId": [1, 1], "ItemId": [7, 8], "Time": ["2014-09-24T12:00:00Z", "soon"]}
    ... )
    >>> table = from_frame(frame)
    >>> table.clicks.rows(), table.times
    ([('1', '7', 1411560000000), ('1', '8', None)], 'dates and times')
"""

from __future__ import annotations

import gzip
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import polars as pl

from trainer.errors import MissingColumn, UnreadableFile, UnusableClicks
from worker.core.event import MAX_AHEAD_MS, MAX_ID_BYTES

SCHEMA: Final = {"user_id": pl.String(), "item_id": pl.String(), "timestamp_ms": pl.Int64()}
"""The columns of a table of clicks."""

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

_UNITS: Final = (
    (1e11, "unix seconds", 1000.0),
    (1e14, "unix milliseconds", 1.0),
    (1e17, "unix microseconds", 1e-3),
    (float("inf"), "unix nanoseconds", 1e-6),
)
"""Below which number a time of our days is in which unit, and milliseconds in one."""

_TEXT_FORMATS: Final = ("%+", "%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%d %H:%M", "%Y-%m-%d")
"""RFC 3339 first; the others have no offset and are read as UTC."""

_FIRST_CREDIBLE_MS: Final = 86_400_000
"""Times on the first day of 1970 are zeros or numbers in a unit other than the rest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """The names of a file's columns; None: the first that is recognised."""

    user: str | None = None
    item: str | None = None
    timestamp: str | None = None


class Table(NamedTuple):
    """`clicks` with the columns of `SCHEMA`; `columns` says where they were found, `times` in what unit."""

    clicks: pl.DataFrame
    columns: Columns
    times: str


class Removal(NamedTuple):
    """What one step of cleaning took away: so many of `what`, so many are left, and why."""

    removed: int
    left: int
    what: str
    why: str

    def __str__(self) -> str:
        return f"removed {self.removed:,} of {self.removed + self.left:,} {self.what}: {self.why}"


def read_files(paths: Sequence[Path], columns: Columns = Columns()) -> Table:  # frozen
    """The clicks of all files together, in the order of their times.

    CSV (any usual separator), Parquet and JSON lines, told by the name; CSV and JSON lines may be
    compressed (.gz). Raises UnreadableFile, MissingColumn, or UnusableClicks where no time can be read.
    """
    tables = [from_frame(_load(path), columns, source=str(path)) for path in paths]
    clicks = pl.concat([table.clicks for table in tables]).sort("timestamp_ms", maintain_order=True)
    return Table(clicks, tables[0].columns, tables[0].times)


def from_frame(frame: pl.DataFrame, columns: Columns = Columns(), *, source: str = "the table") -> Table:
    """The clicks in any table that has columns for users, items and times; order is kept."""
    user = _find(frame.columns, "user", columns.user, source)
    item = _find(frame.columns, "item", columns.item, source)
    timestamp = _find(frame.columns, "timestamp", columns.timestamp, source)
    if frame.is_empty():
        raise UnreadableFile(source, "it has no rows")
    times, unit = _times_ms(frame[timestamp], source)
    found = [_ids(frame[user], source), _ids(frame[item], source), times]
    clicks = pl.DataFrame([one.alias(name) for one, name in zip(found, SCHEMA, strict=True)])
    return Table(clicks, Columns(user=user, item=item, timestamp=timestamp), unit)


def clean(clicks: pl.DataFrame, *, now_ms: int) -> tuple[pl.DataFrame, list[Removal]]:
    """`clicks` without what cannot be a click or is there twice, and what was removed, step by step."""
    removals = []
    for why, keep in _cleaning_steps(now_ms):
        kept = keep(clicks)
        removals.append(Removal(len(clicks) - len(kept), len(kept), "clicks", why))
        clicks = kept
    return clicks, removals


def _cleaning_steps(now_ms: int) -> list[tuple[str, Callable[[pl.DataFrame], pl.DataFrame]]]:
    # The worker refuses the same ids and times, so nothing is learned that it would never see.
    ids = pl.col("user_id", "item_id")
    time = pl.col("timestamp_ms")
    return [
        ("user or item is missing", lambda clicks: clicks.filter(pl.all_horizontal(ids.str.len_bytes() > 0))),
        (
            f"user or item has more than {MAX_ID_BYTES} bytes",
            lambda clicks: clicks.filter(pl.all_horizontal(ids.str.len_bytes() <= MAX_ID_BYTES)),
        ),
        (
            "the time is missing, unreadable, before 1970-01-02 or in the future",
            lambda clicks: clicks.filter(time.is_between(_FIRST_CREDIBLE_MS, now_ms + MAX_AHEAD_MS)),
        ),
        ("exact duplicates (same user, item and time)", lambda clicks: clicks.unique(maintain_order=True)),
    ]


def _load(path: Path) -> pl.DataFrame:
    kind = path.name.lower().removesuffix(".gz").rpartition(".")[2]
    if not path.is_file():
        raise UnreadableFile(str(path), "there is no such file")
    if path.stat().st_size == 0:
        raise UnreadableFile(str(path), "the file is empty")
    if kind not in _LOADERS:
        raise UnreadableFile(
            str(path), "the name must end in .csv, .tsv, .parquet or .jsonl (or .csv.gz, .jsonl.gz)"
        )
    try:
        return _LOADERS[kind](path)
    except (pl.exceptions.PolarsError, OSError, EOFError, UnicodeDecodeError) as error:
        raise UnreadableFile(
            str(path), f"it cannot be read as .{kind}: {str(error).splitlines()[0]}"
        ) from None


def _load_csv(path: Path) -> pl.DataFrame:
    # Everything stays text: an id such as 007 is no number.
    with _opened(path) as file:
        header = file.readline().decode("utf-8-sig")
    separator = max(",;\t|", key=header.count)
    return pl.read_csv(path, separator=separator, infer_schema=False, truncate_ragged_lines=True)


def _load_json_lines(path: Path) -> pl.DataFrame:
    with _opened(path) as file:
        return pl.read_ndjson(file.read(), infer_schema_length=None)


_LOADERS: Final[dict[str, Callable[[Path], pl.DataFrame]]] = {
    **dict.fromkeys(("csv", "tsv", "txt"), _load_csv),
    **dict.fromkeys(("jsonl", "ndjson"), _load_json_lines),
    "parquet": pl.read_parquet,
}


def _opened(path: Path) -> gzip.GzipFile | BufferedReader:
    return gzip.open(path) if path.name.lower().endswith(".gz") else path.open("rb")


def _find(existing: Sequence[str], role: str, wanted: str | None, source: str) -> str:
    names = ", ".join(existing)
    if wanted is not None:
        if wanted in existing:
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


def _ids(column: pl.Series, source: str) -> pl.Series:
    if column.dtype.is_float():
        # A column of integers in which some are missing reaches us as floats: 7.0 means 7.
        whole = column.is_nan().not_() & (column.round() == column)
        column = pl.select(pl.when(whole).then(column)).to_series().cast(pl.Int64, strict=False)
    if column.dtype.is_nested() or column.dtype == pl.Boolean:
        raise UnusableClicks(
            f"{source}: column {column.name!r} holds {column.dtype}, ids must be text or integers"
        )
    return column.cast(pl.String)


def _times_ms(column: pl.Series, source: str) -> tuple[pl.Series, str]:
    if column.dtype.is_temporal():
        times, unit = column.cast(pl.Datetime("ms")).cast(pl.Int64), "dates and times"
    else:
        numbers = column.cast(pl.Float64, strict=False)
        if numbers.count() * 2 > column.count():
            times, unit = _from_numbers(numbers)
        else:
            times, unit = _from_text(column), "dates and times"
    if times.count() == 0:
        raise UnusableClicks(
            f"{source}: nothing in column {column.name!r} can be read as a time (the first value is "
            f"{column.first()!r}); unix seconds, milliseconds, or times like 2014-09-24T12:00:00Z can"
        )
    return times, unit


def _from_numbers(numbers: pl.Series) -> tuple[pl.Series, str]:
    finite = numbers.filter(numbers.is_finite())
    typical = float(np.median(np.abs(finite.to_numpy()))) if len(finite) else 0.0
    unit, milliseconds = next((unit, factor) for below, unit, factor in _UNITS if typical < below)
    return (numbers * milliseconds).round().cast(pl.Int64, strict=False), unit


def _from_text(column: pl.Series) -> pl.Series:
    text = column.cast(pl.String, strict=False)
    parsed = [
        text.str.to_datetime(form, time_unit="ms", time_zone="UTC", strict=False) for form in _TEXT_FORMATS
    ]
    return pl.select(pl.coalesce(parsed)).to_series().cast(pl.Int64)
