"""A batch of clicks, and the same clicks put in order for stepping them together.

>>> at = np.array([0, 1, 0, 0])
>>> order = UserOrder(at)
>>> order.rows.tolist(), order.arrival.tolist(), [wave.tolist() for wave in order.waves()]
([0, 1], [0, 2, 3, 1], [[0, 3], [1], [2]])
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Places = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Clicks:
    """A batch of clicks in the order of arrival, column by column."""

    partitions: NDArray[np.int32]
    offsets: NDArray[np.int64]
    user_ids: Sequence[str]
    item_ids: Sequence[str]
    timestamps_ms: NDArray[np.int64]
    """The clicks' own times."""
    record_timestamps_ms: NDArray[np.int64]
    """The times of the records that brought them; negative where a record has none."""

    def __len__(self) -> int:
        return len(self.user_ids)


class UserOrder:
    """The `E` clicks of a batch sorted by user row, those of one user in the order of arrival.

    Everything of length `E` here is in that order; `U` is the number of different users.
    """

    def __init__(self, rows: NDArray[np.int64]) -> None:
        self.arrival: Places = np.argsort(rows, kind="stable")
        """`[E]`: the place of each click in the batch."""
        ordered = rows[self.arrival]
        begins = np.empty(len(rows), np.bool_)
        begins[:1] = True
        np.not_equal(ordered[1:], ordered[:-1], out=begins[1:])
        first = np.flatnonzero(begins)
        self.rows = ordered[first]
        """`[U]`: the users' rows, each once."""
        self.last: Places = np.append(first, len(rows))[1:] - 1
        """`[U]`: where each user's last click stands."""
        self.user: Places = np.cumsum(begins) - 1
        """`[E]`: the click's user, a place in `rows`."""
        self.first: Places = first[self.user]
        """`[E]`: where the first click of the same user stands."""
        self.nth: Places = np.arange(len(rows)) - self.first
        """`[E]`: how many clicks of the same user stand before it."""

    def waves(self) -> Iterator[Places]:
        """First where each user's first click stands, then where every second one stands, and so on."""
        by_wave = np.argsort(self.nth, kind="stable")
        ends = np.cumsum(np.bincount(self.nth))
        start = 0
        for end in ends:
            yield by_wave[start:end]
            start = end
