"""Item codes: small integers by which the user states refer to items, independent of any release.

>>> codes = ItemCodes()
>>> indexes = ItemIndexes(Catalogue(["rug", "lamp"]), codes)
>>> clicked = codes.codes(["lamp", "sofa"])
>>> clicked.tolist(), codes.ids(clicked), indexes(clicked).tolist()
([0, 1], ['lamp', 'sofa'], [1, -1])
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from worker.core.catalogue import Catalogue
from worker.core.ranking import NO_ITEM, Indexes

COLLECT_FROM: Final = 1 << 17
"""Minimum number of items for a garbage collection of codes; fewer items take at most 25 MB."""

_SWEPT: Final = 1 << 13
"""The number of codes that one sweep checks (3 ms)."""

_NOT_ASKED: Final = NO_ITEM - 1
"""In a map from codes to indexes: the code has not been looked up."""


class ItemCodes:
    """Integer codes for item ids. Unlike an `item_index`, a code stays valid across releases.

    Unused codes are garbage-collected in small steps while new codes are assigned: call `begin_collection`,
    `keep` all codes in use, and `sweep` until `collecting` is False. Codes that are requested during a
    collection are kept, too (the write barrier of an incremental collector; Dijkstra et al. 1978).
    """

    def __init__(self) -> None:
        self._codes: dict[str, int] = {}
        self._ids: list[str] = []
        """By code: the item id; empty if the code was freed."""
        self._free: list[int] = []
        self._given: list[int] = []
        """The codes assigned since the last collection, in order."""
        self._given_before = 0
        self._collect_at = COLLECT_FROM
        self._kept: NDArray[np.bool_] | None = None
        """By code, during a collection: whether the code is in use. The last position stands for `NO_ITEM`
        and for codes assigned since the collection began.
        """
        self._swept = 0
        self.roots: list[Indexes] = []
        """Arrays outside the user states whose item codes a collection must keep, too."""
        self.collections = 0
        """The number of collections started."""

    def __len__(self) -> int:
        return len(self._codes)

    def codes(self, item_ids: Sequence[str]) -> Indexes:
        """Return the code of each id; new ids get new codes."""
        try:
            found = np.fromiter(map(self._codes.__getitem__, item_ids), np.int32, len(item_ids))
        except KeyError:
            found = np.fromiter(map(self._code, item_ids), np.int32, len(item_ids))
        if self._kept is not None:
            self.keep(found)
        return found

    def ids(self, codes: Indexes) -> list[str]:
        """Return the id of each code."""
        return [*map(self._ids.__getitem__, codes.tolist())]

    @property
    def end(self) -> int:
        """One more than the highest code."""
        return len(self._ids)

    @property
    def given(self) -> int:
        """The total number of codes assigned."""
        return self._given_before + len(self._given)

    def given_since(self, given: int) -> Indexes:
        """Return all codes assigned after the first `given` assignments, and possibly earlier codes."""
        if given < self._given_before:
            return np.arange(self.end, dtype=np.int32)
        return np.array(self._given[given - self._given_before :], np.int32)

    @property
    def collecting(self) -> bool:
        """Whether a collection is under way."""
        return self._kept is not None

    def begin_collection(self) -> bool:
        """Start a collection if the codes have doubled since the last collection.

        Return whether a collection was started.
        """
        if self.collecting or len(self) < self._collect_at:
            return False
        self._kept = np.zeros(self.end + 1, np.bool_)
        self._swept = 0
        self.collections += 1
        return True

    def keep(self, codes: Indexes) -> None:
        """Mark `codes` as in use."""
        assert self._kept is not None  # noqa: S101  # checked by the caller
        self._kept[np.minimum(codes, len(self._kept) - 1)] = True

    def sweep(self) -> None:
        """Free some of the unused codes; the last call ends the collection."""
        assert self._kept is not None  # noqa: S101  # checked by the caller
        part = self._kept[self._swept : min(self._swept + _SWEPT, len(self._kept) - 1)]
        for code in (np.flatnonzero(~part) + self._swept).tolist():
            if self._codes.get(self._ids[code]) == code:
                del self._codes[self._ids[code]]
                self._ids[code] = ""
                self._free.append(code)
        self._swept += len(part)
        if self._swept == len(self._kept) - 1:
            self._kept, self._collect_at = None, max(COLLECT_FROM, 2 * len(self))
            self._given_before, self._given = self.given, []

    def _code(self, item_id: str) -> int:
        code = self._codes.get(item_id)
        if code is None:
            code = self._free.pop() if self._free else len(self._ids)
            self._ids[code : code + 1] = [item_id]
            self._codes[item_id] = code
            self._given.append(code)
        return code


class ItemIndexes:
    """A map from item codes to the `item_index` of one catalogue; each code is looked up on first use.

    A worker that adopts a release may know a million codes. To look them all up would take a second.
    """

    def __init__(self, catalogue: Catalogue, item_codes: ItemCodes) -> None:
        self._catalogue = catalogue
        self._codes = item_codes
        self._given = 0
        """The number of assigned codes that this map has heard of."""
        self._indexes = np.array([NO_ITEM], np.int32)
        """By code: the `item_index`, with spare capacity at the end. The code `NO_ITEM` indexes the last
        position, which holds `NO_ITEM`.
        """

    def __call__(self, codes: Indexes) -> Indexes:
        """Return the `item_index` of each code; `NO_ITEM` for unknown items and for the code `NO_ITEM`."""
        if self._given != self._codes.given:
            self._learn()
        found = self._indexes[codes]
        new = found == _NOT_ASKED
        if new.any():
            asked = np.unique(codes[new])
            self._indexes[asked] = self._catalogue.indexes(self._codes.ids(asked))
            found = self._indexes[codes]
        return found

    def _learn(self) -> None:
        codes, known = self._codes, self._indexes
        if codes.end >= len(known):
            self._indexes = np.full(2 * codes.end + 1, NO_ITEM, np.int32)
            self._indexes[: len(known)] = known
        # An earlier code may have been freed, and stand for another item now.
        self._indexes[codes.given_since(self._given)] = _NOT_ASKED
        self._given = codes.given


class CatalogueCodes:
    """A map from the `item_index` of one catalogue to item codes, which are assigned on first use."""

    def __init__(self, catalogue: Catalogue, item_codes: ItemCodes) -> None:
        self._catalogue = catalogue
        self._item_codes = item_codes
        self._collections = item_codes.collections
        self._codes = np.full(len(catalogue) + 1, NO_ITEM, np.int32)
        """By `item_index`: the item code. The index `NO_ITEM` addresses the last position, which holds
        `NO_ITEM`.
        """

    def __call__(self, indexes: Indexes) -> Indexes:
        """Return the code of each item; `NO_ITEM` stays `NO_ITEM`."""
        if self._collections != self._item_codes.collections:
            # A collection may have freed some codes, so all codes must be requested again.
            self._collections, self._codes[:] = self._item_codes.collections, NO_ITEM
        found = self._codes[indexes]
        new = (found == NO_ITEM) & (indexes != NO_ITEM)
        if new.any():
            asked = indexes[new]
            found[new] = self._codes[asked] = self._item_codes.codes(self._catalogue.ids(asked).tolist())
        return found
