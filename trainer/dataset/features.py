"""Item features: attributes of items, converted to numbers for the network.

A categorical column becomes a vocabulary and, for each item, any number of values from it; rare values become
`other`. A numeric column is transformed by log(1 + x) if requested, then centred and scaled to a standard
deviation of 1. Each column has a policy for missing values:

    categorical   unknown (default): the value `unknown`    drop: no value
    numeric       mean (default), median, zero: replaced by that number

>>> table = pl.DataFrame({"item_id": ["x", "y", "z"], "genre": ["a|b", "a", None], "price": [1.0, 3.0, None]})
>>> chosen = columns_of(("genre:drop",), ("price",), min_count=1, separator="|")
>>> features, _ = build(["x", "y", "z"], table, chosen)
>>> features.categorical[0].values, features.categorical[0].indexes.tolist(), features.numeric.tolist()
(('a', 'b'), [0, 1, 0], [[-1.0], [1.0], [0.0]])
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from trainer.clicks.columns import Columns, convert_items
from trainer.clicks.damage import reading
from trainer.clicks.files import scan_file
from trainer.errors import UnusableClicks
from worker.errors import SettingError

OTHER: Final = "other"
UNKNOWN: Final = "unknown"
POLICIES: Final = {"categorical": (UNKNOWN, "drop"), "numeric": ("mean", "median", "zero")}
"""The policies for missing values, by kind of column; the first policy is the default."""

_FEW: Final = 0.5
"""A warning is given if less than this share of the clicked items has features."""

_COUNT: Final = "the count of this value"
"""Name of a temporary column, chosen so that no input has a column of this name."""


class Categorical(NamedTuple):
    """A categorical column. Item i has the values `values[j]` for j in `indexes[starts[i]:starts[i + 1]]`."""

    name: str
    values: tuple[str, ...]
    indexes: NDArray[np.int32]
    starts: NDArray[np.int64]


class Features(NamedTuple):
    """The features of all items, in the order of the catalogue. `numeric` `[N, M]` is normalised."""

    categorical: tuple[Categorical, ...]
    numeric: NDArray[np.float32]
    numeric_names: tuple[str, ...]


class Column(NamedTuple):
    """A column to use as a feature. `min_count` and `separator` apply only to categorical columns."""

    name: str
    kind: str
    policy: str
    log: bool = False
    min_count: int = 1
    separator: str = "|"


def columns_of(
    categorical: Sequence[str], numeric: Sequence[str], *, min_count: int, separator: str
) -> list[Column]:
    """Parse columns given as NAME, NAME:POLICY or, if numeric, NAME:POLICY:log. Raises SettingError."""
    values = [_column(text, "categorical") for text in categorical]
    numbers = [_column(text, "numeric") for text in numeric]
    return [*(one._replace(min_count=min_count, separator=separator) for one in values), *numbers]


def names_of(categorical: Sequence[str], numeric: Sequence[str]) -> tuple[str, ...]:
    """Return the column names, with the policies stripped off."""
    return tuple(text.split(":")[0] for text in (*categorical, *numeric))


def _column(text: str, kind: str) -> Column:
    name, *rest = text.split(":")
    policy = rest[0] if rest else POLICIES[kind][0]
    log = kind == "numeric" and rest[1:] == ["log"]
    if policy not in POLICIES[kind] or len(rest) > 1 + log:
        form = "NAME:POLICY" + (" or NAME:POLICY:log" if kind == "numeric" else "")
        raise SettingError(
            f"features.{kind}: {text!r} is not NAME, {form}; a policy is one of {', '.join(POLICIES[kind])}"
        )
    return Column(name, kind, policy, log)


def from_file(path: Path, columns: Sequence[Column]) -> pl.DataFrame:
    """Read `item_id` and the `columns` from a file. If an item has several rows, only the last is kept."""
    names = tuple(column.name for column in columns)
    with reading(path):
        table = convert_items(scan_file(path), Columns(extra=names), source=str(path)).collect()
    return table.drop_nulls("item_id").unique("item_id", keep="last", maintain_order=True)


def from_clicks(clicks: pl.LazyFrame, columns: Sequence[Column]) -> pl.DataFrame:
    """Return a table like that of `from_file`, but from columns of the clicks.

    An item gets its most frequent value in a categorical column and its mean in a numeric column.
    """
    tables = [_of_clicks(clicks, column) for column in columns]
    together = tables[0]
    for table in tables[1:]:
        together = together.join(table, on="item_id", how="full", coalesce=True)
    return together.drop_nulls("item_id").sort("item_id")


def _of_clicks(clicks: pl.LazyFrame, column: Column) -> pl.DataFrame:
    if column.kind == "numeric":
        mean = _finite(pl.col(column.name)).mean()
        return clicks.group_by("item_id").agg(mean).collect(engine="streaming")
    counts = clicks.group_by("item_id", column.name).agg(pl.len().alias(_COUNT)).collect(engine="streaming")
    counts = counts.sort(_COUNT, column.name, descending=[True, False], nulls_last=True)
    known = counts.filter(pl.col(column.name).is_not_null())
    return pl.concat([known, counts]).unique("item_id", keep="first", maintain_order=True).drop(_COUNT)


def matching(clicked: Sequence[str], described: Sequence[str], source: str) -> list[str]:
    """Return a warning if few of the `clicked` items are among the items `described` in `source`.

    Raises UnusableClicks if `source` describes none of the clicked items: its item ids are of another kind.
    """
    found = len(set(clicked) & set(described))
    such_as = f"the clicks have items such as {clicked[0]!r}, {source} such as {next(iter(described), '')!r}"
    if not found:
        raise UnusableClicks(
            f"{source}: none of its {len(described):,} items is one of the {len(clicked):,} items of the "
            f"clicks: {such_as}; is the column of items the right one?"
        )
    if found < _FEW * len(clicked):
        return [
            f"Careful: {source} describes {found:,} of the {len(clicked):,} items of the clicks; {such_as}"
        ]
    return []


def never_clicked(clicked: Sequence[str], table: pl.DataFrame, columns: Sequence[Column]) -> list[str]:
    """Return the ids of items in `table` that are not in `clicked` and have at least one known feature."""
    known = table.filter(pl.any_horizontal(pl.col(column.name).is_not_null() for column in columns))
    others = pl.DataFrame({"item_id": clicked}, schema={"item_id": pl.String()})
    return known.join(others, on="item_id", how="anti")["item_id"].sort().to_list()


def build(
    items: Sequence[str], table: pl.DataFrame, columns: Sequence[Column]
) -> tuple[Features, list[dict[str, Any]]]:
    """Return the features of `items`, in that order, and a description of each column for the manifest."""
    ordered = pl.DataFrame({"item_id": items}, schema={"item_id": pl.String()})
    ordered = ordered.join(table, on="item_id", how="left", maintain_order="left")
    values = [_categorical(ordered[one.name], one) for one in columns if one.kind == "categorical"]
    numbers = [_numeric(ordered[one.name], one) for one in columns if one.kind == "numeric"]
    matrix = np.zeros((len(items), len(numbers)), np.float32)
    for place, (column, _) in enumerate(numbers):
        matrix[:, place] = column
    names = tuple(one.name for one in columns if one.kind == "numeric")
    features = Features(tuple(column for column, _ in values), matrix, names)
    return features, [*(described for _, described in values), *(described for _, described in numbers)]


def _categorical(column: pl.Series, how: Column) -> tuple[Categorical, dict[str, Any]]:
    pairs = _pairs(column, how.separator)
    counts = pairs["value"].value_counts()
    rare = counts.filter(pl.col("count") < how.min_count)["value"]
    folded = pl.when(pl.col("value").is_in(rare.implode())).then(pl.lit(OTHER)).otherwise("value")
    pairs = pairs.with_columns(value=folded).unique(maintain_order=True)
    missing = np.setdiff1d(np.arange(len(column)), pairs["item"].to_numpy())
    if how.policy == UNKNOWN:
        unknown = pl.DataFrame({"item": missing, "value": [UNKNOWN] * len(missing)}, schema=pairs.schema)
        pairs = pl.concat([pairs, unknown])
    vocabulary = pairs["value"].value_counts().sort("count", "value", descending=[True, False])["value"]
    index = pl.DataFrame({"value": vocabulary}).with_row_index("index")
    placed = pairs.join(index, on="value").sort("item", "index")
    starts = np.searchsorted(placed["item"].to_numpy(), np.arange(len(column) + 1)).astype(np.int64)
    indexes = placed["index"].cast(pl.Int32).to_numpy()
    facts = {"values": len(vocabulary), "folded": len(rare), "missing": len(missing), "policy": how.policy}
    return Categorical(how.name, tuple(vocabulary), indexes, starts), {"name": how.name, **facts}


def _pairs(column: pl.Series, separator: str) -> pl.DataFrame:
    """Return the distinct pairs of item number and value, one per row."""
    values = pl.col("value")
    if column.dtype == pl.String:
        values = values.str.split(separator)
    frame = (
        pl.DataFrame({"value": column}).with_row_index("item").select(pl.col("item").cast(pl.Int64), values)
    )
    if isinstance(frame.schema["value"], pl.List):
        frame = frame.explode("value")
    plain = frame.with_columns(pl.col("value").cast(pl.String).str.strip_chars())
    return plain.filter(pl.col("value") != "").unique(maintain_order=True)


def _numeric(column: pl.Series, how: Column) -> tuple[NDArray[np.float32], dict[str, Any]]:
    numbers: Any = pl.select(_finite(pl.lit(column))).to_series()
    if how.log:
        numbers = pl.select(pl.when(numbers >= 0).then(numbers.log1p())).to_series()
    mean, deviation = numbers.mean() or 0.0, numbers.std(ddof=0) or 0.0
    stand_in = {"mean": mean, "median": numbers.median(), "zero": 0.0}[how.policy]
    normalised = (numbers.fill_null(stand_in).to_numpy() - mean) / (deviation or 1.0)
    described = {"log": how.log, "mean": mean, "deviation": deviation, "missing": numbers.null_count()}
    return normalised.astype(np.float32), {"name": how.name, **described, "policy": how.policy}


def _finite(column: pl.Expr) -> pl.Expr:
    numbers = column.cast(pl.Float64, strict=False)
    return pl.when(numbers.is_finite()).then(numbers)
