"""Clicks from files and folders of files, read lazily.

A folder is read as Spark and similar tools write it: all files in it and below, except empty files and names
that start with `_` or `.`. A folder named `date=2026-01-01` adds a column `date` to the files in it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import unquote

import polars as pl

from trainer.clicks.columns import Columns, Scan, convert
from trainer.clicks.counts import ROLES, Counts
from trainer.clicks.damage import reading
from trainer.clicks.mixed import require_one_kind
from trainer.clicks.recognition import positions, recognise
from trainer.clicks.rules import Rules
from trainer.clicks.tables import FileTable, scan_table
from trainer.errors import MissingColumn, UnreadableFile

_NO_VALUE: Final = "__HIVE_DEFAULT_PARTITION__"
_SAMPLE_ROWS: Final = 100
_LOGS: Final = {"_delta_log": "Delta", ".hoodie": "Hudi", "metadata/version-hint.text": "Iceberg"}
"""Table formats whose folders may hold outdated files, by a path that marks such a folder."""


class _Part(NamedTuple):
    """A file, and the columns that the names of its folders define."""

    path: Path
    columns: dict[str, str | None]


def scan_files(paths: Sequence[Path], columns: Columns = Columns(), rules: Rules = Rules()) -> Scan:  # noqa: B008  # frozen
    """Return the clicks of all files, ordered by time. The files are scanned, but not kept in memory.

    A path may be a folder of files. Raises UnreadableFile, MissingColumn, or UnusableClicks if the times are
    unreadable or implausible.
    """
    tables = [(part, _table(part, rules)) for path in paths for part in _parts(path)]
    headers = [table.frame.collect_schema().names() for _, table in tables if not table.headless]
    scans = [_scan(part, table, columns, rules, headers) for part, table in tables]
    clicks = pl.concat([scan.clicks for scan in scans], how="vertical_relaxed").sort(
        "timestamp_ms", maintain_order=True
    )
    counts, left = Counts(), dict[str, tuple[str, ...]]()
    for scan in scans:
        counts.add(scan.counts)
        left = {**left, **{role: others for role, others in scan.left.items() if others}}
    source = ", ".join(map(str, paths[:3])) + (", ..." if len(paths) > 3 else "")
    counts.require_plausible(rules, source, scans[0].columns.timestamp or "timestamp")
    return Scan(clicks, scans[0].columns, counts.times, counts.rows, counts, left)


def scan_file(path: Path, encoding: str = "utf-8") -> pl.LazyFrame:
    """Return the table in a file with a header, with all its columns. Raises UnreadableFile."""
    if path.is_dir():
        raise UnreadableFile(str(path), "it is a folder, but not a click archive written by `collect`")
    with reading(path, encoding):
        return scan_table(path, encoding=encoding).frame


def _parts(path: Path) -> Iterator[_Part]:
    """Yield the file, or all files in a folder, sorted by name. Raises UnreadableFile."""
    try:
        is_folder = path.is_dir()
    except OSError as error:
        raise UnreadableFile(str(path), error.strerror or "it cannot be opened") from None
    if not is_folder:
        yield _Part(path, {})
        return
    for log, kind in _LOGS.items():
        if (path / log).exists():
            raise UnreadableFile(
                str(path),
                f"it is a {kind} table, whose folder may hold outdated files; export it as Parquet or CSV",
            )
    found = [one for one in sorted(path.rglob("*")) if _is_part(one, path)]
    if not found:
        raise UnreadableFile(
            str(path), "the folder has no files of clicks and is not a click archive written by `collect`"
        )
    for one in found:
        yield _Part(one, _hive_columns(one.relative_to(path)))


def _is_part(path: Path, folder: Path) -> bool:
    hidden = any(name.startswith(("_", ".")) and "=" not in name for name in path.relative_to(folder).parts)
    return not hidden and path.is_file() and path.stat().st_size > 0


def _hive_columns(path: Path) -> dict[str, str | None]:
    """Return the columns that the folder names of a path define.

    >>> _hive_columns(Path("date=2026-01-01/country=__HIVE_DEFAULT_PARTITION__/part-0.csv"))
    {'date': '2026-01-01', 'country': None}
    """
    pairs = (folder.partition("=") for folder in path.parent.parts if "=" in folder)
    return {name: None if value == _NO_VALUE else unquote(value) for name, _, value in pairs}


def _table(part: _Part, rules: Rules) -> FileTable:
    with reading(part.path, rules.encoding):
        table = scan_table(
            part.path,
            encoding=rules.encoding,
            names=rules.names,
            is_data=lambda fields: any(map(rules.is_plausible, fields)),
        )
        table.frame.collect_schema()  # raises for some kinds of damage, which `reading` explains
        return table


def _scan(
    part: _Part, table: FileTable, columns: Columns, rules: Rules, headers: Sequence[Sequence[str]]
) -> Scan:
    """Return the clicks in a table of a file. `headers`: those of all files, for a file without one."""
    source = str(part.path)
    with reading(part.path, rules.encoding):
        borrows = table.headless and bool(headers)
        if borrows:
            table = _with_header(table, headers, columns, rules, source)
        frame = _with_folders(table.frame, part.columns)
        named = _named(table, columns, rules, source)
        scan = convert(frame, named, source=source, rules=rules)
        ids = [getattr(scan.columns, role) for role in ROLES]
        require_one_kind(part.path, rules.encoding, scan.clicks, ids)
    scan.counts.headless = table.headless
    scan.counts.borrower = source if borrows else ""
    return scan


def _with_header(
    table: FileTable, headers: Sequence[Sequence[str]], columns: Columns, rules: Rules, source: str
) -> FileTable:
    """Return a table without a header, as `split` writes it, with the names of another file's columns.

    Raises UnreadableFile if its times are not in the same column.
    """
    names = table.frame.collect_schema().names()
    times = _times(table.frame.head(_SAMPLE_ROWS).collect().rows(), rules)
    for header in (one for one in headers if len(one) == len(names)):
        kinds = dict.fromkeys(header, pl.String())
        time = columns.timestamp or recognise(kinds, "timestamp", source).names[0]
        if time in header and any(row[header.index(time)] for row in times):
            return FileTable(table.frame.rename(dict(zip(names, header, strict=True))))
    raise UnreadableFile(
        source, "it has no header and other columns than the files that have one; give it a header"
    )


def _times(rows: Sequence[Sequence[str | None]], rules: Rules) -> list[list[bool]]:
    """Return for each field of some rows whether it is a plausible time."""
    return [[bool(field) and rules.is_plausible(str(field)) for field in row] for row in rows]


def _with_folders(frame: pl.LazyFrame, columns: Mapping[str, str | None]) -> pl.LazyFrame:
    has = frame.collect_schema()
    return frame.with_columns(
        pl.lit(value, pl.String()).alias(name) for name, value in columns.items() if name not in has
    )


def _named(table: FileTable, columns: Columns, rules: Rules, source: str) -> Columns:
    """Return `columns`; if the file has no header, complete them from the values in its first rows."""
    if not table.headless:
        return columns
    names = table.frame.collect_schema().names()
    rows = table.frame.head(_SAMPLE_ROWS).collect().rows()
    found = positions(_times(rows, rules))
    if found is None and not (columns.user and columns.item and columns.timestamp):
        raise MissingColumn(
            f"{source} has no header, and the columns of user, item and time cannot be recognised; "
            "name all columns, in order, with files.columns. "
            f"The first line is {', '.join(map(str, rows[0]))}",
            role="user",
            existing=names,
        )
    recognised = {role: names[at] for role, at in (found or {}).items()}
    return Columns(
        user=columns.user or recognised["user"],
        item=columns.item or recognised["item"],
        timestamp=columns.timestamp or recognised["timestamp"],
        extra=columns.extra,
    )
