"""Laws of layers: the batch form is the one-click form, and layers are cells fed by cells."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders import state_size, tiny_tensors
from tests.examples import examples
from worker.core.cells import CELLS, Floats, by_gate
from worker.core.layers import Layers


def drawn(name: str, number: int, rows: int, hidden_size: int, seed: int) -> tuple[Layers, Floats, Floats]:
    """So many layers of a cell, and inputs and states for them; some states zero."""
    random = np.random.default_rng(seed)
    tensors = tiny_tensors(1, cell=name, layers=number, hidden_size=hidden_size, seed=seed)
    inputs = 2 * random.standard_normal((CELLS[name].gates, rows, hidden_size))
    states = random.uniform(-1, 1, (rows, state_size(tensors, name)))
    states[random.random(rows) < 0.2] = 0
    return Layers.of(CELLS[name], tensors), inputs.astype(np.float32), states.astype(np.float32)


@pytest.mark.parametrize("name", CELLS)
@given(
    number=st.integers(1, 4),
    rows=st.integers(1, 70),
    hidden_size=st.integers(1, 40),
    seed=st.integers(0, 2**32 - 1),
)
@examples(0.6)
def test_a_batch_is_its_rows_one_by_one(
    name: str, number: int, rows: int, hidden_size: int, seed: int
) -> None:
    """`step` equals `step_one` of every row to 1e-5, whatever the batch is made of; the states stay."""
    layers, inputs, states = drawn(name, number, rows, hidden_size, seed)
    kept = states.copy()
    one_by_one = [layers.step_one(inputs[:, row], states[row]) for row in range(rows)]

    together = layers.step(inputs, states)

    np.testing.assert_allclose(together, one_by_one, rtol=0, atol=1e-5)
    assert np.array_equal(states, kept)


@pytest.mark.parametrize("name", CELLS)
def test_the_upper_of_two_layers_is_a_cell_fed_with_the_hidden_vector_of_the_lower(name: str) -> None:
    """Both stand in the state, the upper one first; of an LSTM `c` goes nowhere but into its own layer."""
    cell, size = CELLS[name], 8
    tensors = tiny_tensors(1, cell=name, layers=2, hidden_size=size, seed=3)
    layers, inputs, states = drawn(name, 2, 1, size, 3)
    upper, lower = np.split(states[0], 2)

    lower = cell.step_one(cell.weights(tensors["recurrent_kernel"], tensors["bias"]), inputs[:, 0], lower)
    fed = lower[:size] @ tensors["kernel_2"] + cell.input_bias(tensors["bias_2"])
    weights = cell.weights(tensors["recurrent_kernel_2"], tensors["bias_2"])
    upper = cell.step_one(weights, by_gate(fed, cell.gates), upper)

    expected = np.concatenate([upper, lower])
    np.testing.assert_allclose(layers.step(inputs, states)[0], expected, rtol=0, atol=1e-5)
