"""The ring buffer of recent items: where it stores the item of a user's n-th click, and how to read it.

A user's clicks are numbered from 0. In a ring of `R` positions, item n is at position n modulo R, so a new
item replaces the oldest item. All other modules leave this arithmetic to `Ring`.

>>> ring = Ring(np.full((2, 3), NO_ITEM, np.int32), clicks=np.array([4, 1]))
>>> ring.put(np.array([0, 0, 0, 0, 1]), np.array([0, 1, 2, 3, 0]), np.array([5, 6, 7, 8, 9]))
>>> ring.codes[0].tolist(), ring.oldest_first(0).tolist()
([8, 6, 7], [6, 7, 8])
>>> ring.latest(np.arange(3)).tolist()
[[8, 7, 6], [9, -1, -1]]
>>> ring.session(np.array([2, 1])).tolist()
[[7, 8], [9, -1]]
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from worker.core.ranking import NO_ITEM, Indexes
from worker.core.slabs import Column

RECENT_ITEMS: Final = 20
"""The number of recent items in a user's row, unless a release needs more; and the maximum number of items
of the current session from which a state is rebuilt.
"""

MAX_RECENT_ITEMS: Final = 100
"""Maximum number of recent items in a user's row."""

_RESIZED: Final = 1 << 13
"""The number of rows that are copied together into longer rings; they fit in the cache."""

Integers = NDArray[np.integer[Any]]


class Ring:
    """The recent items of `B` users: a view of `codes` `[B, R]`, which `put` writes to.

    `clicks` `[B]`: the number of clicks of each user. A position beyond the user's clicks is undefined. A
    position whose item was not kept, because the ring was shorter before, is `NO_ITEM`.
    """

    __slots__ = ("clicks", "codes")

    def __init__(self, codes: Indexes, clicks: Integers) -> None:
        self.codes = codes
        self.clicks = clicks

    @property
    def size(self) -> int:
        """The number of positions, `R`."""
        return self.codes.shape[1]

    @property
    def kept(self) -> Integers:
        """`[B]`: the number of each user's clicks, but at most `R`."""
        return np.minimum(self.clicks, self.size)

    @property
    def session_size(self) -> int:
        """The maximum number of items that a user's row counts in the current session.

        A longer ring does not increase it, so that rebuilding a state takes no longer.
        """
        return min(self.size, RECENT_ITEMS)

    @property
    def filled(self) -> NDArray[np.bool_]:
        """`[B, R]` mask: which positions belong to a click."""
        return np.arange(self.size) < self.clicks[:, None]

    def of(self, users: Integers) -> Ring:
        """Return a copy of the rings of some users."""
        return Ring(self.codes[users], self.clicks[users])

    def at(self, users: Integers, numbers: Integers) -> Indexes:
        """Return the items of the clicks `numbers` of `users`; both arrays are broadcast together.

        `NO_ITEM` for negative numbers. Other numbers must be among the user's last `R` clicks; otherwise the
        result is the item of a later click.
        """
        return np.where(numbers < 0, NO_ITEM, self.codes[users, numbers % self.size])

    def latest(self, lags: Integers) -> Indexes:
        """Return each user's items by lag, `[B, len(lags)]`, padded with `NO_ITEM`; lag 0 is the latest."""
        return self.at(np.arange(len(self.codes))[:, None], self.clicks[:, None] - 1 - lags)

    def session(self, lengths: Integers) -> Indexes:
        """Return the last `lengths` `[B]` items of each user, oldest first, padded with `NO_ITEM`.

        The result is `[B, L]` for the maximum length `L`. No length may exceed `kept`.
        """
        nth = np.arange(lengths.max(initial=0), dtype=np.int32)
        numbers = (self.clicks - lengths)[:, None] + nth
        codes = self.codes[np.arange(len(lengths))[:, None], numbers % self.size]
        return np.where(nth < lengths[:, None], codes, NO_ITEM)

    def oldest_first(self, user: int) -> Indexes:
        """Return the items of one user, oldest first."""
        clicks = int(self.clicks[user])
        codes = self.codes[user, np.arange(max(0, clicks - self.size), clicks) % self.size]
        # After a resize from a shorter ring, some positions have no item.
        return codes[codes != NO_ITEM]

    def put(self, users: Integers, numbers: Integers, codes: Indexes) -> None:
        """Write the items `codes` of the clicks `numbers` of `users`. Each user's numbers must ascend."""
        # If a user has more clicks here than the ring has positions, the last write to a position wins: NumPy
        # assigns repeated indexes in order.
        self.codes[users, numbers % self.size] = codes

    def resized(self, size: int) -> Indexes:
        """Return these codes at their positions in a ring of another `size`; if it is shorter, the newest."""
        if size == self.size:
            return self.codes
        codes = np.full((len(self.codes), size), NO_ITEM, np.int32)
        both = min(size, self.size)
        codes[:, :both] = self.codes[:, :both]
        # The first clicks are at the same positions in both rings; the users with more clicks are few.
        longer = np.flatnonzero(self.clicks > both)
        latest = self.clicks[longer, None].astype(np.int32) - 1
        # Position p has the latest item whose number is p modulo R.
        numbers = latest - (latest - np.arange(self.size, dtype=np.int32)) % np.int32(self.size)
        places, moved = longer[:, None] * size + numbers % np.int32(size), self.codes[longer]
        if size < self.size:
            kept = (numbers >= 0) & (numbers > latest - size)
            places, moved = places[kept], moved[kept]
        codes[longer] = NO_ITEM
        codes.reshape(-1)[places] = moved
        return codes


def lengthened(recent: Column, clicks: Column, size: int, *, rows: int) -> Column:
    """Return the rings of the first `rows` rows in a column of rings with `size` positions.

    The slabs of `recent` are emptied one by one, so that only one of them is in memory twice.
    """
    longer = Column(np.int32, (size,), recent.slab_rows)
    longer.reserve(len(recent.slabs) * recent.slab_rows)
    for number, slab in enumerate(recent.slabs):
        # Rows that were never used are not written, so their pages are not mapped.
        used = min(rows - number * recent.slab_rows, recent.slab_rows)
        for begin in range(0, used, _RESIZED):
            part = slice(begin, min(begin + _RESIZED, used))
            longer.slabs[number][part] = Ring(slab[part], clicks.slabs[number][part]).resized(size)
        recent.slabs[number] = slab[:0].copy()
    return longer
