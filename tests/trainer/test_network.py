from __future__ import annotations

import numpy as np
import pytest

from tests.trainer.builders import sessions_of
from trainer.backend import keras, tf
from trainer.batches import assemble
from trainer.config import FitSettings
from trainer.network import Network
from worker.core.cells import CELLS

SETTINGS = FitSettings(hidden_size=6, dropout=0.0)


def test_padding_and_company_change_no_loss() -> None:
    """The loss of a batch is the mean over its predictions as if every session stood alone."""
    network = Network(9, SETTINGS)
    sessions = sessions_of([1, 2, 3, 4], [5, 6], [7, 8, 0])

    together = float(network.loss_of(*map(tf.constant, assemble(sessions, np.arange(3)))))
    alone = [
        float(network.loss_of(*map(tf.constant, assemble(sessions, np.array([one]))))) for one in range(3)
    ]

    assert together == pytest.approx(np.average(alone, weights=[3, 1, 2]), rel=1e-5)


def test_dropout_is_on_in_training_and_off_in_answers() -> None:
    """Two losses of the same batch differ, two answers do not."""
    network = Network(9, FitSettings(hidden_size=6, dropout=0.5))
    batch = [tf.constant(one) for one in assemble(sessions_of([1, 2, 3]), np.array([0]))]
    items = np.array([1, 2], np.int32)

    assert float(network.loss_of(*batch)) != float(network.loss_of(*batch))
    np.testing.assert_array_equal(network.answer(items)[1], network.answer(items)[1])


@pytest.mark.parametrize("cell", CELLS)
def test_the_tensors_have_the_shapes_of_a_release(cell: str) -> None:
    """What a release of each cell needs, with unit item vectors."""
    tensors = Network(9, FitSettings(cell=cell, hidden_size=6)).tensors()

    width = CELLS[cell].gates * 6
    assert tensors["kernel"].shape == tensors["recurrent_kernel"].shape == (6, width)
    assert tensors["bias"].shape == CELLS[cell].bias_shape(6)
    np.testing.assert_allclose(np.linalg.norm(tensors["embedding"], axis=1), np.ones(9), rtol=1e-5)


def test_a_seed_gives_the_same_weights() -> None:
    """Fresh weights come from Keras' global seed alone."""
    drawn = []
    for _ in range(2):
        keras.utils.set_random_seed(3)
        drawn.append(Network(9, SETTINGS).tensors())

    for name, tensor in drawn[0].items():
        np.testing.assert_array_equal(tensor, drawn[1][name])
