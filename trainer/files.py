"""Clicks from files: CSV, Parquet and JSON lines, read no sooner than they are needed."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from io import BufferedReader
from pathlib import Path
from typing import Final

import orjson
import polars as pl

from trainer.errors import UnreadableFile
from trainer.events import Columns, Scan, convert

_JSON_LINES: Final = ("jsonl", "ndjson")

_SHOWN_BYTES: Final = 80
"""How much of a damaged line is shown."""


def scan_files(paths: Sequence[Path], columns: Columns = Columns()) -> Scan:  # noqa: B008  # frozen
    """The clicks of all files together, in the order of their times, looked through and not kept.

    CSV (any usual separator), Parquet and JSON lines, told by the name; CSV and JSON lines may be
    compressed (.gz). Raises UnreadableFile, MissingColumn, or UnusableClicks where no time can be read.
    """
    scans = []
    for path in paths:
        with reading(path):
            scans.append(convert(scan_file(path), columns, source=str(path)))
    clicks = pl.concat([scan.clicks for scan in scans]).sort("timestamp_ms", maintain_order=True)
    return Scan(clicks, scans[0].columns, scans[0].times, sum(scan.rows for scan in scans))


def scan_file(path: Path) -> pl.LazyFrame:
    """The table in a file, whatever its columns. Raises UnreadableFile."""
    kind = _kind(path)
    if path.is_dir():
        raise UnreadableFile(str(path), "it is a folder, and not one that `collect` keeps a log of clicks in")
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
    """What goes wrong while the file is read is an UnreadableFile, with the place where that can be told."""
    try:
        yield
    except (pl.exceptions.PolarsError, OSError, EOFError, UnicodeDecodeError) as error:
        if isinstance(error, OSError) and error.strerror:
            raise UnreadableFile(str(path), error.strerror) from None
        why = f"it cannot be read as .{_kind(path)}: {str(error).splitlines()[0]}; {_damage(path)}"
        raise UnreadableFile(str(path), why) from None


def _damage(path: Path) -> str:
    """Which line of a text file is damaged, and what to do."""
    kind = _kind(path)
    if kind != "parquet":
        with suppress(OSError, EOFError, zlib.error), _opened(path) as file:
            if found := _damaged_line(file, kind):
                number, line = found
                return f"line {number:,} is damaged, mend it or take it out: {line[:_SHOWN_BYTES]!r}"
    return "write it anew"


def _damaged_line(lines: Iterable[bytes], kind: str) -> tuple[int, bytes] | None:
    quoting = None
    for number, line in enumerate(lines, start=1):
        if not _is_sound(line, kind):
            return number, line
        if kind not in _JSON_LINES and line.count(b'"') % 2:
            # A quoted field may go over several lines; one that is not closed swallows all that follow.
            quoting = None if quoting else (number, line)
    return quoting


def _is_sound(line: bytes, kind: str) -> bool:
    try:
        if kind in _JSON_LINES:
            return not line.strip() or isinstance(orjson.loads(line), dict)
        line.decode()
    except ValueError:
        return False
    return True


def _kind(path: Path) -> str:
    return path.name.lower().removesuffix(".gz").rpartition(".")[2]


def _scan_csv(path: Path) -> pl.LazyFrame:
    # Everything stays text: an id such as 007 is no number.
    with _opened(path) as file:
        header = file.readline().decode("utf-8-sig")
    separator = max(",;\t|", key=header.count)
    return pl.scan_csv(path, separator=separator, infer_schema=False, truncate_ragged_lines=True)


def _scan_json_lines(path: Path) -> pl.LazyFrame:
    return pl.scan_ndjson(path, infer_schema_length=None)


_SCANNERS: Final[dict[str, Callable[[Path], pl.LazyFrame]]] = {
    **dict.fromkeys(("csv", "tsv", "txt"), _scan_csv),
    **dict.fromkeys(_JSON_LINES, _scan_json_lines),
    "parquet": pl.scan_parquet,
}


def _opened(path: Path) -> gzip.GzipFile | BufferedReader:
    return gzip.open(path) if path.name.lower().endswith(".gz") else path.open("rb")
