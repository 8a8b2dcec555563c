"""The items that a shop describes: whether each may be recommended now, and its tags.

An item is available if its record says so, or says nothing of it, and the time is within its validity. Items
without a record are available, because the shop may describe only some of its items.

>>> known = KnownItems()
>>> known.put([("lamp", Item(available=False)), ("rug", Item(valid_until_ms=2_000))], now_ms=1_000)
['lamp']
>>> known.advance(2_000), known.is_available("rug"), known.is_available("sofa")
(['rug'], False, True)
"""

from __future__ import annotations

import heapq
from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from worker.core.catalogue import Catalogue
from worker.core.id_table import NOWHERE, IdTable
from worker.core.tags import Tags

Places = NDArray[np.int32]

_UNAVAILABLE: Final = 0
_AVAILABLE: Final = 1
_GONE: Final = 2
"""The state of an item by its record. Gone: the record has no value."""

_NEVER: Final = 1 << 62
_ALWAYS: Final = (-_NEVER, _NEVER)

_PLACE_BITS: Final = 32

_STALE: Final = 1024
"""Entries of the heap that may be out of date, however few items have times."""


class Item(NamedTuple):
    """The description of an item.

    It is valid from `valid_from_ms` up to, not including, `valid_until_ms`; None: no limit. Title and price
    are for people, so they are not kept in memory.
    """

    available: bool = True
    tags: tuple[str, ...] = ()
    title: str | None = None
    price: float | None = None
    valid_from_ms: int | None = None
    valid_until_ms: int | None = None


Change = tuple[str, Item | None]
"""An item id and the item's new description; None: the item is gone."""


