"""The history of users: all clicks that a worker would have seen before it answers.

Held-out sessions are only a part of what their users clicked. Earlier sessions, and sessions of one click,
have nothing to predict, but a worker remembers their items, too.

>>> history = History(np.array([5, 6, 7, 8, 9], np.int32), np.array([0, 2]), np.array([1, 3, 4]))
>>> history.before(np.array([0, 1, 2]), 2).tolist()
[[5, -1], [7, -1], [8, 7]]
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from worker.core.ranking import NO_ITEM, Indexes
from worker.core.recent import MAX_RECENT_ITEMS

PLACE = "place"
"""The column that numbers all clicks, grouped by user and in order of arrival, before any are left out."""


class History(NamedTuple):
    """A clicks of the users of some sessions with C clicks, grouped by user, in order of arrival.

    `items` `[A]`: the item of each click. `starts`: the position of each user's first click. `places` `[C]`:
    the position of each click of the sessions.
    """

    items: Indexes
    starts: NDArray[np.int64]
    places: NDArray[np.int64]

    def of(self, clicks: Any) -> History:
        """Return the history of the sessions' clicks that `clicks` selects."""
        return self._replace(places=self.places[clicks])

    def before(self, clicks: NDArray[np.int64], count: int) -> Indexes:
        """Return the user's last `count` items before each of the sessions' `clicks`, `[P, count]`.

        The latest is first; rows are padded with `NO_ITEM`.
        """
        places = self.places[clicks]
        begins = self.starts[np.searchsorted(self.starts, places, side="right") - 1]
        wanted = places[:, None] - 1 - np.arange(count)
        found = self.items[np.maximum(wanted, 0)]
        return np.where(wanted >= begins[:, None], found, NO_ITEM).astype(np.int32)


def history_of(clicks: pl.DataFrame, parts: Iterable[pl.DataFrame]) -> pl.DataFrame:
    """Return those of all `clicks` that a worker may need for its answers in the sessions of `parts`.

    These are, of each user, the clicks since the first one in `parts`, and as many before it as a worker
    keeps. All tables have the columns `user_id` and `PLACE`.
    """
    first = pl.concat([part.select("user_id", PLACE) for part in parts]).group_by("user_id").min()
    since = (pl.col("first").cast(pl.Int64) - MAX_RECENT_ITEMS).alias("first")
    joined = clicks.join(
        first.rename({PLACE: "first"}).with_columns(since), on="user_id", maintain_order="left"
    )
    return joined.filter(pl.col(PLACE) >= pl.col("first")).drop("first")
