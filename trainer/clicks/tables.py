"""The table in a file: CSV with any usual separator, JSON, Parquet or Arrow, detected from the content.

The columns of a CSV file without a header have the given names, or are named `column_1`, `column_2` and so
on. The types in RecBole's column names (`user_id:token`) are removed; MovieLens' separator `::` is known.
"""

from __future__ import annotations

import csv
import glob
import io
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import polars as pl

from trainer.clicks.contents import Contents, contents
from trainer.errors import UnreadableFile

_SEPARATORS: Final = (",", ";", "\t", "|", "::")
_UNUSED: Final = "\x1f"
"""The ASCII unit separator, which replaces a separator of two characters."""

_SAMPLE_LINES: Final = 20
_RECBOLE: Final = re.compile(r"(.+):(?:token|float|token_seq|float_seq)")
_BINARY: Final[dict[str, Callable[..., pl.LazyFrame]]] = {
    "parquet": lambda source: pl.scan_parquet(source, hive_partitioning=False, glob=False),
    "arrow": lambda source: pl.scan_ipc(source, hive_partitioning=False, glob=False),
    "arrow stream": lambda source: pl.read_ipc_stream(source).lazy(),
}
_NAMES: Final = {"parquet": "parquet", "pq": "parquet", "arrow": "arrow", "feather": "arrow", "ipc": "arrow"}
_JSON_NAMES: Final = ("json", "jsonl", "ndjson")

IsData = Callable[[Sequence[str]], bool]
"""A function that tells whether the fields of a first line are data, not column names."""


class FileTable(NamedTuple):
    """The table in a file. `headless`: the file has no header, and no column names were given."""

    frame: pl.LazyFrame
    headless: bool = False


class Layout(NamedTuple):
    """The layout of a text file of rows. `spaced`: there are spaces between separators and quotes."""

    separator: str
    spaced: bool
    first: list[str]

    def rewrite(self, lines: Iterator[bytes]) -> Iterator[bytes]:
        """Yield lines as standard CSV: a separator of one character, without spaces before quotes."""
        if self.separator == "::":
            return (line.replace(b"::", _UNUSED.encode()) for line in lines)
        return _unspaced(self.tidy(lines), self.separator) if self.spaced else lines

    def tidy(self, lines: Iterator[bytes]) -> Iterator[bytes]:
        """Yield lines without spaces after closing quotation marks, if the layout is `spaced`."""
        if not self.spaced:
            return lines
        after = re.compile(rb'(?<!")" +(?=%b|[\r\n]|$)' % re.escape(self.separator.encode()))
        return (after.sub(b'"', line) for line in lines)

    @property
    def letter(self) -> str:
        """The separator after `rewrite`."""
        return _UNUSED if self.separator == "::" else self.separator

    @property
    def quote(self) -> str | None:
        """The quotation mark of fields, or None."""
        return None if self.separator == "::" else '"'


def scan_table(
    path: Path,
    *,
    encoding: str = "utf-8",
    names: Sequence[str] = (),
    is_data: IsData = lambda _: False,
) -> FileTable:
    """Return the table in a file, with all its columns.

    `names` are the column names of a CSV file without a header. If they are empty, `is_data` decides whether
    the first line is data. Raises UnreadableFile, or errors of polars for a damaged file.
    """
    if not path.is_file():
        raise UnreadableFile(str(path), "there is no such file")
    found = contents(path, encoding)
    if found.kind != "text":
        with found.source() as source:
            return FileTable(_BINARY[found.kind](source))
    if (name := _name(path)) in _NAMES:
        raise UnreadableFile(
            str(path),
            f"it cannot be read as .{name}: it is text; rename it to .csv or .jsonl, or write it again",
        )
    if is_json(found):
        return FileTable(_scan_json(found))
    return _scan_rows(found, names, is_data)


def is_json(found: Contents) -> bool:
    """Return whether a file is JSON, by its name or its first character."""
    return _name(found.path) in _JSON_NAMES or found.head.lstrip()[:1] in ("{", "[")


def layout_of(found: Contents) -> Layout:
    """Return the layout of a text of rows, inferred from its first lines."""
    lines = [line for line in found.head.splitlines() if line.strip()][:_SAMPLE_LINES]
    separator = max(
        _SEPARATORS, key=lambda one: (lines[0].count(one), len(one)) if one in lines[0] else (0, 0)
    )
    # With spaces before it, a quotation mark would be read as a part of the field.
    spaced = separator != "::" and any(re.search(re.escape(separator) + r" +\"", line) for line in lines)
    layout = Layout(separator, spaced, [])
    text = [line.decode() for line in layout.rewrite(iter(line.encode() + b"\n" for line in lines[:1]))]
    rows = csv.reader(
        text, delimiter=layout.letter, quoting=csv.QUOTE_MINIMAL if layout.quote else csv.QUOTE_NONE
    )
    return layout._replace(first=next(rows, []))


def _name(path: Path) -> str:
    name = path.name.lower()
    for packed in (".gz", ".bz2", ".xz", ".zst", ".zstd"):
        name = name.removesuffix(packed)
    return name.rpartition(".")[2]


def _scan_json(found: Contents) -> pl.LazyFrame:
    if found.head.lstrip()[:1] == "[":
        with found.lines() as lines:
            return pl.read_json(b"".join(lines), infer_schema_length=None).lazy()
    with found.source() as source:
        # Polars always takes this name as a pattern.
        name = Path(glob.escape(str(source))) if isinstance(source, Path) else source
        return pl.scan_ndjson(name, infer_schema_length=None)


def _scan_rows(found: Contents, names: Sequence[str], is_data: IsData) -> FileTable:
    layout = layout_of(found)
    headless = bool(names) or is_data(layout.first)
    # Everything stays text: an id such as 007 is no number.
    rewrite = layout.rewrite if layout.spaced or layout.separator == "::" else None
    with found.source(rewrite) as source:
        table = pl.scan_csv(
            source,
            separator=layout.letter,
            quote_char=layout.quote,
            infer_schema=False,
            has_header=not headless,
            glob=False,
        )
    read = table.collect_schema().names()
    if names and len(names) != len(read):
        raise UnreadableFile(
            str(found.path),
            f"files.columns names {len(names)} columns, but the first line has {len(read)}: {layout.first}",
        )
    if headless:
        given = names or [f"column_{number}" for number in range(1, len(read) + 1)]
        table = table.rename(dict(zip(read, given, strict=True)))
    else:
        table = table.rename(_plain_names(read))
    # Polars finds rows with too many fields only if all columns are read, which does not happen later.
    table.select(pl.all().null_count()).collect(engine="streaming")
    return FileTable(table, headless and not names)


def _plain_names(names: Sequence[str]) -> dict[str, str]:
    """Return new column names, without whitespace around them and without RecBole's types."""
    types = [_RECBOLE.fullmatch(name) for name in names]
    plain = [found[1] for found in types if found] if all(types) else [name.strip() for name in names]
    return dict(zip(names, plain, strict=True)) if len(set(plain)) == len(names) else {}


def _unspaced(lines: Iterator[bytes], separator: str) -> Iterator[bytes]:
    text = io.StringIO()
    writer = csv.writer(text, delimiter=separator, lineterminator="\n")
    text_lines = (line.decode() for line in lines)
    csv.field_size_limit(sys.maxsize)
    # A lenient reader would take the lines after an unclosed quotation mark into one field.
    rows = csv.reader(text_lines, delimiter=separator, skipinitialspace=True, strict=True)
    for row in rows:
        writer.writerow(row)
        yield text.getvalue().encode()
        text.seek(0)
        text.truncate()
