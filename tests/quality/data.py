"""The public data sets, which are beside the repository and never in it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import polars as pl

ROOT: Final = Path(__file__).parents[2]
FOLDER: Final = Path(os.environ.get("NEXTCLICK_DATA", ROOT / "../shared/data"))
BUILD: Final = ROOT / "build" / "quality"
"""Where a training that was killed goes on from."""


def is_there(name: str) -> bool:
    """Whether the data set `name` is at hand."""
    return _file(name).is_file()


def clicks_of(name: str) -> pl.DataFrame:
    """The clicks of data set `name`, as `fit` takes them, by time; `user` is its own user number."""
    table = pl.read_csv(_file(name))
    return table.with_columns(
        pl.col("user_id", "item_id").cast(pl.String),
        timestamp_ms=pl.col("timestamp") * 1000,
        user=pl.col("user_id"),
    )


def begin_of(clicks: pl.DataFrame, user: int) -> int:
    """The time of the first click of users (here sessions) from number `user` on, in ms."""
    return int(clicks.filter(pl.col("user") >= user)["timestamp_ms"].to_numpy().min())


def before(clicks: pl.DataFrame, user: int) -> pl.DataFrame:
    """The clicks of the users before number `user`: what a choice may be made by."""
    return clicks.filter(pl.col("user") < user)


def _file(name: str) -> Path:
    return FOLDER / f"{name}.csv.gz"
