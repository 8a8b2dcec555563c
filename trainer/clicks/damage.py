"""Search for the damaged line of a file, after reading the file failed."""

from __future__ import annotations

import csv
import re
import sys
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from lzma import LZMAError
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import orjson
import polars as pl
from zstandard import ZstdError

from trainer.clicks.contents import Contents, contents
from trainer.clicks.tables import Layout, is_json, layout_of
from trainer.errors import UnreadableFile

_CUT_OFF: Final = (EOFError, zlib.error, LZMAError, ZstdError)

_UNKNOWN_TYPE: Final = (pl.exceptions.PanicException, pl.exceptions.InvalidOperationError)
"""The errors of polars for types that it does not know. A panic is no Exception."""

_LONG_INTEGER: Final = re.compile(rb"[:,\[]\s*-?[0-9]{39}")
"""An integer in JSON that no column holds."""

_SHOWN_BYTES: Final = 80
"""The number of bytes shown of a damaged line."""

_WORDS: Final = {"parquet": "Parquet", "arrow": "Arrow", "arrow stream": "Arrow"}


class _Damaged(NamedTuple):
    """The damaged line: its number, from 1, and the reason."""

    number: int
    line: bytes
    why: str = "is damaged; repair or remove it"


@contextmanager
def reading(path: Path, encoding: str = "utf-8") -> Iterator[None]:
    """Turn all errors of reading the file into UnreadableFile, with the damaged line if it is found."""
    try:
        yield
    except _CUT_OFF:
        raise UnreadableFile(str(path), "it is damaged or truncated; write it again") from None
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, csv.Error, UnicodeError) as error:
        raise UnreadableFile(str(path), _why(path, encoding, error)) from None
    except OSError as error:
        # Compression libraries raise OSError without an error number.
        why = error.strerror or f"{_why(path, encoding, error)}"
        raise UnreadableFile(str(path), why) from None


def _why(path: Path, encoding: str, error: BaseException) -> str:
    try:
        found = contents(path, encoding)
        if found.kind != "text":
            return f"it cannot be read as {_WORDS[found.kind]}: {_why_binary(error)}"
        form = "JSON" if is_json(found) else "CSV"
        damaged = _damaged_object(found) if form == "JSON" else _damaged_row(found)
    except (OSError, *_CUT_OFF):
        return "it is damaged or truncated; write it again"
    if damaged is None:
        return f"it cannot be read as {form}; write it again"
    shown = damaged.line[:_SHOWN_BYTES]
    return f"it cannot be read as {form}: line {damaged.number:,} {damaged.why}: {shown!r}"


def _why_binary(error: BaseException) -> str:
    if isinstance(error, pl.exceptions.DuplicateError):
        return "two of its columns have the same name; rename one"
    if isinstance(error, _UNKNOWN_TYPE):
        return "a column has a type that cannot be read, or is damaged; leave it out, or write it as text"
    return "it is damaged or truncated; write it again"


def _damaged_object(found: Contents) -> _Damaged | None:
    if found.head.lstrip()[:1] == "[":
        return _damaged_array(found)
    kinds: dict[str, tuple[str, int]] = {}
    with found.lines() as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                document = orjson.loads(line)
            except ValueError:
                return _Damaged(number, line)
            if not isinstance(document, dict):
                return _Damaged(number, line)
            if _LONG_INTEGER.search(line):
                return _Damaged(number, line, "has an integer of more than 38 digits; write it as text")
            for name, value in document.items():
                kind = _kind(value)
                before, first = kinds.setdefault(name, (kind, number)) if kind else ("", 0)
                if kind and before != kind:
                    why = f"has {kind} as {name!r}, but line {first:,} has {before}; a column has one kind"
                    return _Damaged(number, line, why)
    return None


def _damaged_array(found: Contents) -> _Damaged | None:
    with found.lines() as lines:
        content = b"".join(lines)
    try:
        document = orjson.loads(content)
    except ValueError as error:
        number = int(getattr(error, "lineno", 1))
        return _Damaged(number, (content.splitlines() or [b""])[min(number, content.count(b"\n") + 1) - 1])
    if not isinstance(document, list) or not all(isinstance(one, dict) for one in document):
        return _Damaged(1, content, "must be an array of objects")
    return None


def _kind(value: Any) -> str:
    """Return the kind of column that holds the value; empty for null, which any column holds."""
    kinds = {list: "a list", dict: "an object", bool: "true or false"}
    return "" if value is None else kinds.get(type(value), "text or a number")


def _damaged_row(found: Contents) -> _Damaged | None:
    layout = layout_of(found)
    with found.lines() as lines:
        # A rewrite that drops spaces fails at the damage itself, so the lines are searched as they are.
        rows = layout.tidy(iter(lines)) if layout.spaced else layout.rewrite(iter(lines))
        damaged = _first_damaged(rows, layout)
    if damaged and layout.letter != layout.separator:
        line = damaged.line.replace(layout.letter.encode(), layout.separator.encode())
        return damaged._replace(line=line)
    return damaged


def _first_damaged(lines: Iterable[bytes], layout: Layout) -> _Damaged | None:
    """Return the first line of the first damaged row; a quoted field may span several lines."""
    first, row, names = 1, list[bytes](), 0
    csv.field_size_limit(sys.maxsize)
    quoting: Literal[0, 3] = csv.QUOTE_MINIMAL if layout.quote else csv.QUOTE_NONE
    polars_counts = layout.quote and not layout.spaced

    def text() -> Iterator[str]:
        for line in lines:
            row.append(line)
            yield line.decode()

    try:
        rows = csv.reader(
            text(), delimiter=layout.letter, strict=True, quoting=quoting, skipinitialspace=layout.spaced
        )
        for fields in rows:
            names = names or len(fields)
            if len(fields) > names:
                why = f"has {len(fields)} fields, but the first line has {names}; repair or remove it"
                return _Damaged(first, row[0], why)
            # Polars finds the ends of rows by counting quotes, including quotes inside a field.
            if polars_counts and sum(line.count(b'"') for line in row) % 2:
                return _Damaged(first, row[0])
            first += len(row)
            row.clear()
    except UnicodeDecodeError:
        why = (
            "is not UTF-8; save the file as UTF-8, or set files.encoding to its encoding, "
            "such as cp1252 or utf-16"
        )
        return _Damaged(first + len(row) - 1, row[-1], why)
    except csv.Error:
        return _Damaged(first, row[0])
    return None
