"""Clicks whose right answer is known by construction."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

import numpy as np
import orjson
import polars as pl

from trainer.clicks.columns import SCHEMA, Columns, Table, convert
from trainer.clicks.rules import Rules
from trainer.dataset.sessions import Sessions

START_MS: Final = 1_600_000_000_000
MINUTE_MS: Final = 60_000
NOW: Final = datetime(2021, 1, 1, tzinfo=UTC)
"""A day after all clicks made here."""

CYCLE: Final = 12
"""How many items `cyclic_clicks` has."""


def table(rows: Sequence[tuple[str | None, str | None, int | None]]) -> pl.DataFrame:
    """Clicks as (user, item, time in ms)."""
    return pl.DataFrame(list(rows), schema=SCHEMA, orient="row")


def converted(frame: pl.DataFrame, columns: Columns = Columns(), rules: Rules = Rules()) -> Table:  # noqa: B008  # frozen
    """The clicks in `frame`, read."""
    scan = convert(frame.lazy(), columns, source="the table", rules=rules)
    return Table(scan.clicks.collect(), scan.columns, scan.times)


def cyclic_clicks(sessions: int = 400, length: int = 5, *, seed: int = 0) -> pl.DataFrame:
    """Sessions one after the other in which item i is followed by item i + 1, and the last by the first.

    Every item is equally popular, so popularity is no help; the last click tells the next for certain.
    """
    first = np.random.default_rng(seed).integers(CYCLE, size=sessions)
    return table(
        [
            (
                f"user-{number}",
                f"item-{(start + step) % CYCLE}",
                START_MS + (number * length + step) * MINUTE_MS,
            )
            for number, start in enumerate(first.tolist())
            for step in range(length)
        ]
    )


def click_records(sessions: int) -> list[tuple[int, bytes]]:
    """`cyclic_clicks` as JSON values, each with its partition: by user on four."""
    return [
        (
            int(user.removeprefix("user-")) % 4,
            orjson.dumps({"user": user, "product": {"id": item}, "timestamp": time}),
        )
        for user, item, time in cyclic_clicks(sessions).rows()
    ]


def set_to(*assignments: str) -> list[str]:
    """Return `--set` for each of the assignments."""
    return [word for one in assignments for word in ("--set", one)]


def twice(clicks: pl.DataFrame) -> pl.DataFrame:
    """`clicks` that come in order, each again ten seconds later."""
    again = clicks.with_columns(pl.col("timestamp_ms") + 10_000)
    return pl.concat([clicks, again]).sort("timestamp_ms")


def sessions_of(*sequences: Sequence[int]) -> Sessions:
    """Sessions with these item indexes, every click but the first of each scored."""
    starts = np.cumsum([0, *(len(sequence) for sequence in sequences)], dtype=np.int64)
    items = np.concatenate([np.asarray(sequence, np.int32) for sequence in sequences])
    scored = np.ones(len(items), np.bool_)
    scored[starts[:-1]] = False
    return Sessions(items, starts, scored)
