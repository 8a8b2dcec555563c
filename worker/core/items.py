"""Items as the user states name them: by small numbers that no release can change.

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
"""With fewer items than this nothing is collected: they are 25 MB."""

_SWEPT: Final = 1 << 13
"""Codes at a time that are taken back: 3 ms."""


class ItemCodes:
    """Integer codes for item ids. Unlike an `item_index`, a code outlives every release.

    Unused codes are collected in small steps, while others are given: begin, `keep` the codes in use, and
    `sweep` until `collecting` ends. Codes asked for meanwhile are kept, too (the write barrier of an
    incremental collector; Dijkstra et al. 1978).
    """

    def __init__(self) -> None:
        self._codes: dict[str, int] = {}
        self._ids: list[str] = []
        """By code; empty if it was taken back."""
        self._free: list[int] = []
        self._given: list[int] = []
        """The codes given since the last collection, in that order."""
        self._given_before = 0
        self._collect_at = COLLECT_FROM
        self._kept: NDArray[np.bool_] | None = None
        """By code, while collecting; the last place is for all codes given since it began, and for none."""
        self._swept = 0
        self.roots: list[Indexes] = []
        """Arrays of codes outside the user states that name items."""
        self.collections = 0
        """The number of collections that began."""

    def __len__(self) -> int:
        return len(self._codes)

    def codes(self, item_ids: Sequence[str]) -> Indexes:
        """Return the code of each id; an id without one gets a new one."""
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
        """The end of the range of codes: each is lower."""
        return len(self._ids)

    @property
    def given(self) -> int:
        """The number of codes given in total."""
        return self._given_before + len(self._given)

    def given_since(self, given: int) -> Indexes:
        """Return at least all codes given after the first `given` ones."""
        if given < self._given_before:
            return np.arange(self.end, dtype=np.int32)
        return np.array(self._given[given - self._given_before :], np.int32)

    @property
    def collecting(self) -> bool:
        """Whether a collection is under way."""
        return self._kept is not None

    def begin_collection(self) -> bool:
        """Begin to collect if there are twice as many codes as were left last time; return whether it did."""
        if self.collecting or len(self) < self._collect_at:
            return False
        self._kept = np.zeros(self.end + 1, np.bool_)
        self._swept = 0
        self.collections += 1
        return True

    def keep(self, codes: Indexes) -> None:
        """Note that `codes` are named somewhere."""
        assert self._kept is not None  # noqa: S101  # the caller knows
        self._kept[np.minimum(codes, len(self._kept) - 1)] = True

    def sweep(self) -> None:
        """Take back some of the unused codes; the last of them ends the collection."""
        assert self._kept is not None  # noqa: S101  # ditto
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
    """From item codes to one catalogue's `item_index`; codes that were given since are looked up once."""

    def __init__(self, catalogue: Catalogue, item_codes: ItemCodes) -> None:
        self._catalogue = catalogue
        self._codes = item_codes
        self._given = 0
        """The number of given codes that are known here."""
        self._indexes = np.array([NO_ITEM], np.int32)
        """By code, with room for more; at the end, where the code `NO_ITEM` looks, `NO_ITEM`."""

    def __call__(self, codes: Indexes) -> Indexes:
        """Return the `item_index` of each code, `NO_ITEM` if the catalogue lacks it or there is none."""
        if self._given != self._codes.given:
            self._learn()
        return self._indexes[codes]

    def _learn(self) -> None:
        codes, known = self._codes, self._indexes
        if codes.end >= len(known):
            self._indexes = np.full(2 * codes.end + 1, NO_ITEM, np.int32)
            self._indexes[: len(known)] = known
        new = codes.given_since(self._given)
        self._indexes[new] = self._catalogue.indexes(codes.ids(new))
        self._given = codes.given


class CatalogueCodes:
    """From one catalogue's `item_index` to item codes, each of which is asked for when it is first needed."""

    def __init__(self, catalogue: Catalogue, item_codes: ItemCodes) -> None:
        self._catalogue = catalogue
        self._item_codes = item_codes
        self._collections = item_codes.collections
        self._codes = np.full(len(catalogue) + 1, NO_ITEM, np.int32)
        """By index; the last place is where the index `NO_ITEM` looks."""

    def __call__(self, indexes: Indexes) -> Indexes:
        """Return the code of each item; `NO_ITEM` stays `NO_ITEM`."""
        if self._collections != self._item_codes.collections:
            # A collection takes unused codes back: from here on each must be asked for again.
            self._collections, self._codes[:] = self._item_codes.collections, NO_ITEM
        found = self._codes[indexes]
        new = (found == NO_ITEM) & (indexes != NO_ITEM)
        if new.any():
            asked = indexes[new]
            found[new] = self._codes[asked] = self._item_codes.codes(self._catalogue.ids(asked).tolist())
        return found
