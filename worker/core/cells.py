"""The recurrent cells: Elman, GRU and LSTM. One step advances a user's state by one click.

Each cell is implemented twice. `step_one` is the definition: the formula as printed in the papers, for one
click. `step` is the implementation in use, for many clicks at once. A Hypothesis law checks that both agree
to 1e-5 (BLAS rounds differently for different batch shapes, so results are not guaranteed to be
bit-identical).

`inputs` is the input half of the step, `W_x x + b`: it depends on the item alone and is computed once per
release. A state is a row of `state_size` numbers: the hidden vector `h`, followed by `c` for an LSTM.
Arithmetic is in single precision. States are stored in half precision, which halves memory use and the state
topic. So a state is rounded after every click: after 60 clicks, rounding has changed states by at most 4e-3
and scores by at most a thousandth of the scale (`tests/laws`), and Recall@20 does not drop (`make
bench-state`).

Tables are stored gate by gate, so that each gate of a batch is contiguous in memory. Keras concatenates the
gates within each row; with that layout, a step of a small batch takes 1.5 times as long.

    >>> by_gate(np.array([[1, 2, 3, 4]], np.float32), 2).tolist()
    [[[1.0, 2.0]], [[3.0, 4.0]]]
    >>> cell, zeros = CELLS["elman"], np.zeros((1, 2), np.float32)
    >>> weights = cell.weights(np.eye(2, dtype=np.float32), np.zeros(2, np.float32))
    >>> cell.step(weights, zeros[None], zeros).tolist()
    [[0.0, 0.0]]
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


class CellWeights(NamedTuple):
    """The weights that a step applies to the state.

    `recurrent`: `[gates, H, H]`. `recurrent_bias`: `[gates, H]` for a GRU, otherwise empty.
    """

    recurrent: Floats
    recurrent_bias: Floats


@dataclass(frozen=True, slots=True)
class Cell(ABC):
    """A recurrent cell: its name in a manifest, its number of gates, and its step."""

    name: ClassVar[str]
    gates: ClassVar[int]
    vectors: ClassVar[int] = 1
    """The number of vectors in a state, each of the hidden size."""

    def state_size(self, hidden_size: int) -> int:
        """Return the number of values in one user's state."""
        return self.vectors * hidden_size

    def bias_shape(self, hidden_size: int) -> tuple[int, ...]:
        """Return the shape of the tensor `bias` in a release."""
        return (self.gates * hidden_size,)

    def input_bias(self, bias: Floats) -> Floats:
        """Return the part of `bias` that belongs to the input half of a step."""
        return bias

    def recurrent_bias(self, bias: Floats) -> Floats:
        """Return the part of `bias` that belongs to the recurrent half of a step; empty for most cells."""
        return bias[:0]

    def weights(self, recurrent_kernel: Floats, bias: Floats) -> CellWeights:
        """Return the weights that a step applies to the state, from two tensors of a release."""
        recurrent_bias = self.recurrent_bias(bias)
        return CellWeights(by_gate(recurrent_kernel, self.gates), by_gate(recurrent_bias, self.gates))

    @abstractmethod
    def step_one(self, weights: CellWeights, item_input: Floats, state: Floats) -> Floats:
        """Return the state `[S]` after one click, whose input half is `item_input` `[gates, H]`.

        This is the reference definition of a step; `step` must give the same result.
        """

    @abstractmethod
    def step(self, weights: CellWeights, inputs: Floats, states: Floats) -> Floats:
        """Return the states `[B, S]` after one click of each user. `inputs`: `[gates, B, H]`."""


class Elman(Cell):
    """The simple recurrent network. Elman, "Finding Structure in Time" (1990).

    `h' = tanh(W_x x + b + W_h h)`
    """

    name = "elman"
    gates = 1

    def step_one(self, weights: CellWeights, item_input: Floats, state: Floats) -> Floats:
        (pre,) = item_input + state @ weights.recurrent
        return np.tanh(pre)

    def step(self, weights: CellWeights, inputs: Floats, states: Floats) -> Floats:
        (pre,) = np.matmul(states, weights.recurrent)
        pre += inputs[0]
        return np.tanh(pre, out=pre)


