"""The ring of recent items: where the item of click number n of a user stands, and how it is found again.

A user's clicks are numbered from 0. Of `R` places, item n stands in place n modulo R: a new item takes the
place of the oldest one. All other modules ask this one.

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

RECENT_ITEMS: Final = 20
"""The number of a user's last items that a row keeps."""

Integers = NDArray[np.integer[Any]]


class Ring:
    """The last items of `B` users: a view of `codes` `[B, R]`, which `put` writes to.

    `clicks` `[B]`: how many clicks each user made. A place that no item was put into holds anything
    if the user has no click for it, and else `NO_ITEM`.
    """

    __slots__ = ("clicks", "codes")

    def __init__(self, codes: Indexes, clicks: Integers) -> None:
        self.codes = codes
        self.clicks = clicks

    @property
    def size(self) -> int:
        """The number of places, `R`."""
        return self.codes.shape[1]

    @property
    def kept(self) -> Integers:
        """`[B]`: of how many clicks each user's ring keeps the item."""
        return np.minimum(self.clicks, self.size)

    @property
    def filled(self) -> NDArray[np.bool_]:
        """`[B, R]`: which places a click was made for."""
        return np.arange(self.size) < self.clicks[:, None]

    def of(self, users: Integers) -> Ring:
        """Return the ring of some users alone, a copy."""
        return Ring(self.codes[users], self.clicks[users])

    def at(self, users: Integers, numbers: Integers) -> Indexes:
        """Return the item of click number `numbers` of each of `users`, which are broadcast together.

        `NO_ITEM` for a number below 0. The other numbers must be among the last `R`, or the answer is
        the item of a later click.
        """
        return np.where(numbers < 0, NO_ITEM, self.codes[users, numbers % self.size])

    def latest(self, lags: Integers) -> Indexes:
        """Return each user's items by lag, `[B, len(lags)]`: lag 0 is the last one. `NO_ITEM` for none."""
        return self.at(np.arange(len(self.codes))[:, None], self.clicks[:, None] - 1 - lags)

    def session(self, lengths: Integers) -> Indexes:
        """Return the last `lengths` `[B]` items of each user, the oldest first, and then `NO_ITEM`.

        `[B, L]` for the largest length `L`. No length may be above `kept`.
        """
        nth = np.arange(lengths.max(initial=0), dtype=np.int32)
        numbers = (self.clicks - lengths)[:, None] + nth
        codes = self.codes[np.arange(len(lengths))[:, None], numbers % self.size]
        return np.where(nth < lengths[:, None], codes, NO_ITEM)

    def oldest_first(self, user: int) -> Indexes:
        """Return the items of one user, the latest one last."""
        clicks = int(self.clicks[user])
        codes = self.codes[user, np.arange(max(0, clicks - self.size), clicks) % self.size]
        # A ring that was shorter once has places that nothing was put into yet.
        return codes[codes != NO_ITEM]

    def put(self, users: Integers, numbers: Integers, codes: Indexes) -> None:
        """Write an item for each of `users` and click `numbers`; the numbers of one user rise."""
        # Where a user clicked more often than the ring is long, the last write to a place stays: NumPy
        # assigns repeated indexes in order.
        self.codes[users, numbers % self.size] = codes

    def resized(self, size: int) -> Indexes:
        """Return the same last items in a ring of `size` places."""
        if size == self.size:
            return self.codes
        resized = Ring(np.full((len(self.codes), size), NO_ITEM, np.int32), self.clicks)
        for lag in range(min(self.size, size), 0, -1):
            numbers = self.clicks - lag
            users = np.flatnonzero(numbers >= 0)
            resized.put(users, numbers[users], self.at(users, numbers[users]))
        return resized.codes
