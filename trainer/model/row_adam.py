"""Adam for tables of which a training step reads only a few rows, such as the item vectors.

Adam moves every row in every step, because its first moment lives on after a row's gradient. For a row
without a gradient these moves are known in advance, so they can wait until a step reads the row: each row
has the number of the step up to which it is done. The result is that of dense Adam, but for rounding. Lazy
Adam of TensorFlow Addons skips these moves instead. A rare item then moves a tenth as far for each click.

With a gradient in step s and none in the k steps after it, the moments m and v decay to `b1^k m` and
`b2^k v`, and the row moves by

    sum_i a(s + i) b1^i m / (b2^(i/2) sqrt(v) + e)    i = 1 to k; a(t): the rate of step t, bias-corrected
    = (D(s) - r^k D(s + k)) m / (sqrt(v) + e)         r = b1 / sqrt(b2); D(t) = sum_i a(t + i) r^i, i >= 1

The second line takes `e b2^(-i/2)` as e, which matters only if sqrt(v) is near e, 1e-7. D is computed once
for all steps, because the learning-rate schedule is known.

Adam: Kingma & Ba, 2015, with the defaults of Keras.
"""

from __future__ import annotations

import math
from itertools import accumulate
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from trainer.model.backend import tf

_BETA_1: Final = 0.9
_BETA_2: Final = 0.999
_EPSILON: Final = 1e-7
_RATIO: Final = _BETA_1 / math.sqrt(_BETA_2)

_ROWS_AT_ONCE: Final = 1 << 16
"""Rows that `finish` brings up to date together, which limits its memory."""


class RowAdam:
    """Adam for one `table` `[N, D]`, a Keras variable; `rates` `[T]`: the learning rate of each step."""

    def __init__(self, table: Any, rates: NDArray[np.float64]) -> None:
        self._table = table.value
        self._rows = int(table.shape[0])
        self._mean = tf.Variable(tf.zeros_like(self._table))
        self._square = tf.Variable(tf.zeros_like(self._table))
        self._done = tf.Variable(tf.zeros(self._rows, tf.int32))
        """`[N]`: the step up to which each row is done."""
        steps = np.arange(1, len(rates) + 1)
        corrected = rates * np.sqrt(1 - _BETA_2**steps) / (1 - _BETA_1**steps)
        self._rates = tf.constant(corrected, tf.float32)
        last = float(corrected[-1]) * _RATIO / (1 - _RATIO)
        later = accumulate(corrected[::-1].tolist(), lambda sum_, rate: _RATIO * (rate + sum_), initial=last)
        self._later = tf.constant([*later][::-1], tf.float64)
        """`[T + 1]`: D(t) of the formula, for t from 0."""
        signature = [tf.TensorSpec([None], tf.int32), tf.TensorSpec([], tf.int32)]
        self._caught_up = tf.function(self.catch_up, input_signature=signature, autograph=False)

    @property
    def variables(self) -> list[Any]:
        """All state that later steps depend on, except the table."""
        return [self._mean, self._square, self._done]

    def catch_up(self, rows: Any, step: Any) -> None:
        """Bring the distinct `rows` `[R]` up to date after `step` steps, before they are read."""
        done = tf.gather(self._done, rows)
        idle = tf.cast(step - done, tf.float64)
        ahead = tf.gather(self._later, done) - _RATIO**idle * tf.gather(self._later, step)
        far, first, second = (
            tf.cast(one, tf.float32)[:, None] for one in (ahead, _BETA_1**idle, _BETA_2**idle)
        )
        mean, square = tf.gather(self._mean, rows), tf.gather(self._square, rows)
        moved = tf.gather(self._table, rows) - far * mean / (tf.sqrt(square) + _EPSILON)
        self._put(rows, moved, first * mean, second * square, step)

    def move(self, rows: Any, gradient: Any, step: Any) -> None:
        """Make step number `step`, from 1, with the `gradient` `[R, D]` of the distinct `rows` `[R]`.

        They must be up to date after the step before.
        """
        mean, square = tf.gather(self._mean, rows), tf.gather(self._square, rows)
        mean += (gradient - mean) * (1 - _BETA_1)
        square += (gradient**2 - square) * (1 - _BETA_2)
        moved = tf.gather(self._table, rows) - self._rates[step - 1] * mean / (tf.sqrt(square) + _EPSILON)
        self._put(rows, moved, mean, square, step)

    def finish(self, step: int) -> None:
        """Bring all rows up to date after `step` steps, before the table is read as a whole."""
        for first in range(0, self._rows, _ROWS_AT_ONCE):
            self._caught_up(tf.range(first, min(self._rows, first + _ROWS_AT_ONCE)), step)

    def _put(self, rows: Any, *values: Any) -> None:
        *parts, step = values
        for variable, part in zip((self._table, self._mean, self._square), parts, strict=True):
            variable.scatter_update(tf.IndexedSlices(part, rows))
        self._done.scatter_update(tf.IndexedSlices(tf.fill(tf.shape(rows), step), rows))


def summed(gradient: Any) -> tuple[Any, Any]:
    """Return the distinct rows `[R]` of a sparse gradient, and the sum of its values for each, `[R, D]`."""
    rows, row = tf.unique(gradient.indices)
    return rows, tf.math.unsorted_segment_sum(gradient.values, row, tf.size(rows))
