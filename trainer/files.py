"""Clicks from files: CSV, Parquet and JSON lines, read no sooner than they are needed."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import Final

import polars as pl

from trainer.errors import UnreadableFile
from trainer.events import Columns, Scan, Table, convert


def read_files(paths: Sequence[Path], columns: Columns = Columns()) -> Table:  # noqa: B008  # frozen
    """The clicks of all files together, in the order of their times; raises as `scan_files` does."""
    scan = scan_files(paths, columns)
    with _errors_of(", ".join(map(str, paths))):
        return Table(scan.clicks.collect(), scan.columns, scan.times)


def scan_files(paths: Sequence[Path], columns: Columns = Columns()) -> Scan:  # noqa: B008  # frozen
    """The clicks of all files together, in the order of their times, of which only the first are read.

    CSV (any usual separator), Parquet and JSON lines, told by the name; CSV and JSON lines may be
    compressed (.gz). Raises UnreadableFile, MissingColumn, or UnusableClicks where no time can be read.
    """
    scans = []
    for path in paths:
        with _errors_of(str(path)):
            scans.append(convert(scan_file(path), columns, source=str(path)))
    clicks = pl.concat([scan.clicks for scan in scans]).sort("timestamp_ms", maintain_order=True)
    return Scan(clicks, scans[0].columns, scans[0].times)


def scan_file(path: Path) -> pl.LazyFrame:
    """The table in a file, whatever its columns. Raises UnreadableFile."""
    kind = path.name.lower().removesuffix(".gz").rpartition(".")[2]
    if not path.is_file():
        raise UnreadableFile(str(path), "there is no such file")
    if path.stat().st_size == 0:
        raise UnreadableFile(str(path), "the file is empty")
    if kind not in _SCANNERS:
        raise UnreadableFile(
            str(path), "the name must end in .csv, .tsv, .parquet or .jsonl (or .csv.gz, .jsonl.gz)"
        )
    with _errors_of(str(path)):
        return _SCANNERS[kind](path)


@contextmanager
def _errors_of(source: str) -> Iterator[None]:
    try:
        yield
    except (pl.exceptions.PolarsError, OSError, EOFError, UnicodeDecodeError) as error:
        kind = source.lower().removesuffix(".gz").rpartition(".")[2]
        raise UnreadableFile(source, f"it cannot be read as .{kind}: {str(error).splitlines()[0]}") from None


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
    **dict.fromkeys(("jsonl", "ndjson"), _scan_json_lines),
    "parquet": pl.scan_parquet,
}


def _opened(path: Path) -> gzip.GzipFile | BufferedReader:
    return gzip.open(path) if path.name.lower().endswith(".gz") else path.open("rb")
