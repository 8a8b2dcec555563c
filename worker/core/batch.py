"""A batch of clicks, and the same clicks put in order for stepping them together.

A batch is sorted by user. The first click of every user steps together, then every second one, and so on: a
few matrix products instead of one per click. A Hypothesis law holds batch and one by one equal to 1e-5.

>>> at = np.array([0, 1, 0, 0])
>>> order = UserOrder(at)
>>> order.rows.tolist(), order.arrival.tolist(), order.waves().places.tolist(), order.waves().sizes.tolist()
([0, 1], [0, 2, 3, 1], [0, 3, 1, 2], [2, 1, 1])
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

Places = NDArray[np.intp]

_NOT_GIVEN: Final[NDArray[Any]] = np.empty(0)


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
    elements: NDArray[np.int32] = field(default_factory=lambda: _NOT_GIVEN)
    """The number of the click's event in its record, from 1, where a record has several; else 0."""
    ends_event: NDArray[np.bool_] = field(default_factory=lambda: _NOT_GIVEN)
    """Whether it is the last click of its event. Only then a list may answer it."""

    def __post_init__(self) -> None:
        """Take each click for a whole record where nothing else is given."""
        if self.elements is _NOT_GIVEN:
            object.__setattr__(self, "elements", np.zeros(len(self), np.int32))
        if self.ends_event is _NOT_GIVEN:
            object.__setattr__(self, "ends_event", np.ones(len(self), np.bool_))

    def __len__(self) -> int:
        return len(self.user_ids)

    def divided(self, most: int) -> Iterator[Clicks]:
        """Yield the clicks in batches of at most `most`, more only where one record has more.

        Those of a record are in one batch: recovery knows by its offset alone what was applied.
        """
        if len(self) <= most:
            yield self
            return
        places = np.arange(len(self))
        same = (np.diff(self.offsets) == 0) & (np.diff(self.partitions) == 0)
        ends = np.append(places[1:][~same], len(self))
        begin = 0
        while begin < len(self):
            last = int(np.searchsorted(ends, begin + most, side="right")) - 1
            fits = last >= 0 and ends[last] > begin
            end = int(ends[last if fits else last + 1])
            yield self.taken(places[begin:end])
            begin = end

    def taken(self, places: Places) -> Clicks:
        """Return the clicks at `places`, in that order."""
        at = places.tolist()
        return Clicks(
            partitions=self.partitions[places],
            offsets=self.offsets[places],
            user_ids=[self.user_ids[place] for place in at],
            item_ids=[self.item_ids[place] for place in at],
            timestamps_ms=self.timestamps_ms[places],
            record_timestamps_ms=self.record_timestamps_ms[places],
            elements=self.elements[places],
            ends_event=self.ends_event[places],
        )


class Waves(NamedTuple):
    """The clicks of a batch, wave after wave."""

    places: Places
    """`[E]`: where each click stands in the order that the waves are made of."""
    sizes: Places
    """The number of clicks in each wave; never more than in the one before."""


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

    def waves(self) -> Waves:
        """Return waves of clicks: the places of each user's first click, then of each second one, and so on.

        Users with more clicks come first: the users of a wave are the first ones of the wave before.
        """
        clicks = self.nth[self.last] + 1
        places = np.lexsort((-clicks[self.user], self.nth))
        return Waves(places, np.bincount(self.nth))