class KnownItems:
    """The latest descriptions of items. Not thread-safe.

    Time never goes back: an earlier `now_ms` counts as the latest one.
    """

    def __init__(self) -> None:
        self._ids = IdTable()
        self._states, self._available = array("B"), bytearray()
        """By place: the state by the item's record, and whether the item is available now."""
        self._tags = Tags()
        self._begins, self._ends = array("q"), array("q")
        """By place: the validity by the item's record."""
        self._timed = 0
        """The number of items whose validity has a limit."""
        self._changes: list[int] = []
        """A heap of times at which the clock may change an item: the time times 2^32, plus the item's place.
        One entry for each item with an upcoming change; and others, which are out of date.
        """
        self._now_ms = -_NEVER
        self.gone = 0
        """The number of items that are gone."""
        self.unavailable_count = 0
        """The number of items that are not available now; includes those that are gone."""

    def __len__(self) -> int:
        """Return the number of items that have a description."""
        return len(self._ids) - self.gone

    def put(self, changes: Iterable[Change], *, now_ms: int) -> list[str]:
        """Store new descriptions, in their order; return the items whose availability or tags changed.

        The clock goes on, too, as in `advance`.
        """
        return [*self.advance(now_ms), *(item_id for item_id, item in changes if self._put(item_id, item))]

    def advance(self, now_ms: int) -> list[str]:
        """Let the clock go on; return the items whose availability changed."""
        self._now_ms, found = max(now_ms, self._now_ms), []
        while self._changes and self._changes[0] >> _PLACE_BITS <= self._now_ms:
            when, place = divmod(heapq.heappop(self._changes), 1 << _PLACE_BITS)
            if when == self._begins[place]:
                self._schedule(place)
            if self._judge(place):
                found.append(self._ids.id(place))
        return found

    def is_available(self, item_id: str) -> bool:
        """Return whether the item may be recommended now."""
        place = self._ids.find(item_id)
        return place == NOWHERE or bool(self._available[place])

    def available(self, item_ids: Sequence[str]) -> NDArray[np.bool_]:
        """Return a mask of the items among `item_ids` that may be recommended now."""
        return np.fromiter(map(self.is_available, item_ids), np.bool_, len(item_ids))

    def unavailable(self) -> list[str]:
        """Return the items that are not available now."""
        places = np.flatnonzero(np.frombuffer(self._available, np.uint8) == 0)
        return [*map(self._ids.id, places.tolist())]

    def changes(self) -> Iterator[Change]:
        """Yield all that is known, as changes to put, without titles and prices."""
        for place in range(len(self._ids)):
            begin, end = self._begins[place], self._ends[place]
            yield (
                self._ids.id(place),
                None
                if self._states[place] == _GONE
                else Item(
                    available=self._states[place] == _AVAILABLE,
                    tags=tuple(self._tags.of(place)),
                    valid_from_ms=None if begin == -_NEVER else begin,
                    valid_until_ms=None if end == _NEVER else end,
                ),
            )

    def describes(self, item_id: str) -> bool:
        """Return whether the item has a description."""
        place = self._ids.find(item_id)
        return place != NOWHERE and self._states[place] != _GONE

    def tags(self, item_id: str) -> list[str]:
        """Return the tags of an item; empty if it has no description."""
        place = self._ids.find(item_id)
        return [] if place == NOWHERE else self._tags.of(place)

    def places(self, item_ids: Iterable[str]) -> Places:
        """Return the place of each item, for `tags_at`; `NOWHERE` if there is no record of it."""
        return np.fromiter(map(self._ids.find, item_ids), np.int32)

    def places_of(self, catalogue: Catalogue) -> Places:
        """Return the place of each item of a catalogue, as `places` does."""
        return catalogue.places(self._ids)

    def tags_at(self, places: Places) -> tuple[NDArray[np.intp], NDArray[np.int32]]:
        """Return the tags of items as numbers, and the position in `places` of each tag's item."""
        return self._tags.of_all(places)

    @property
    def tag_names(self) -> Sequence[str]:
        """The text of each tag, by its number. A tag that was ever there keeps its number."""
        return self._tags.names

    def tagged(self, tag: str) -> list[str]:
        """Return the items with a tag."""
        return [*map(self._ids.id, self._tags.places(tag).tolist())]

    @property
    def tag_changes(self) -> int:
        """The number of times that an item's tags changed: until it grows, `tagged` returns the same."""
        return self._tags.changes

    def _put(self, item_id: str, item: Item | None) -> bool:
        """Store a description; return whether the item's availability or tags changed."""
        place = self._ids.add(item_id)
        if place == len(self._states):
            self._states.append(_AVAILABLE)
            self._available.append(1)
            self._begins.append(-_NEVER)
            self._ends.append(_NEVER)
        self.gone += (item is None) - (self._states[place] == _GONE)
        if item is None:
            item, self._states[place] = Item(), _GONE
        else:
            self._states[place] = _AVAILABLE if item.available else _UNAVAILABLE
        retagged = self._tags.put(place, item.tags)
        self._set_validity(place, item)
        return self._judge(place) or retagged

    def _set_validity(self, place: int, item: Item) -> None:
        begin = -_NEVER if item.valid_from_ms is None else _within(item.valid_from_ms)
        end = _NEVER if item.valid_until_ms is None else _within(item.valid_until_ms)
        before = self._begins[place], self._ends[place]
        if (begin, end) != before:
            self._timed += ((begin, end) != _ALWAYS) - (before != _ALWAYS)
            self._begins[place], self._ends[place] = begin, end
            self._schedule(place)
            if len(self._changes) > 2 * self._timed + _STALE:
                self._changes = []
                for one in range(len(self._begins)):
                    self._schedule(one)

    def _schedule(self, place: int) -> None:
        """Add the time at which the clock may change the item at `place` next, if there is one."""
        begin, end = self._begins[place], self._ends[place]
        upcoming = begin if self._now_ms < begin else end
        if self._now_ms < upcoming < _NEVER:
            heapq.heappush(self._changes, upcoming << _PLACE_BITS | place)

    def _judge(self, place: int) -> bool:
        """Set whether the item at `place` is available now; return whether that has changed."""
        is_valid = self._begins[place] <= self._now_ms < self._ends[place]
        available = is_valid and self._states[place] == _AVAILABLE
        if available == bool(self._available[place]):
            return False
        self._available[place] = available
        self.unavailable_count += -1 if available else 1
        return True


def _within(time_ms: int) -> int:
    """Return a time that fits into eight bytes, however far away it is."""
    return max(-_NEVER, min(_NEVER, time_ms))
