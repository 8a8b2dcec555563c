"""Stacked recurrent layers, all with the same cell and size: one step per click advances all of them.

The input of the lowest layer is the item; the input of every other layer is the new hidden vector of the
layer below. A state is the concatenation of the layers' states, the top layer first. So a state always starts
with the top layer's hidden vector, which is used for ranking.

As for a cell (`worker.core.cells`), the step is implemented twice: `step_one` is the definition, `step` the
implementation in use. Layers pass vectors in single precision to each other; states are rounded to half
precision once, when they are stored.

    >>> eye = np.eye(1, dtype=np.float32)
    >>> tensors = {"kernel": eye, "recurrent_kernel": eye, "bias": np.zeros(1, np.float32)}
    >>> tensors |= {f"{name}_2": tensor for name, tensor in tensors.items()}
    >>> layers = Layers.of(CELLS["elman"], tensors)
    >>> state = layers.step_one(layers.inputs(eye)[:, 0], np.zeros(2, np.float32))
    >>> [f"{number:.3f}" for number in state]
    ['0.642', '0.762']
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from worker.core.cells import CELLS, Cell, CellWeights, Floats, by_gate  # noqa: F401  # CELLS: the doctest


class Layer(NamedTuple):
    """The tables of one layer. `kernel`: `[gates, D, H]`; `bias` of the input half: `[gates, 1, H]`."""

    kernel: Floats
    bias: Floats
    weights: CellWeights

    def inputs(self, vectors: Floats) -> Floats:
        """Return the input half of a step, `W_x x + b` `[gates, B, H]`, for the input vectors `[B, D]`."""
        return vectors @ self.kernel + self.bias


@dataclass(frozen=True, slots=True)
class Layers:
    """The layers of a network, the lowest first."""

    cell: Cell
    layers: tuple[Layer, ...]

    @classmethod
    def of(cls, cell: Cell, tensors: Mapping[str, Floats]) -> Layers:
        """Return the layers, built from the tensors of a release."""
        return cls(
            cell,
            tuple(
                _layer(cell, *(tensors[name] for name in names_of_layer(number)))
                for number in range(1, count_layers(tensors) + 1)
            ),
        )

    def inputs(self, vectors: Floats) -> Floats:
        """Return the input half `[gates, B, H]` of the lowest layer's step, for the item vectors `[B, D]`."""
        return self.layers[0].inputs(vectors)

    def step_one(self, item_input: Floats, state: Floats) -> Floats:
        """Return the state `[S]` after one click, whose input half is `item_input` `[gates, H]`.

        This is the reference definition of a step; `step` must give the same result.
        """
        size = item_input.shape[1]
        after: list[Floats] = []
        for layer, before in zip(self.layers, np.split(state, len(self.layers))[::-1], strict=True):
            layer_input = layer.inputs(after[0][None, :size])[:, 0] if after else item_input
            after.insert(0, self.cell.step_one(layer.weights, layer_input, before))
        return np.concatenate(after)

    def step(self, inputs: Floats, states: Floats) -> Floats:
        """Return the states `[B, S]` after one click of each user. `inputs`: `[gates, B, H]`."""
        lowest, *above = self.layers
        if not above:
            return self.cell.step(lowest.weights, inputs, states)
        size, width = inputs.shape[2], states.shape[1] // len(self.layers)
        new = np.empty_like(states)
        at = len(above) * width
        new[:, at:] = self.cell.step(lowest.weights, inputs, states[:, at:])
        for layer in above:
            inputs, at = layer.inputs(new[:, at : at + size]), at - width
            new[:, at : at + width] = self.cell.step(layer.weights, inputs, states[:, at : at + width])
        return new


def names_of_layer(number: int) -> tuple[str, str, str]:
    """Return the names of kernel, recurrent kernel and bias of a layer; `number` 1 is the lowest layer."""
    suffix = "" if number == 1 else f"_{number}"
    return f"kernel{suffix}", f"recurrent_kernel{suffix}", f"bias{suffix}"


def count_layers(tensors: Mapping[str, Floats]) -> int:
    """Return the number of layers in `tensors`."""
    return sum(name.startswith("recurrent_kernel") for name in tensors)


def _layer(cell: Cell, kernel: Floats, recurrent_kernel: Floats, bias: Floats) -> Layer:
    return Layer(
        by_gate(kernel, cell.gates),
        by_gate(cell.input_bias(bias), cell.gates)[:, None],
        cell.weights(recurrent_kernel, bias),
    )
