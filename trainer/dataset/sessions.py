"""Sessions: cut from clicks, split by time, and converted to arrays of item indexes.

>>> clicks = pl.DataFrame({"user_id": ["a"] * 3, "item_id": ["x", "y", "z"], "timestamp_ms": [0, 1000, 9000]})
>>> cut(clicks, gap_seconds=5)["session"].to_list()
[0, 0, 1]
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from trainer.clicks.cleaning import Removal
from trainer.dataset.history import PLACE, History
from trainer.dataset.lists import counted
from worker.core.catalogue import Catalogue
from worker.core.ranking import NO_ITEM, Indexes

_TIME = pl.col("timestamp_ms")
_USER = pl.col("user_id")

TEST: Final = "in_test_split"
"""An optional column of a table of clicks: whether the click belongs to the test split."""


@dataclass(frozen=True, slots=True)
class Sessions:
    """S sessions with C clicks, concatenated.

    `items` `[C]`: the item index of each click; `NO_ITEM` if the item is not in the catalogue.
    `starts` `[S + 1]`: session s has the clicks `starts[s]` to `starts[s + 1]` (exclusive).
    `scored` `[C]`: whether the click is to be predicted; the first click of a session never is.
    `times_ms` `[C]`: the time of each click, or None.
    `history`: all clicks of the sessions' users, or None.
    """

    items: Indexes
    starts: NDArray[np.int64]
    scored: NDArray[np.bool_]
    times_ms: NDArray[np.int64] | None = None
    history: History | None = None

    @classmethod
    def empty(cls) -> Sessions:
        """Return an empty set of sessions."""
        return cls(np.zeros(0, np.int32), np.zeros(1, np.int64), np.zeros(0, np.bool_))

    def __len__(self) -> int:
        return len(self.starts) - 1

    def __iter__(self) -> Iterator[Indexes]:
        """Yield the items of each session."""
        for begin, end in pairwise(self.starts.tolist()):
            yield self.items[begin:end]

    @property
    def lengths(self) -> NDArray[np.int64]:
        """`[S]`: the number of clicks in each session."""
        return np.diff(self.starts)

    @property
    def known_times_ms(self) -> NDArray[np.int64]:
        """`times_ms`. Raises ValueError if the sessions have no times; those of `to_arrays` have."""
        if self.times_ms is None:
            raise ValueError("the sessions have no click times")
        return self.times_ms

    @property
    def predictions(self) -> int:
        """Number of clicks to be predicted."""
        return int(np.count_nonzero(self.scored))


@dataclass(frozen=True, slots=True)
class PastSessions:
    """Sessions for counting, the time and the user of each click `[C]`, and the number of `items`.

    The users are numbers from `numbered`; the clicks of a user are in order.
    """

    sessions: Sessions
    times_ms: NDArray[np.int64]
    items: int
    users: NDArray[np.uint64]

    @classmethod
    def of(cls, sessions: pl.DataFrame, catalogue: Catalogue) -> PastSessions:
        """Return the sessions of a table that `cut` returned."""
        times = sessions["timestamp_ms"].to_numpy()
        return cls(to_arrays(sessions, catalogue), times, len(catalogue), numbered(sessions["user_id"]))

    @property
    def clicks(self) -> NDArray[np.int64]:
        """`[N]`: the number of clicks on each item."""
        return counted(self.sessions.items, self.items)


def numbered(users: pl.Series) -> NDArray[np.uint64]:
    """Return a number for each user id: a hash, so that the same id has the same number in other tables."""
    return users.cast(pl.String).hash().to_numpy()


class Divided(NamedTuple):
    """Tables of clicks before and after a split time; `after` has the additional column `scored`."""

    before: pl.DataFrame
    after: pl.DataFrame


def cut(clicks: pl.DataFrame, *, gap_seconds: float) -> pl.DataFrame:
    """Return `clicks` grouped by user, with a column `session`: the session number, from 0.

    A session ends when the next click of the user is more than `gap_seconds` later; 0: sessions never end.
    Clicks are in order of arrival, as in the worker: a click older than its predecessor stays in the session.
    Unless sessions never end, a click marked in the column `TEST` is in no session with unmarked clicks.
    """
    clicks = clicks.sort("user_id", maintain_order=True)
    latest = _TIME.cum_max().shift().over("user_id")
    begins = _USER != _USER.shift()
    if gap_seconds > 0:
        begins |= _TIME - latest > gap_seconds * 1000
        if TEST in clicks.columns:
            begins |= pl.col(TEST) != pl.col(TEST).shift()
    return clicks.with_columns(session=begins.fill_null(False).cast(pl.Int64).cum_sum())


def moment_before(clicks: pl.DataFrame, fraction: float) -> int:
    """Return the time (ms) at which the newest `fraction` of `clicks` starts.

    If `fraction` is 0, return a time after all clicks.
    """
    times = clicks["timestamp_ms"].sort()
    before = round(len(times) * (1 - fraction))
    return int(times[before]) if before < len(times) else int(times[-1]) + 1


def divide(sessions: pl.DataFrame, at_ms: int, *, endless: bool) -> Divided:
    """Split sessions at `at_ms` by the time of their first click; sessions are not cut.

    With `endless` sessions (gap 0), which may last for years, each session is cut at `at_ms`. Its earlier
    clicks are in `before`, and also in `after`, as context that is not scored.
    """
    return divide_where(sessions, _TIME >= at_ms, endless=endless)


def divide_where(sessions: pl.DataFrame, late: pl.Expr, *, endless: bool) -> Divided:
    """Split sessions, as `divide` does, by whether their first click is `late`.

    With `endless`, each session is split into its clicks that are not `late` and its clicks that are.
    """
    if endless:
        after = sessions.with_columns(scored=late).filter(pl.col("scored").any().over("session"))
        return Divided(sessions.filter(~late), after)
    begins = late.first().over("session")
    return Divided(sessions.filter(~begins), sessions.filter(begins).with_columns(scored=pl.lit(True)))


def drop_rare_items(sessions: pl.DataFrame, min_count: int) -> tuple[pl.DataFrame, Removal]:
    """Return `sessions` without the clicks on items that have fewer than `min_count` clicks."""
    kept = sessions.filter(pl.len().over("item_id") >= min_count)
    gone = sessions["item_id"].n_unique() - kept["item_id"].n_unique()
    why = f"on {gone:,} rare items (fewer than {min_count} clicks)"
    return kept, Removal(len(sessions) - len(kept), len(kept), "clicks", why)


def drop_short(sessions: pl.DataFrame) -> tuple[pl.DataFrame, Removal]:
    """Return `sessions` without the sessions of one click, which contain nothing to predict."""
    kept = sessions.filter(pl.len().over("session") > 1)
    left = kept["session"].n_unique()
    return kept, Removal(sessions["session"].n_unique() - left, left, "sessions", "of one click")


def catalogue_of(sessions: pl.DataFrame) -> Catalogue:
    """Return the items of `sessions`, most clicked first; ties by id."""
    counts = (
        sessions.group_by("item_id")
        .len()
        .cast({"item_id": pl.String})
        .sort(["len", "item_id"], descending=[True, False])
    )
    return Catalogue(counts["item_id"].to_list())


def to_arrays(sessions: pl.DataFrame, catalogue: Catalogue, history: pl.DataFrame | None = None) -> Sessions:
    """Convert a table of clicks to sessions of item indexes. The clicks of a session must be adjacent.

    `history`: the clicks of the users before and in these sessions, as `history_of` returns them.
    """
    items = _item_indexes(sessions, catalogue)
    begins = np.flatnonzero(np.diff(sessions["session"].to_numpy(), prepend=-1))
    scored = np.ones(len(items), np.bool_)
    if "scored" in sessions.columns:
        scored = sessions["scored"].to_numpy().copy()
    scored[begins] = False
    times_ms = sessions["timestamp_ms"].to_numpy()
    starts = np.append(begins, len(items))
    if history is None:
        return Sessions(items, starts, scored, times_ms)
    users = np.flatnonzero(np.diff(history["user_id"].rle_id().to_numpy().astype(np.int64), prepend=-1))
    places = np.searchsorted(history[PLACE].to_numpy(), sessions[PLACE].to_numpy())
    return Sessions(
        items, starts, scored, times_ms, History(_item_indexes(history, catalogue), users, places)
    )


def _item_indexes(clicks: pl.DataFrame, catalogue: Catalogue) -> Indexes:
    """Return the item index of each of `clicks`; `NO_ITEM` if the item is not in the catalogue."""
    known = pl.DataFrame(
        {"item_id": catalogue.ids(np.arange(len(catalogue))).tolist()}, schema={"item_id": pl.String()}
    )
    known = known.with_row_index("item_index").cast({"item_id": clicks.schema["item_id"]})
    joined = clicks.select("item_id").join(known, on="item_id", how="left", maintain_order="left")
    return joined["item_index"].cast(pl.Int32).fill_null(NO_ITEM).to_numpy()


def sampled(sessions: Sessions, most: int, *, seed: int = 0) -> NDArray[np.bool_]:
    """Return `sessions.scored` `[C]` restricted to a random sample of sessions, whole.

    The sample has at most `most` predictions, but at least one session; it is all sessions if these are few.
    """
    if sessions.predictions <= most:
        return sessions.scored
    predictions = np.add.reduceat(sessions.scored.astype(np.int64), sessions.starts[:-1])
    order = np.random.default_rng(seed).permutation(np.flatnonzero(predictions))
    count = np.searchsorted(np.cumsum(predictions[order]), most, side="right")
    chosen = np.zeros(len(sessions), np.bool_)
    chosen[order[: max(1, int(count))]] = True
    return sessions.scored & np.repeat(chosen, sessions.lengths)
