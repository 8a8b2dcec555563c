"""Example sessions from the hold-out, with the lists of the release after each click."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import polars as pl

from trainer.dataset.holdout import HeldOut
from trainer.evaluation.replay import published
from worker.core.release import Release

SESSIONS: Final = 5
STEPS: Final = 6
SHOWN: Final = 5
"""Number of sessions, maximum number of clicks shown per session, and number of items shown per list."""


class Step(NamedTuple):
    """A click, the top of the list after it, and the next click with its rank in the list (0: absent)."""

    clicked: str
    shown: list[str]
    next: str
    place: int


def examples(release: Release, held: HeldOut, *, top: int, exclude_recent: int) -> list[list[Step]]:
    """Return sessions spread over the hold-out, each with the lists that a new user would get."""
    lengths = held.clicks.group_by("session", maintain_order=True).len()
    numbers = lengths.filter(pl.col("len").is_between(3, STEPS + 1))["session"]
    numbers = numbers if len(numbers) else lengths["session"]
    chosen = numbers.gather(np.unique(np.linspace(0, len(numbers) - 1, SESSIONS).astype(int)))
    clicks = held.clicks.filter(pl.col("session").is_in(chosen.implode()))
    alone = clicks.with_columns(user_id=pl.col("session").cast(pl.String))
    lists = list(published(release, alone, top, exclude_recent))
    sessions, begin = [], 0
    for part in clicks.partition_by("session", maintain_order=True):
        items = part["item_id"].to_list()
        sessions.append(_steps(items, lists[begin : begin + len(items)]))
        begin += len(items)
    return sessions


def _steps(items: list[str], lists: list[list[str]]) -> list[Step]:
    pairs = zip(items[:-1], lists[:-1], items[1:], strict=True)
    return [
        Step(clicked, shown[:SHOWN], following, shown.index(following) + 1 if following in shown else 0)
        for clicked, shown, following in pairs
    ][:STEPS]
