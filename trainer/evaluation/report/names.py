"""Display names of items: from a file of names, the item features, or a column of the clicks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import polars as pl

from trainer.clicks.archive import is_archive
from trainer.clicks.columns import Columns, convert_items
from trainer.clicks.damage import reading
from trainer.clicks.files import scan_file
from trainer.clicks.ids import ids
from trainer.errors import UnreadableFile
from worker.core.ids import MISSING

TITLES: Final = ("title", "name", "item_title", "item_name", "product_name")
"""Possible titles of the column of names, case-insensitive; the first title that a file has is used."""


def read_names(path: Path, encoding: str = "utf-8") -> dict[str, str]:
    """Return names by item id from a CSV or TSV file: ids in column 1, names in column 2.

    Raises UnreadableFile.
    """
    with reading(path, encoding):
        table = scan_file(path, encoding).collect()
    if table.width < 2:
        raise UnreadableFile(str(path), "two columns are needed: item ids and names")
    items = table.to_series(0)
    read = table.select(ids(pl.col(items.name), items.dtype, missing=MISSING)).to_series()
    return _paired(read, table.to_series(1))


def find_names(
    settings: dict[str, Any], files: Sequence[Path], columns: Columns, encoding: str = "utf-8"
) -> dict[str, str]:
    """Return names by item id: from the features file in the training `settings`, else from click `files`.

    Files without a column named in `TITLES` are skipped, and so is a features file that no longer exists.
    """
    features = settings.get("features", {}).get("file")
    if features and Path(features).is_file() and (found := _in_file(Path(features), Columns())):
        return found
    found = {}
    for file in files:
        if file.is_file() and not is_archive(file):
            found |= _in_file(file, columns, encoding)
    return found


def _in_file(path: Path, columns: Columns, encoding: str = "utf-8") -> dict[str, str]:
    with reading(path, encoding):
        scan = scan_file(path, encoding)
        by_name = {name.lower(): name for name in reversed(scan.collect_schema().names())}
        title = next((by_name[name] for name in TITLES if name in by_name), None)
        if title is None:
            return {}
        wanted = replace(columns, extra=(title,))
        table = convert_items(scan, wanted, source=str(path)).unique().collect(engine="streaming")
    return _paired(table["item_id"], table[title])


def _paired(items: pl.Series, names: pl.Series) -> dict[str, str]:
    pairs = zip(items, names.cast(pl.String), strict=True)
    return {item: name for item, name in pairs if item and name}
