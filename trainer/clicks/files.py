"""Clicks from files: CSV, Parquet and JSON lines, read no sooner than they are needed."""

from __future__ import annotations

import csv
import gzip
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from io import BufferedReader
from pathlib import Path
from typing import Final, NamedTuple

import orjson
import polars as pl

from trainer.clicks.columns import Columns, Scan, convert
from trainer.errors import UnreadableFile

_JSON_LINES: Final = ("jsonl", "ndjson")

_SHOWN_BYTES: Final = 80
"""The number of bytes shown of a damaged line."""


class _Damaged(NamedTuple):
    """The damaged line: its number, from 1, and the reason."""

    number: int
    line: bytes
    why: str = "is damaged"


def scan_files(paths: Sequence[Path], columns: Columns = Columns()) -> Scan:  # noqa: B008  # frozen
    """Return the clicks of all files together, ordered by time; the files are read through, not kept.

    CSV (any usual separator), Parquet and JSON lines, by the name; CSV and JSON lines may be
    compressed (.gz). Raises UnreadableFile, MissingColumn, or UnusableClicks if no time can be read.
    """
    scans = []
    for path in paths:
        with reading(path):
            scans.append(convert(scan_file(path), columns, source=str(path)))
    clicks = pl.concat([scan.clicks for scan in scans]).sort("timestamp_ms", maintain_order=True)
    notes = tuple(dict.fromkeys(note for scan in scans for note in scan.notes))
    return Scan(clicks, scans[0].columns, scans[0].times, sum(scan.rows for scan in scans), notes)


def scan_file(path: Path) -> pl.LazyFrame:
    """Return the table in a file, whatever its columns are. Raises UnreadableFile."""
    kind = _kind(path)
    if path.is_dir():
        raise UnreadableFile(str(path), "it is a folder, but not a click archive of `collect`")
    if not path.is_file():
        raise UnreadableFile(str(path), "there is no such file")
    if path.stat().st_size == 0:
        raise UnreadableFile(str(path), "the file is empty")
    if kind not in _SCANNERS:
        raise UnreadableFile(
            str(path), "the name must end in .csv, .tsv, .parquet or .jsonl (or .csv.gz, .jsonl.gz)"
        )
    with reading(path):
        return _SCANNERS[kind](path)


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn every error of reading the file into UnreadableFile, with the place if it is known."""
    try:
        yield
    except (pl.exceptions.PolarsError, OSError, EOFError, zlib.error) as error:
        if isinstance(error, OSError) and error.strerror:
            raise UnreadableFile(str(path), error.strerror) from None
        why = f"it cannot be read as .{_kind(path)}: {str(error).splitlines()[0]}; {_damage(path)}"
        raise UnreadableFile(str(path), why) from None


def _damage(path: Path) -> str:
    """Return which line of a text file is damaged, and what to do about it."""
    kind = _kind(path)
    if kind != "parquet":
        with suppress(OSError, EOFError, zlib.error), _opened(path) as lines:
            found = _damaged_object(lines) if kind in _JSON_LINES else _damaged_row(lines, _separator(path))
            if found:
                shown = found.line[:_SHOWN_BYTES]
                return f"line {found.number:,} {found.why}, repair or remove it: {shown!r}"
    return "write it again"


def _damaged_object(lines: Iterable[bytes]) -> _Damaged | None:
    for number, line in enumerate(lines, start=1):
        try:
            sound = not line.strip() or isinstance(orjson.loads(line), dict)
        except ValueError:
            sound = False
        if not sound:
            return _Damaged(number, line)
    return None


def _damaged_row(lines: Iterable[bytes], separator: str) -> _Damaged | None:
    """Return the line where the first damaged row begins; a quoted field may span several lines."""
    first, row, names = 1, list[bytes](), 0
    csv.field_size_limit(sys.maxsize)

    def text() -> Iterator[str]:
        for line in lines:
            row.append(line)
            yield line.decode()

    try:
        for fields in csv.reader(text(), delimiter=separator, strict=True):
            names = names or len(fields)
            if len(fields) > names:
                return _Damaged(first, row[0], f"has {len(fields)} fields where the header has {names}")
            # Polars finds the ends of rows by counting quotes, those in the midst of a field too.
            if sum(line.count(b'"') for line in row) % 2:
                return _Damaged(first, row[0])
            first += len(row)
            row.clear()
    except (csv.Error, UnicodeDecodeError):
        return _Damaged(first, row[0])
    return None


def _kind(path: Path) -> str:
    return path.name.lower().removesuffix(".gz").rpartition(".")[2]


def _scan_csv(path: Path) -> pl.LazyFrame:
    # Everything stays text: an id such as 007 is no number.
    table = pl.scan_csv(path, separator=_separator(path), infer_schema=False)
    # Too many fields are an error only where all columns are read, which nobody does later on.
    table.select(pl.all().null_count()).collect(engine="streaming")
    return table


def _separator(path: Path) -> str:
    with _opened(path) as lines:
        header = lines.readline().decode(errors="replace")
    return max(",;\t|", key=header.count)


def _scan_json_lines(path: Path) -> pl.LazyFrame:
    return pl.scan_ndjson(path, infer_schema_length=None)


_SCANNERS: Final[dict[str, Callable[[Path], pl.LazyFrame]]] = {
    **dict.fromkeys(("csv", "tsv", "txt"), _scan_csv),
    **dict.fromkeys(_JSON_LINES, _scan_json_lines),
    "parquet": pl.scan_parquet,
}


def _opened(path: Path) -> gzip.GzipFile | BufferedReader:
    return gzip.open(path) if path.name.lower().endswith(".gz") else path.open("rb")
