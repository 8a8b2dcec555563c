"""One step of each cell, against its formula written out number by number."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest

from tests.builders import tiny_tensors
from worker.core.cells import CELLS, CellWeights, Floats

SIZE = 3
Numbers = list[float]


def sigmoid(x: float) -> float:
    """The logistic function."""
    return 1 / (1 + math.exp(-x))


def row_times_matrix(row: Sequence[float], matrix: Floats) -> Numbers:
    """The product, as sums of products."""
    return [sum(row[i] * float(matrix[i, j]) for i in range(len(row))) for j in range(matrix.shape[1])]


def elman(x: Numbers, recurrent: Floats, _bias: Numbers, state: Numbers) -> Numbers:
    """Elman's network; it has no recurrent bias."""
    return [math.tanh(a + b) for a, b in zip(x, row_times_matrix(state, recurrent), strict=True)]


def gru(x: Numbers, recurrent: Floats, bias: Numbers, state: Numbers) -> Numbers:
    """The GRU with the reset gate after the product."""
    h = [a + b for a, b in zip(row_times_matrix(state, recurrent), bias, strict=True)]
    new = []
    for i in range(SIZE):
        z = sigmoid(x[i] + h[i])
        r = sigmoid(x[SIZE + i] + h[SIZE + i])
        n = math.tanh(x[2 * SIZE + i] + r * h[2 * SIZE + i])
        new.append(z * state[i] + (1 - z) * n)
    return new


def lstm(x: Numbers, recurrent: Floats, _bias: Numbers, state: Numbers) -> Numbers:
    """The LSTM with a forget gate; it has no recurrent bias."""
    pre = [a + b for a, b in zip(x, row_times_matrix(state[:SIZE], recurrent), strict=True)]
    h, c = [], []
    for j in range(SIZE):
        i, f, g, o = (pre[gate * SIZE + j] for gate in range(4))
        c.append(sigmoid(f) * state[SIZE + j] + sigmoid(i) * math.tanh(g))
        h.append(sigmoid(o) * math.tanh(c[j]))
    return h + c


Formula = Callable[[Numbers, Floats, Numbers, Numbers], Numbers]
FORMULAS: dict[str, Formula] = {"elman": elman, "gru": gru, "lstm": lstm}


def arguments(
    name: str, *, rows: int = 1, seed: int = 0, spread: float = 1.0
) -> tuple[CellWeights, Floats, Floats]:
    """Weights, inputs and states of a cell, drawn by `seed`."""
    cell, random = CELLS[name], np.random.default_rng(seed)
    tensors = tiny_tensors(1, cell=name, hidden_size=SIZE, embedding_size=SIZE, seed=seed)
    weights = cell.weights(tensors["recurrent_kernel"], tensors["bias"])
    inputs = (spread * random.standard_normal((cell.gates, rows, SIZE))).astype(np.float32)
    return weights, inputs, random.standard_normal((rows, cell.state_size(SIZE))).astype(np.float32)


def test_every_cell_is_here() -> None:
    """The names are those of a manifest."""
    assert CELLS.keys() == FORMULAS.keys()
    assert all(cell.name == name for name, cell in CELLS.items())


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("seed", range(5))
def test_a_step_is_the_formula(name: str, seed: int) -> None:
    """Both forms of the step, to single precision."""
    weights, inputs, states = arguments(name, seed=seed)
    kernel = np.concatenate(weights.recurrent, axis=1)
    bias = weights.recurrent_bias.ravel().tolist()

    expected = FORMULAS[name](inputs[:, 0].ravel().tolist(), kernel, bias, states[0].tolist())

    assert CELLS[name].step_one(weights, inputs[:, 0], states[0]).tolist() == pytest.approx(
        expected, abs=1e-5
    )
    assert CELLS[name].step(weights, inputs, states)[0].tolist() == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("name", CELLS)
def test_a_step_leaves_its_arguments_alone(name: str) -> None:
    """It works in place, but in memory of its own: inputs are a release's, states a batch's."""
    given = arguments(name, rows=4)
    before = [array.copy() for array in (*given[0], *given[1:])]

    CELLS[name].step(*given)

    after = [*given[0], *given[1:]]
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("rows", [0, 1, 5])
def test_a_step_keeps_shape_and_single_precision(name: str, rows: int) -> None:
    """No rows are rows, too."""
    weights, inputs, states = arguments(name, rows=rows)

    found = CELLS[name].step(weights, inputs, states)

    assert (found.shape, found.dtype) == (states.shape, np.dtype(np.float32))


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("spread", [1e3, 1e30])
def test_saturated_gates_stay_finite(name: str, spread: float) -> None:
    """Inputs of any size move the state within its bounds, and nothing overflows on the way."""
    weights, inputs, states = arguments(name, rows=50, spread=spread)

    found = CELLS[name].step(weights, inputs, states)

    assert np.isfinite(found).all()
    assert np.abs(found).max() <= np.abs(states).max() + 1


@pytest.mark.parametrize("name", CELLS)
def test_the_two_halves_of_the_bias_are_the_bias(name: str) -> None:
    """Only the GRU has a recurrent half; the shape is that of Keras' tensor."""
    cell = CELLS[name]
    bias = np.arange(np.prod(cell.bias_shape(SIZE)), dtype=np.float32).reshape(cell.bias_shape(SIZE))
    recurrent = cell.recurrent_bias(bias)

    assert cell.input_bias(bias).shape == (cell.gates * SIZE,)
    assert recurrent.shape == ((cell.gates * SIZE,) if name == "gru" else (0,))
    assert np.array_equal(np.concatenate([cell.input_bias(bias), recurrent]), bias.ravel())
