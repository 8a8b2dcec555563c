"""Laws of the cells: the batch form is the one-event form, for each row."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders import tiny_tensors
from tests.examples import examples
from worker.core.cells import CELLS, CellWeights, Floats


def drawn(name: str, rows: int, hidden_size: int, seed: int) -> tuple[CellWeights, Floats, Floats]:
    """Weights, inputs and states of a cell; some rows equal, some zero."""
    cell, random = CELLS[name], np.random.default_rng(seed)
    tensors = tiny_tensors(1, cell=name, hidden_size=hidden_size, embedding_size=1, seed=seed)
    weights = cell.weights(tensors["recurrent_kernel"], tensors["bias"])
    inputs = 2 * random.standard_normal((cell.gates, rows, hidden_size))
    states = random.uniform(-1, 1, (rows, cell.state_size(hidden_size)))
    states[random.random(rows) < 0.2] = 0
    repeated = random.integers(rows, size=rows)
    return weights, inputs[:, repeated].astype(np.float32), states[repeated].astype(np.float32)


@pytest.mark.parametrize("name", CELLS)
@given(rows=st.integers(1, 70), hidden_size=st.integers(1, 40), seed=st.integers(0, 2**32 - 1))
@examples(0.6)
def test_a_batch_is_its_rows_one_by_one(name: str, rows: int, hidden_size: int, seed: int) -> None:
    """`step` equals `step_one` of every row to 1e-5, whatever the batch is made of."""
    weights, inputs, states = drawn(name, rows, hidden_size, seed)
    one_by_one = [CELLS[name].step_one(weights, inputs[:, row], states[row]) for row in range(rows)]

    together = CELLS[name].step(weights, inputs, states)

    np.testing.assert_allclose(together, one_by_one, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", CELLS)
@given(data=st.data(), rows=st.integers(1, 40), seed=st.integers(0, 2**32 - 1))
@examples(0.3)
def test_a_row_does_not_depend_on_its_company(name: str, data: st.DataObject, rows: int, seed: int) -> None:
    """Any rows taken out, in any order, step to 1e-5 as they did among the others."""
    weights, inputs, states = drawn(name, rows, 16, seed)
    taken = data.draw(st.lists(st.integers(0, rows - 1), min_size=1, max_size=50))

    together = CELLS[name].step(weights, inputs, states)
    apart = CELLS[name].step(weights, inputs[:, taken], states[taken])

    np.testing.assert_allclose(apart, together[taken], rtol=0, atol=1e-5)
