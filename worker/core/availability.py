"""The availability of a release's items: unavailable items are in no list, and cost nothing per click.

A change costs once: the table that ranks gets -inf in the item's bias, and the fallback list is filled with
the next popular items. The availability belongs to the release in service, so it ends with it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from worker.core.ranking import NO_ITEM, Indexes
from worker.core.release import Release


class Availability:
    """The availability of the items of one release. At first, all are available. Not thread-safe."""

    def __init__(self, release: Release) -> None:
        self._release = release
        self._available = np.ones(release.items, np.bool_)
        self._popular = release.popular

    @property
    def unavailable(self) -> int:
        """The number of items of the catalogue that are unavailable."""
        return len(self._available) - int(np.count_nonzero(self._available))

    def set(self, item_ids: Sequence[str], available: NDArray[np.bool_]) -> None:
        """Make some different items available or not. Items that the release does not know are left out."""
        indexes = self._release.catalogue.indexes(item_ids)
        known = indexes != NO_ITEM
        self._set(indexes[known], available[known])

    def only_without(self, item_ids: Sequence[str]) -> None:
        """Make all items available but these."""
        indexes = self._release.catalogue.indexes(item_ids)
        available = np.ones(len(self._available), np.bool_)
        available[indexes[indexes != NO_ITEM]] = False
        changed = np.flatnonzero(available != self._available).astype(np.int32)
        self._set(changed, available[changed])

    def available(self, indexes: Indexes) -> NDArray[np.bool_]:
        """Return a mask of the items that are available."""
        return self._available[indexes]

    def popular(self, excluded: Indexes, top: int) -> Indexes:
        """Return the `top` most popular items that are available and not among `excluded`, best first."""
        return self._popular[~np.isin(self._popular, excluded)][:top]

    def _set(self, indexes: Indexes, available: NDArray[np.bool_]) -> None:
        if not len(indexes):
            return
        self._available[indexes] = available
        self._release.set_available(indexes, available)
        popular = self._release.popular
        self._popular = popular[self._available[popular]]
