"""Sampling of negatives: items that targets are compared with when the whole catalogue is too large."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from worker.core.cells import Floats
from worker.core.ranking import Indexes


class Negatives:
    """A sampler of `size` negatives per step.

    A share `uniform` of the negatives is drawn uniformly; the rest, in proportion to `counts ** power`.
    `counts` `[N]`: how often each item is a target.

    >>> Negatives(np.array([9, 1, 0]), size=30, power=0.5, uniform=0.0).expected.round().tolist()
    [22.0, 8.0, 0.0]
    """

    def __init__(self, counts: NDArray[np.int64], *, size: int, power: float, uniform: float) -> None:
        self._size = size
        # Since 0 ** 0 is 1, the weight of items that are never a target is set to 0 explicitly.
        weights = np.where(counts > 0, counts.astype(np.float64) ** power, 0.0)
        self._chances = (1 - uniform) * weights / weights.sum() + uniform / len(counts)
        self._ends = np.cumsum(self._chances)

    @property
    def expected(self) -> Floats:
        """`[N]`: the expected number of times that each item is sampled per step."""
        return (self._size * self._chances).astype(np.float32)

    def draw(self, *seed: int) -> Indexes:
        """Return the sampled items of one step, `[size]`; the same `seed` gives the same items."""
        if not self._size:
            return np.zeros(0, np.int32)
        points = np.random.default_rng(seed).random(self._size) * self._ends[-1]
        return np.searchsorted(self._ends, points, side="right").astype(np.int32)
