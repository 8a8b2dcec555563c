"""Keras and NumPy give the same numbers: each cell as trained is each cell as served."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.builders import tiny_tensors
from trainer.config import FitSettings
from trainer.dataset.batches import assemble
from trainer.dataset.sessions import Sessions
from trainer.model.backend import keras
from trainer.model.network import Network
from worker.core.cells import CELLS, Floats, by_gate
from worker.core.layers import Layers, names_of_layer

STEPS = 50
ITEMS = 40
SIZE = 24
TOLERANCE = 1e-5
KERAS = {"elman": keras.layers.SimpleRNN, "gru": keras.layers.GRU, "lstm": keras.layers.LSTM}


def network(cell: str) -> Network:
    """A network with weights large enough to matter: with fresh ones 50 steps leave little to compare."""
    keras.utils.set_random_seed(11)
    net = Network(np.ones(ITEMS, np.int64), FitSettings.of(cell=cell, hidden_size=SIZE, dropout=0.0))
    random = np.random.default_rng(7)
    for weight in net.cells[0].weights:
        weight.assign(random.normal(0, SIZE**-0.5, weight.shape))
    return net


def walked(cell: str, net: Network, items: np.ndarray) -> Floats:
    """The state after every click of one session, `[L, S]`, by the worker's batch step."""
    tensors = net.tensors()
    weights = CELLS[cell].weights(tensors["recurrent_kernel"], tensors["bias"])
    inputs = tensors["embedding"] @ tensors["kernel"] + CELLS[cell].input_bias(tensors["bias"])
    inputs = by_gate(inputs, CELLS[cell].gates)
    state = np.zeros((1, CELLS[cell].state_size(SIZE)), np.float32)
    states = []
    for item in items:
        state = CELLS[cell].step(weights, inputs[:, [item]], state)
        states.append(state[0])
    return np.array(states)


@pytest.mark.parametrize("cell", CELLS)
def test_keras_and_numpy_agree_after_fifty_steps(cell: str) -> None:
    """The state (LSTM: h and c) after 50 clicks is the same to 1e-5, and is not trivially zero."""
    net = network(cell)
    items = np.random.default_rng(1).integers(ITEMS, size=STEPS).astype(np.int32)

    keras_state, _ = net.answer(items)
    numpy_state = walked(cell, net, items)[-1]

    assert np.abs(keras_state).max() > 0.1
    np.testing.assert_allclose(numpy_state, keras_state, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("cell", CELLS)
def test_padding_is_never_seen(cell: str) -> None:
    """Sessions of many lengths in one padded batch: every position agrees with the session walked alone.

    Every session begins with an empty state, whatever stood in the row before.
    """
    net = network(cell)
    random = np.random.default_rng(2)
    lengths = np.array([STEPS + 1, 2, 17, 3, 40])
    starts = np.append(0, np.cumsum(lengths))
    items = random.integers(ITEMS, size=starts[-1]).astype(np.int32)
    scored = ~np.isin(np.arange(starts[-1]), starts[:-1])
    sessions = Sessions(items, starts, scored)
    batch = assemble(sessions, np.arange(len(sessions)))

    hidden, _ = net.walk(batch, np.zeros((1, net.state_size), np.float32), 0)
    hidden = hidden.numpy().reshape(-1, SIZE)[batch.places]
    walks = [walked(cell, net, sequence[:-1]) for sequence in sessions]

    np.testing.assert_allclose(hidden, np.concatenate(walks)[:, :SIZE], rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("cell", CELLS)
def test_scores_agree(cell: str) -> None:
    """The worker's `scale * h . o` over unit vectors are Keras' logits."""
    net = network(cell)
    items = np.array([3, 1, 4, 1, 5], np.int32)

    _, keras_scores = net.answer(items)
    hidden = walked(cell, net, items)[-1, :SIZE]
    numpy_scores = net.settings.model.scale * net.tensors()["embedding"] @ (hidden / np.linalg.norm(hidden))

    np.testing.assert_allclose(numpy_scores, keras_scores, rtol=0, atol=1e-4)


@pytest.mark.parametrize("cell", CELLS)
def test_layers_on_top_of_each_other_agree(cell: str) -> None:
    """Three layers, each fed with all that the one below came to: the state, top layer first, to 1e-5."""
    random = np.random.default_rng(5)
    tensors = tiny_tensors(ITEMS, cell=cell, layers=3, hidden_size=SIZE, embedding_size=SIZE, seed=9)
    items = random.integers(ITEMS, size=STEPS)
    sequence: Any = tensors["embedding"][items][None]
    keras_state: list[Floats] = []
    for number in (1, 2, 3):
        recurrent = KERAS[cell](SIZE, return_sequences=True, return_state=True)
        recurrent.build(sequence.shape)
        recurrent.set_weights([tensors[name] for name in names_of_layer(number)])
        sequence, *states = recurrent(sequence)
        keras_state = [state.numpy()[0] for state in states] + keras_state

    layers = Layers.of(CELLS[cell], tensors)
    state = np.zeros((1, 3 * CELLS[cell].state_size(SIZE)), np.float32)
    for item in items:
        state = layers.step(layers.inputs(tensors["embedding"][[item]]), state)

    np.testing.assert_allclose(state[0], np.concatenate(keras_state), rtol=0, atol=TOLERANCE)
