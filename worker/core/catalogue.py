"""The items that a release knows: `item_id` is the public id, `item_index` a row of the release's tables.

The ids stay in the UTF-8 bytes in which they travel. An id becomes a string when it is first asked for. An
index is looked up by the id's hash, among all hashes in order. A million strings and a dictionary of them
would take 160 MiB, more than a fifth of the release's other tables; bytes and hashes take 40.

>>> catalogue = Catalogue(["lamp", "rug"])
>>> catalogue.indexes(["rug", "sofa"]).tolist(), catalogue.ids(np.array([1, 0])).tolist()
([1, -1], ['rug', 'lamp'])
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from worker.core.id_table import IdTable
from worker.core.ranking import NO_ITEM, Indexes

_DECODED: Final = 1 << 16
"""Ids that are decoded, or looked for, at once, when all are."""


class Catalogue:
    """The item ids in the order of a release's tables. Raises ValueError if an id is repeated."""

    def __init__(self, item_ids: Sequence[str]) -> None:
        encoded = [item_id.encode() for item_id in item_ids]
        starts = np.cumsum([0, *map(len, encoded)], dtype=np.int64)
        self._begin(np.frombuffer(b"".join(encoded), np.uint8), starts)

    def __len__(self) -> int:
        return len(self._order)

    @property
    def nbytes(self) -> int:
        """The memory of the catalogue, without the strings that were asked for, in bytes."""
        tables = (self._text, self._starts, self._hashes, self._order, self._ids, self._made)
        return sum(table.nbytes for table in tables)

    def indexes(self, item_ids: Iterable[str]) -> Indexes:
        """Return the `item_index` of each id; `NO_ITEM` for an unknown id."""
        asked = [*item_ids]
        places = np.searchsorted(self._hashes, np.fromiter(map(hash, asked), np.int64, len(asked)))
        return np.fromiter(map(self._index, asked, places.tolist()), np.int32, len(asked))

    def ids(self, indexes: NDArray[np.integer]) -> NDArray[np.object_]:
        """Return the ids at `indexes`, in the same shape; every index must be in range.

        `NO_ITEM` gets some id.
        """
        made = self._made[indexes]
        # Hot path: once every id in the lists of a batch is a string, no more than this is done.
        if not made.all():
            for index in np.unique(indexes[~made] % len(self)).tolist():
                self._ids[index], self._made[index] = self._id(index), True
        return self._ids[indexes]

    def places(self, table: IdTable) -> Indexes:
        """Return the place of each item in `table`; `NOWHERE` for an item that it does not have."""
        hashes = np.empty(len(self), np.int64)
        hashes[self._order] = self._hashes
        places = np.empty(len(self), np.int32)
        for begin in range(0, len(self), _DECODED):
            end = min(begin + _DECODED, len(self))
            starts = self._starts[begin : end + 1]
            text = self._text[starts[0] : starts[-1]]
            places[begin:end] = table.find_all(text, starts - starts[0], hashes[begin:end])
        return places

    def to_tensors(self) -> dict[str, NDArray[np.generic]]:
        """Return two arrays: the concatenated UTF-8 bytes of all ids, and the ids' `N + 1` boundaries."""
        return {"item_ids": self._text, "item_id_starts": self._starts}

    @classmethod
    def from_tensors(cls, item_ids: NDArray[np.uint8], item_id_starts: NDArray[np.int64]) -> Catalogue:
        """Return the catalogue from the arrays of `to_tensors`. Raises ValueError if they are invalid."""
        starts = item_id_starts
        rising = np.all(starts[1:] > starts[:-1])
        if not len(starts) or starts[0] != 0 or starts[-1] != len(item_ids) or not rising:
            raise ValueError("item_id_starts does not divide item_ids into non-empty ids")
        catalogue = cls([])
        catalogue._begin(item_ids.copy(), starts.copy())
        return catalogue

    def _begin(self, text: NDArray[np.uint8], starts: NDArray[np.int64]) -> None:
        self._text, self._starts = text, starts
        count = len(starts) - 1
        self._ids: NDArray[np.object_] = np.empty(count, np.object_)
        self._made = np.zeros(count, np.bool_)
        """Which of the ids are strings already."""
        hashes = np.fromiter(map(hash, self._all()), np.int64, count)
        self._order = np.argsort(hashes, kind="stable").astype(np.int32)
        self._hashes = hashes[self._order]
        """In ascending order; `_order` has the index of each."""
        self._refuse_duplicates()

    def _all(self) -> Iterator[str]:
        """Yield all ids, without keeping them."""
        for begin in range(0, len(self._starts) - 1, _DECODED):
            starts = self._starts[begin : begin + _DECODED + 1].tolist()
            text = self._text[starts[0] : starts[-1]].tobytes()
            for start, end in pairwise(start - starts[0] for start in starts):
                yield text[start:end].decode()

    def _refuse_duplicates(self) -> None:
        same = np.flatnonzero(self._hashes[1:] == self._hashes[:-1])
        # Different ids may have the same hash, though hardly ever.
        alike = np.unique(self._order[np.append(same, same + 1)]).tolist()
        if duplicates := len(alike) - len({self._id(index) for index in alike}):
            raise ValueError(f"{duplicates} duplicate item ids")

    def _id(self, index: int) -> str:
        start, end = self._starts[index : index + 2]
        return self._text[start:end].tobytes().decode()

    def _index(self, item_id: str, place: int) -> int:
        """Return the index of an id, which is at `place` in the order of hashes, or follows soon after."""
        text, asked = item_id.encode(errors="surrogatepass"), hash(item_id)
        while place < len(self._hashes) and self._hashes[place] == asked:
            index = int(self._order[place])
            start, end = self._starts[index : index + 2]
            if self._text[start:end].tobytes() == text:
                return index
            place += 1
        return NO_ITEM
