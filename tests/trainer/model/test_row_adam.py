"""Adam by rows is dense Adam: whatever rows the steps read, in whatever order."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from trainer.config import FitSettings
from trainer.model.backend import keras, tf
from trainer.model.optimizer import Optimizer
from trainer.model.row_adam import RowAdam, summed
from worker.core.cells import Floats

ROWS, SIZE = 7, 3


def optimizers(
    settings: FitSettings, table: Floats, steps: int
) -> list[tuple[list[keras.Variable], Optimizer]]:
    """Dense Adam, and Adam by rows, each with its own copy of `table` and of a bias."""
    found = []
    for by_rows in (False, True):
        weights = [keras.Variable(table), keras.Variable(np.zeros(SIZE, np.float32))]
        tables = weights[:1] if by_rows else []
        found.append((weights, Optimizer(weights, settings, epochs=2, steps=steps, tables=tables)))
    return found


class DenseAdam:
    """Adam of all rows, as Kingma & Ba have it, with the constants of Keras."""

    def __init__(self, table: Floats) -> None:
        self.table, self.step = table.astype(np.float64), 0
        self.mean, self.square = np.zeros_like(self.table), np.zeros_like(self.table)

    def move(self, gradient: NDArray[np.float64], rate: float) -> None:
        """Make one step against `gradient`, `[N, D]`."""
        self.step += 1
        self.mean = 0.9 * self.mean + 0.1 * gradient
        self.square = 0.999 * self.square + 0.001 * gradient**2
        rate *= np.sqrt(1 - 0.999**self.step) / (1 - 0.9**self.step)
        self.table -= rate * self.mean / (np.sqrt(self.square) + 1e-7)


@given(
    steps=st.lists(st.lists(st.integers(0, ROWS - 1), min_size=1, max_size=4), min_size=1, max_size=60),
    seed=st.integers(0, 9),
)
def test_rows_have_the_weights_of_dense_adam_when_they_are_read(steps: list[list[int]], seed: int) -> None:
    """Before each step those it reads, and all in the end; repeated rows of a gradient count together."""
    random = np.random.default_rng(seed)
    table = random.standard_normal((ROWS, SIZE)).astype(np.float32)
    rates = random.random(len(steps)) * 0.05
    dense, variable = DenseAdam(table), keras.Variable(table)
    by_rows = RowAdam(variable, rates)
    for number, rows in enumerate(steps):
        by_rows.catch_up(tf.constant(np.unique(rows).astype(np.int32)), tf.constant(number))
        np.testing.assert_allclose(variable.numpy()[rows], dense.table[rows], atol=1e-4)
        values = random.standard_normal((len(rows), SIZE)).astype(np.float32)
        gradient = tf.IndexedSlices(tf.constant(values), tf.constant(rows, tf.int32))
        by_rows.move(*summed(gradient), tf.constant(number + 1))
        whole = np.zeros((ROWS, SIZE))
        np.add.at(whole, rows, values)
        dense.move(whole, rates[number])

    by_rows.finish(len(steps))
    np.testing.assert_allclose(variable.numpy(), dense.table, atol=1e-4)


def test_the_optimizer_by_rows_moves_as_the_dense_one() -> None:
    """With its schedule, and with one norm of all gradients, by which they are clipped."""
    random = np.random.default_rng(0)
    settings = FitSettings.of(schedule="cosine", learning_rate=0.05, clip_norm=0.5, warmup_steps=3)
    table = random.standard_normal((ROWS, SIZE)).astype(np.float32)
    (dense, whole), (sparse, by_rows) = optimizers(settings, table, 15)

    for _ in range(30):
        rows = random.integers(0, ROWS, 2).astype(np.int32)
        values = random.standard_normal((2, SIZE)).astype(np.float32)
        gradient = tf.IndexedSlices(tf.constant(values), tf.constant(rows), tf.constant([ROWS, SIZE]))
        by_rows.reads(tf.constant(rows))
        norms = [float(one.move([gradient, tf.constant(values[0])])) for one in (whole, by_rows)]
        assert norms[0] == pytest.approx(norms[1], rel=1e-5)

    with by_rows.averaged():
        for one, other in zip(sparse, dense, strict=True):
            np.testing.assert_allclose(one.numpy(), other.numpy(), atol=1e-4)
    assert np.abs(dense[0].numpy() - table).min() > 0


@pytest.mark.parametrize(
    "changed", [{"algorithm": "sgd"}, {"weight_decay": 0.1}, {"average_decay": 0.9}], ids=str
)
def test_what_needs_all_rows_in_each_step_gets_them(changed: dict[str, float]) -> None:
    """Other algorithms, weight decay and averages move or shrink rows that no step reads."""
    settings = FitSettings.of(learning_rate=0.1, schedule="constant", **changed)
    (dense, whole), (same, by_rows) = optimizers(settings, np.ones((ROWS, SIZE), np.float32), 3)
    gradient = tf.IndexedSlices(tf.ones((1, SIZE)), tf.constant([2]), tf.constant([ROWS, SIZE]))

    for _ in range(3):
        for one in (whole, by_rows):
            one.reads(tf.constant([2]))
            one.move([gradient, tf.zeros(SIZE)])

    np.testing.assert_array_equal(dense[0].numpy(), same[0].numpy())
    assert len(whole.variables) == len(by_rows.variables)
