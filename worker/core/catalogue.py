"""The items that a release knows: `item_id` is the public id, `item_index` a row of the release's tables.

>>> catalogue = Catalogue(["lamp", "rug"])
>>> catalogue.indexes(["rug", "sofa"]).tolist(), catalogue.ids(np.array([1, 0])).tolist()
([1, -1], ['rug', 'lamp'])
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from worker.core.ranking import NO_ITEM, Indexes


class Catalogue:
    """The item ids in the order of a release's tables. Raises ValueError if an id is repeated."""

    def __init__(self, item_ids: Sequence[str]) -> None:
        self._index = {item_id: index for index, item_id in enumerate(item_ids)}
        if len(self._index) != len(item_ids):
            raise ValueError(f"{len(item_ids) - len(self._index)} duplicate item ids")
        self._ids = np.array(item_ids, dtype=object)

    def __len__(self) -> int:
        return len(self._ids)

    def indexes(self, item_ids: Iterable[str]) -> Indexes:
        """Return the `item_index` of each id; `NO_ITEM` for an unknown id."""
        index = self._index
        return np.array([index.get(item_id, NO_ITEM) for item_id in item_ids], dtype=np.int32)

    def ids(self, indexes: NDArray[np.integer]) -> NDArray[np.object_]:
        """Return the ids at `indexes`, in the same shape; every index must be in range."""
        return self._ids[indexes]

    def to_tensors(self) -> dict[str, NDArray[np.generic]]:
        """Return two arrays: the concatenated UTF-8 bytes of all ids, and the ids' `N + 1` boundaries."""
        encoded = [item_id.encode() for item_id in self._ids]
        starts = np.cumsum([0, *(len(one) for one in encoded)], dtype=np.int64)
        return {"item_ids": np.frombuffer(b"".join(encoded), np.uint8), "item_id_starts": starts}

    @classmethod
    def from_tensors(cls, item_ids: NDArray[np.uint8], item_id_starts: NDArray[np.int64]) -> Catalogue:
        """Return the catalogue from the arrays of `to_tensors`. Raises ValueError if they are invalid."""
        starts = item_id_starts.tolist()
        rising = np.all(item_id_starts[1:] > item_id_starts[:-1])
        if not starts or starts[0] != 0 or starts[-1] != len(item_ids) or not rising:
            raise ValueError("item_id_starts does not divide item_ids into non-empty ids")
        text = item_ids.tobytes()
        return cls([text[start:end].decode() for start, end in pairwise(starts)])
