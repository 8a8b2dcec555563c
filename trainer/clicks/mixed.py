"""Refusal of JSON files in which ids are text in one place and something else in another.

Polars turns such a column into text and loses the types: `true` would become an id, which the worker refuses.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import orjson
import polars as pl

from trainer.clicks.contents import Contents, contents
from trainer.clicks.tables import is_json
from trainer.errors import UnreadableFile
from worker.core import paths
from worker.core.formats import loads_exactly

_DOUBTFUL: Final = r"^[\[{]|^true$|^false$|^-0$|^-?[0-9]+\.[0-9]|\x00"
"""The ids that may have been something else than text. Polars reads a lone surrogate as a zero byte."""

_MAY_BE_INEXACT: Final = re.compile(rb"[0-9][.eE]|[0-9]{19}")
"""Matches a line with a number that is not an integer of 64 bits."""


def require_one_kind(path: Path, encoding: str, clicks: pl.LazyFrame, columns: Sequence[str]) -> None:
    """Raise UnreadableFile if a JSON file has ids of several kinds in one of `columns`, or invalid text.

    `clicks` are the clicks in the file. Its documents are read one by one only if some ids are doubtful.
    """
    found = contents(path, encoding)
    if found.kind != "text" or not is_json(found):
        return
    doubtful = pl.any_horizontal(pl.col("user_id", "item_id").str.contains(_DOUBTFUL))
    if not clicks.select(doubtful.any()).collect(engine="streaming").item():
        return
    first = dict[str, tuple[str, str]]()
    wanted = [paths.parse(column) for column in columns]
    for place, document in _documents(found):
        for column in wanted:
            for kind in _kinds(document, column):
                before, where = first.setdefault(column.text, (kind, place))
                if kind != before:
                    raise UnreadableFile(
                        str(path),
                        f"it cannot be read as JSON: {place} has {kind} as {column.text!r}, "
                        f"but {where} has {before}; a column has one kind",
                    )


def _documents(found: Contents) -> Iterator[tuple[str, Any]]:
    """Yield the place of each document, and the document with its numbers as decimals where they matter."""
    with found.lines() as lines:
        if found.head.lstrip()[:1] == "[":
            content = b"".join(lines)
            for number, one in enumerate(_loaded(found.path, "the array", content, loads_exactly), 1):
                yield f"object {number:,}", one
            return
        for number, line in enumerate(lines, 1):
            if line.strip():
                place = f"line {number:,}"
                # The exact parser is slow, and only matters for numbers with a fraction or an exponent.
                exact = _MAY_BE_INEXACT.search(line) is not None
                yield place, _loaded(found.path, place, line, loads_exactly if exact else orjson.loads)


def _loaded(path: Path, place: str, text: bytes, loads: paths.Loads) -> Any:
    try:
        return loads(text)
    except ValueError:
        raise UnreadableFile(
            str(path), f"it cannot be read as JSON: {place} is damaged; repair or remove it"
        ) from None


def _kinds(document: Any, column: paths.Path) -> Iterator[str]:
    """Yield the kind of each id in a document; nothing for null."""
    return (_kind(value) for value in _values(document, column) if value is not None)


def _values(document: Any, column: paths.Path) -> list[Any]:
    if column.each is None:
        return [paths.find(document, column.names, _as_text)]
    elements = paths.find(document, column.each, _as_text)
    if not isinstance(elements, list):
        return []
    return [paths.find(one, column.names, _as_text) for one in elements] if column.names else elements


def _kind(value: Any) -> str:
    kinds = {list: "a list", dict: "an object", bool: "true or false"}
    if isinstance(value, Decimal) and not _is_read_well(value):
        return "a number with a fraction"
    return kinds.get(type(value), "text or an integer")


def _is_read_well(number: Decimal) -> bool:
    """Return whether polars writes the number as the worker does."""
    is_negative_zero = number == 0 and number.is_signed() and number.as_tuple().exponent != 0
    return number == number.to_integral_value() and not is_negative_zero


def _as_text(text: str | bytes) -> Any:
    """Refuse to parse JSON in text: such ids are read by the worker's rule."""
    raise ValueError(text)