class GRU(Cell):
    """The gated recurrent unit, Cho et al. (2014), with the reset gate applied after the matrix product.

    This variant (Keras `reset_after=True`, cuDNN) has a bias in both halves::

        z = sigmoid(x_z + W_z h + b_z)          x_. = W_x x + b, gates in the order z, r, h
        r = sigmoid(x_r + W_r h + b_r)
        n = tanh(x_h + r * (W_n h + b_n))
        h' = z * h + (1 - z) * n
    """

    name = "gru"
    gates = 3

    def bias_shape(self, hidden_size: int) -> tuple[int, ...]:
        return (2, self.gates * hidden_size)

    def input_bias(self, bias: Floats) -> Floats:
        return bias[0]

    def recurrent_bias(self, bias: Floats) -> Floats:
        return bias[1]

    def step_one(self, weights: CellWeights, item_input: Floats, state: Floats) -> Floats:
        h = state
        x_z, x_r, x_h = item_input
        h_z, h_r, h_n = h @ weights.recurrent + weights.recurrent_bias
        z = _sigmoid(x_z + h_z)
        r = _sigmoid(x_r + h_r)
        n = np.tanh(x_h + r * h_n)
        return z * h + (1 - z) * n

    def step(self, weights: CellWeights, inputs: Floats, states: Floats) -> Floats:
        # Hot path: once per wave. Working in place, with one sigmoid for both gates, takes half the
        # time of the formula above.
        recurrent = np.matmul(states, weights.recurrent)
        recurrent += weights.recurrent_bias[:, None]
        gates = recurrent[:2]
        gates += inputs[:2]
        _sigmoid_in_place(gates)
        z, r, n = recurrent
        n *= r
        n += inputs[2]
        np.tanh(n, out=n)
        new = states - n
        new *= z
        new += n
        return new


class LSTM(Cell):
    """The long short-term memory, Hochreiter & Schmidhuber (1997), with the forget gate of Gers (2000).

    The gates are in the order of Keras, i, f, g, o. A state is `h` followed by `c`::

        i, f, o = sigmoid(x_. + W_. h),  g = tanh(x_g + W_g h)
        c' = f * c + i * g,  h' = o * tanh(c')
    """

    name = "lstm"
    gates = 4
    vectors = 2

    def step_one(self, weights: CellWeights, item_input: Floats, state: Floats) -> Floats:
        h, c = np.split(state, 2)
        i, f, g, o = item_input + h @ weights.recurrent
        c = _sigmoid(f) * c + _sigmoid(i) * np.tanh(g)
        return np.concatenate([_sigmoid(o) * np.tanh(c), c])

    def step(self, weights: CellWeights, inputs: Floats, states: Floats) -> Floats:
        size = states.shape[1] // 2
        pre = np.matmul(states[:, :size], weights.recurrent)
        pre += inputs
        i, f, g, o = pre
        _sigmoid_in_place(pre[:2])
        _sigmoid_in_place(o)
        np.tanh(g, out=g)
        g *= i
        new = np.empty_like(states)
        h, c = new[:, :size], new[:, size:]
        np.multiply(f, states[:, size:], out=c)
        c += g
        np.tanh(c, out=h)
        h *= o
        return new


CELLS: Final[dict[str, Cell]] = {cell.name: cell for cell in (Elman(), GRU(), LSTM())}
"""The cells by their name in a manifest."""


def by_gate(table: Floats, gates: int) -> Floats:
    """Split a Keras table `[..., gates * H]` by gate; return `[gates, ..., H]`."""
    return np.stack(np.split(table, gates, axis=-1))


def _sigmoid(x: Floats) -> Floats:
    return (1 / (1 + np.exp(-x))).astype(np.float32)


def _sigmoid_in_place(x: Floats) -> None:
    # sigmoid(x) = (1 + tanh(x / 2)) / 2: one transcendental function, and no overflow.
    x *= 0.5
    np.tanh(x, out=x)
    x += 1
    x *= 0.5
