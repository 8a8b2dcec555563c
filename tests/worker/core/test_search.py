"""The best K of tiles: whatever the order of the scores, and however a tile lies in memory."""

from __future__ import annotations

import numpy as np
import pytest

from worker.core.search import DEPTH, Best, Floats

ITEMS, TILE, ROWS, K = 40 * DEPTH, 4 * DEPTH, 3, 5


def best_of(scores: Floats, *, by_item: bool) -> list[list[int]]:
    """The best of `[ROWS, ITEMS]`, added tile by tile."""
    best = Best(ROWS, K)
    for first in range(0, ITEMS, TILE):
        tile = scores[:, first : first + TILE]
        best.add(np.array(tile, order="F" if by_item else "C"), first)
    return best.ranked()[0].tolist()


@pytest.mark.parametrize("by_item", [False, True])
@pytest.mark.parametrize("name", ["rising", "falling", "random", "equal", "few values"])
def test_the_best_do_not_depend_on_the_order_of_scores(name: str, *, by_item: bool) -> None:
    """Where every tile is better than all before, where none is, and where most scores are equal."""
    rising = np.arange(ITEMS, dtype=np.float32)
    row = {
        "rising": rising,
        "falling": -rising,
        "random": np.random.default_rng(0).permutation(rising),
        "equal": 0 * rising,
        "few values": np.random.default_rng(0).integers(0, 3, ITEMS).astype(np.float32),
    }[name]
    scores = np.stack([row, -row, np.roll(row, 7)])

    found = best_of(scores, by_item=by_item)

    assert found == np.argsort(-scores, axis=1, kind="stable")[:, :K].tolist()
