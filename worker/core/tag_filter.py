"""Filters of items by tags: the items of one catalogue that a request allows.

A filter is computed when it is first used, and again after the tags of an item changed. With a million tags
in use, that takes a few milliseconds.

>>> known = KnownItems()
>>> _ = known.put([("lamp", Item(tags=("light",))), ("rug", Item(tags=("floor", "new")))], now_ms=0)
>>> filters = TagFilter(Catalogue(["rug", "sofa", "lamp"]))
>>> filters.items(known, only=("light", "floor")).tolist(), filters.items(known, without=("new",)).tolist()
([0, 2], [1, 2])
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import numpy as np

from worker.core.catalogue import Catalogue
from worker.core.known_items import Item, KnownItems  # noqa: F401  # Item: for the doctest
from worker.core.ranking import NO_ITEM, Indexes

Tags = tuple[str, ...]

_KEPT: Final = 64
"""Maximum number of filters that are kept; the ones that were not used for the longest time go first."""

_KEPT_BYTES: Final = 32 << 20
"""Maximum size of the filters that are kept. One may take 4 bytes for each item of the catalogue."""


class TagFilter:
    """The filters of one catalogue, of which `kept_bytes` are kept. Not thread-safe."""

    def __init__(self, catalogue: Catalogue, *, kept_bytes: int = _KEPT_BYTES) -> None:
        self._catalogue = catalogue
        self._kept_bytes = kept_bytes
        self._changes = -1
        self._kept: dict[tuple[Tags, Tags], Indexes] = {}
        """The one used last is the last."""

    def items(self, known: KnownItems, only: Tags = (), without: Tags = ()) -> Indexes:
        """Return the indexes of the items with one of the tags `only` and none of `without`, ascending.

        Empty tags filter nothing. Items without a description have no tags.
        """
        if self._changes != known.tag_changes:
            self._changes, self._kept = known.tag_changes, {}
        key = only, without
        found = self._kept.pop(key, None)
        if found is None:
            allowed = np.zeros(len(self._catalogue), np.bool_)
            allowed[self._tagged(known, only) if only else slice(None)] = True
            allowed[self._tagged(known, without)] = False
            found = np.flatnonzero(allowed).astype(np.int32)
        self._kept[key] = found
        while len(self._kept) > _KEPT or self.nbytes > self._kept_bytes:
            del self._kept[next(iter(self._kept))]
        return found

    @property
    def nbytes(self) -> int:
        """The size of the filters that are kept, in bytes."""
        return sum(one.nbytes for one in self._kept.values())

    def _tagged(self, known: KnownItems, tags: Iterable[str]) -> Indexes:
        found = self._catalogue.indexes(item_id for tag in tags for item_id in known.tagged(tag))
        return found[found != NO_ITEM]
