"""The tags of numbered items: each tag is stored once, and the tags of an item as integers in a shared pool.

>>> tags = Tags()
>>> tags.put(0, ["category:shoes", "brand:acme"]), tags.put(1, ["category:shoes"])
(True, True)
>>> tags.of(0), tags.ids(1)
(['category:shoes', 'brand:acme'], [0])
>>> tags.places("category:shoes").tolist(), tags.places("brand:acme").tolist()
([0, 1], [0])
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

_WASTE: Final = 1 << 16
"""256 KiB."""


class Tags:
    """The tags of items, by the items' places: 0, 1, ... in the order in which they were first put.

    `waste`: how many unused integers may be in the pool, however few are in use.
    """

    def __init__(self, *, waste: int = _WASTE) -> None:
        self._waste = waste
        self._ids: dict[str, int] = {}
        self.names: list[str] = []
        """By the id of a tag: its text. Only for reading; it only grows."""
        self._pool = array("i")
        self._starts, self._counts = array("I"), array("B")
        """By place: where the item's ids begin in the pool, and their number."""
        self._unused = 0
        self.changes = 0
        """The number of times that an item's tags changed."""

    def put(self, place: int, tags: Sequence[str]) -> bool:
        """Set the tags, at most 255, of the item at `place`, which is at most one more than the last.

        Return whether they changed.
        """
        ids = [*map(self._id, tags)]
        if place == len(self._counts):
            self._starts.append(0)
            self._counts.append(0)
        if ids == self.ids(place):
            return False
        self.changes += 1
        self._unused += self._counts[place]
        self._starts[place], self._counts[place] = len(self._pool), len(ids)
        self._pool.extend(ids)
        if self._unused > self._waste and 2 * self._unused > len(self._pool):
            self._collect()
        return True

    def ids(self, place: int) -> list[int]:
        """Return the ids of the tags of the item at `place`."""
        start = self._starts[place]
        return self._pool[start : start + self._counts[place]].tolist()

    def of(self, place: int) -> list[str]:
        """Return the tags of the item at `place`, in their order."""
        return [*map(self.names.__getitem__, self.ids(place))]

    def of_all(self, places: NDArray[np.int32]) -> tuple[NDArray[np.intp], NDArray[np.int32]]:
        """Return the ids of the tags of the items at `places`, in one row, and for each id whose it is.

        An item is named by its position in `places`. A negative place has no tags.
        """
        if not self._counts:
            return np.empty(0, np.intp), np.empty(0, np.int32)
        # Views, which must not outlive this call: an array in use elsewhere cannot grow.
        pool, begins = np.frombuffer(self._pool, np.int32), np.frombuffer(self._starts, np.uint32)
        counts = np.where(places < 0, 0, np.frombuffer(self._counts, np.uint8)[places].astype(np.intp))
        owners = np.repeat(np.arange(len(places)), counts)
        within = np.arange(len(owners)) - np.repeat(np.cumsum(counts) - counts, counts)
        return owners, pool[np.repeat(begins[places].astype(np.intp), counts) + within]

    def places(self, tag: str) -> NDArray[np.int64]:
        """Return the places of the items with a tag, ascending. Takes a millisecond per million tags."""
        number = self._ids.get(tag)
        if number is None:
            return np.empty(0, np.int64)
        starts, counts = np.frombuffer(self._starts, np.uint32), np.frombuffer(self._counts, np.uint8)
        tagged = np.flatnonzero(counts)
        tagged = tagged[np.argsort(starts[tagged])]
        hits = np.flatnonzero(np.frombuffer(self._pool, np.int32) == number)
        # Integers after the last of an item, and before the next item's, are not in use.
        found = np.searchsorted(starts[tagged], hits, side="right") - 1
        hits, found = hits[found >= 0], tagged[found[found >= 0]]
        return np.unique(found[hits < starts[found].astype(np.int64) + counts[found]])

    def _id(self, tag: str) -> int:
        number = self._ids.setdefault(tag, len(self.names))
        if number == len(self.names):
            self.names.append(tag)
        return number

    def _collect(self) -> None:
        """Remove the unused integers from the pool."""
        pool = array("i")
        for place, start in enumerate(self._starts):
            self._starts[place] = len(pool)
            pool.extend(self._pool[start : start + self._counts[place]])
        self._pool, self._unused = pool, 0
