"""Law of the rounding: states kept in half precision rank as states in single precision would."""

from __future__ import annotations

from typing import Final

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders import item_names, tiny_release
from tests.examples import examples
from worker.core.cells import CELLS
from worker.core.ranking import NO_ITEM

ITEMS: Final = 300
USERS: Final = 8
CLICKS: Final = 60
SCALE: Final = 16.0

STATE_BOUND: Final = 4e-3
"""About eight roundings of numbers near 1; 0.0012 was seen."""
SCORE_BOUND: Final = SCALE / 1000
"""A thousandth of the largest score; an eighth of that was seen."""


@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize("cell", CELLS)
@given(seed=st.integers(0, 2**32 - 1))
@examples(0.1)
def test_rounding_the_stored_states_hardly_moves_a_list(cell: str, layers: int, seed: int) -> None:
    """After 60 clicks the states differ by no more than 0.004: the error of a step fades, it does not grow.

    Where the two lists differ at a place, the items that stand there have exact scores that differ by no
    more than a thousandth of the scale.
    """
    release = tiny_release(
        item_names(ITEMS), cell=cell, layers=layers, hidden_size=32, scale=SCALE, seed=seed
    )
    clicked = np.random.default_rng(seed).integers(ITEMS, size=(CLICKS, USERS))
    exact = stored = np.zeros((USERS, release.state_size), np.float32)
    for inputs in map(release.inputs, clicked):
        exact = release.step(inputs, exact)
        stored = release.step(inputs, stored).astype(np.float16).astype(np.float32)

    best, found = release.rank(exact, ITEMS), release.rank(stored, 20)

    exact_scores = np.full((USERS, ITEMS), np.nan, np.float32)
    np.put_along_axis(exact_scores, best.indexes, best.scores, axis=1)
    of_found = np.take_along_axis(exact_scores, found.indexes, axis=1)
    assert NO_ITEM not in found.indexes
    assert np.abs(stored - exact).max() <= STATE_BOUND
    assert np.abs(of_found - best.scores[:, :20]).max() <= SCORE_BOUND
