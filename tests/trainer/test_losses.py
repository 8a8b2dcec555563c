from __future__ import annotations

import numpy as np
import pytest

from trainer.backend import tf
from trainer.losses import softmax_cross_entropy


@pytest.fixture
def drawn() -> tuple[tf.Variable, tf.Variable, tf.Tensor]:
    """Hidden vectors, an item table and targets; some targets come twice."""
    random = np.random.default_rng(5)
    hidden, table = random.standard_normal((9, 4)), random.standard_normal((7, 4))
    targets = random.integers(7, size=9)
    return tf.Variable(hidden, dtype=tf.float32), tf.Variable(table, dtype=tf.float32), tf.constant(targets)


def test_it_is_tensorflows_own_cross_entropy(drawn: tuple[tf.Variable, tf.Variable, tf.Tensor]) -> None:
    """Value and both gradients are those of the textbook form."""
    hidden, table, targets = drawn
    with tf.GradientTape(persistent=True) as tape:
        ours = softmax_cross_entropy(hidden, table, targets, bound=10.0)
        logits = tf.matmul(hidden, table, transpose_b=True)
        theirs = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(targets, logits))

    np.testing.assert_allclose(ours, theirs, rtol=1e-6)
    for variable in (hidden, table):
        found = tf.convert_to_tensor(tape.gradient(ours, variable))
        np.testing.assert_allclose(found, tape.gradient(theirs, variable), atol=1e-6)


def test_the_bound_changes_nothing(drawn: tuple[tf.Variable, tf.Variable, tf.Tensor]) -> None:
    """It only keeps the exponentials in range."""
    low, high = (float(softmax_cross_entropy(*drawn, bound=bound)) for bound in (8.0, 60.0))

    assert low == pytest.approx(high, rel=1e-5)
