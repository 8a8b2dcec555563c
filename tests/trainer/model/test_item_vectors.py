from __future__ import annotations

import numpy as np

from trainer.dataset.features import Categorical, Features
from trainer.model.backend import tf
from trainer.model.item_vectors import ItemVectors

FEATURES = Features(
    categorical=(
        Categorical("kind", ("a", "b"), np.array([0, 1, 0, 1], np.int32), np.array([0, 1, 3, 3, 4])),
    ),
    numeric=np.array([[0.5], [0.0], [-1.0], [2.0]], np.float32),
    numeric_names=("price",),
)


def test_an_item_is_its_own_row_and_what_is_known_of_it() -> None:
    """Own + the mean of its values' vectors + numbers times a matrix; what was never clicked has no own."""
    vectors = ItemVectors(3, 2, unit=False, features=FEATURES)
    own, kind, (price,) = (weight.numpy() for weight in vectors.weights)

    expected = [
        own[0] + kind[0] + 0.5 * price,
        own[1] + (kind[0] + kind[1]) / 2,
        own[2] - price,
        kind[1] + 2 * price,
    ]
    np.testing.assert_allclose(vectors.table(), expected, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(vectors.clicked_ones(), expected[:3], rtol=1e-5, atol=1e-7)
    chosen = tf.constant([[2, 0], [1, 1]])
    np.testing.assert_allclose(vectors.of(chosen), np.array(expected)[chosen.numpy()], rtol=1e-5, atol=1e-7)


def test_unit_vectors_have_length_1() -> None:
    """Whatever they are made of."""
    table = ItemVectors(3, 2, unit=True, features=FEATURES).table()

    np.testing.assert_allclose(np.linalg.norm(table, axis=1), np.ones(4), rtol=1e-5)
