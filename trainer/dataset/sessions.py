"""Clicks cut into sessions, divided by time, and turned into arrays of item indexes.

>>> clicks = pl.DataFrame({"user_id": ["a"] * 3, "item_id": ["x", "y", "z"], "timestamp_ms": [0, 1000, 9000]})
>>> cut(clicks, gap_seconds=5)["session"].to_list()
[0, 0, 1]
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from trainer.clicks.cleaning import Removal
from trainer.dataset.lists import counted
from worker.core.catalogue import Catalogue
from worker.core.ranking import NO_ITEM, Indexes

_TIME = pl.col("timestamp_ms")
_USER = pl.col("user_id")


@dataclass(frozen=True, slots=True)
class Sessions:
    """Sessions end to end: session s has the clicks `starts[s]` to `starts[s + 1]`.

    `items` `[C]`: the `item_index` of each click, `NO_ITEM` if the catalogue lacks it.
    `starts` `[S + 1]`. `scored` `[C]`: whether the click is to be predicted from those before it;
    never a session's first. `times_ms` `[C]`: when it was, where that is known.
    """

    items: Indexes
    starts: NDArray[np.int64]
    scored: NDArray[np.bool_]
    times_ms: NDArray[np.int64] | None = None

    @classmethod
    def empty(cls) -> Sessions:
        """Return an empty table of sessions."""
        return cls(np.zeros(0, np.int32), np.zeros(1, np.int64), np.zeros(0, np.bool_))

    def __len__(self) -> int:
        return len(self.starts) - 1

    def __iter__(self) -> Iterator[Indexes]:
        """Yield the items of each session."""
        for begin, end in pairwise(self.starts.tolist()):
            yield self.items[begin:end]

    @property
    def lengths(self) -> NDArray[np.int64]:
        """`[S]`: clicks of each session."""
        return np.diff(self.starts)

    @property
    def predictions(self) -> int:
        """The number of clicks to be predicted."""
        return int(np.count_nonzero(self.scored))


@dataclass(frozen=True, slots=True)
class PastSessions:
    """Clicks to be counted: sessions over a catalogue of `items`, and each click's time, `[C]`."""

    sessions: Sessions
    times_ms: NDArray[np.int64]
    items: int

    @classmethod
    def of(cls, sessions: pl.DataFrame, catalogue: Catalogue) -> PastSessions:
        """Return the clicks in a table of `cut`."""
        times = sessions["timestamp_ms"].to_numpy()
        return cls(to_arrays(sessions, catalogue), times, len(catalogue))

    @property
    def clicks(self) -> NDArray[np.int64]:
        """`[N]`: the clicks on each item."""
        return counted(self.sessions.items, self.items)


class Divided(NamedTuple):
    """Clicks in sessions before and after a moment; `after` has a column `scored` more."""

    before: pl.DataFrame
    after: pl.DataFrame


def cut(clicks: pl.DataFrame, *, gap_seconds: float) -> pl.DataFrame:
    """Return `clicks`, user by user, with a column `session`: its number, from 0.

    A session ends where the next click comes more than `gap_seconds` later; 0: never. As in the
    worker, arrival order counts: a click older than its predecessor belongs to the same session.
    """
    clicks = clicks.sort("user_id", maintain_order=True)
    latest = _TIME.cum_max().shift().over("user_id")
    begins = _USER != _USER.shift()
    if gap_seconds > 0:
        begins |= _TIME - latest > gap_seconds * 1000
    return clicks.with_columns(session=begins.fill_null(False).cast(pl.Int64).cum_sum())


def moment_before(clicks: pl.DataFrame, fraction: float) -> int:
    """Return the time (ms) at which the last `fraction` of `clicks` begins; later than all if it is 0."""
    times = clicks["timestamp_ms"].sort()
    before = round(len(times) * (1 - fraction))
    return int(times[before]) if before < len(times) else int(times[-1]) + 1


def divide(sessions: pl.DataFrame, at_ms: int, *, endless: bool) -> Divided:
    """Divide sessions into those before and after `at_ms`: whole ones, by their first click.

    `endless` sessions (gap 0) may last for years: they are cut at the moment, and what came before
    it stays in `after` as context that is not scored.
    """
    if endless:
        late = (_TIME >= at_ms).any().over("session")
        after = sessions.filter(late).with_columns(scored=_TIME >= at_ms)
        return Divided(sessions.filter(_TIME < at_ms), after)
    begin = _TIME.first().over("session")
    after = sessions.filter(begin >= at_ms).with_columns(scored=pl.lit(True))
    return Divided(sessions.filter(begin < at_ms), after)


def drop_rare_items(sessions: pl.DataFrame, min_count: int) -> tuple[pl.DataFrame, Removal]:
    """Return `sessions` without the clicks on items that have fewer than `min_count` of them."""
    kept = sessions.filter(pl.len().over("item_id") >= min_count)
    gone = sessions["item_id"].n_unique() - kept["item_id"].n_unique()
    why = f"on {gone:,} rare items (fewer than {min_count} clicks)"
    return kept, Removal(len(sessions) - len(kept), len(kept), "clicks", why)


def drop_short(sessions: pl.DataFrame) -> tuple[pl.DataFrame, Removal]:
    """Return `sessions` without those of one click: they hold nothing to predict."""
    kept = sessions.filter(pl.len().over("session") > 1)
    left = kept["session"].n_unique()
    return kept, Removal(sessions["session"].n_unique() - left, left, "sessions", "of one click")


def catalogue_of(sessions: pl.DataFrame) -> Catalogue:
    """Return the items of `sessions`, most clicked first; equal counts: by id."""
    counts = (
        sessions.group_by("item_id")
        .len()
        .cast({"item_id": pl.String})
        .sort(["len", "item_id"], descending=[True, False])
    )
    return Catalogue(counts["item_id"].to_list())


def to_arrays(sessions: pl.DataFrame, catalogue: Catalogue) -> Sessions:
    """Return `sessions` (the clicks of a session are adjacent) as item indexes of `catalogue`."""
    known = pl.DataFrame(
        {"item_id": catalogue.ids(np.arange(len(catalogue))).tolist()}, schema={"item_id": pl.String()}
    )
    known = known.with_row_index("item_index").cast({"item_id": sessions.schema["item_id"]})
    joined = sessions.select("item_id").join(known, on="item_id", how="left", maintain_order="left")
    items = joined["item_index"].cast(pl.Int32).fill_null(NO_ITEM).to_numpy()
    begins = np.flatnonzero(np.diff(sessions["session"].to_numpy(), prepend=-1))
    scored = np.ones(len(items), np.bool_)
    if "scored" in sessions.columns:
        scored = sessions["scored"].to_numpy().copy()
    scored[begins] = False
    times_ms = sessions["timestamp_ms"].to_numpy()
    return Sessions(items, np.append(begins, len(items)), scored, times_ms)
