"""What the network is trained to make small."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from trainer.backend import tf


def softmax_cross_entropy(hidden: tf.Tensor, table: tf.Tensor, targets: tf.Tensor, bound: float) -> tf.Tensor:
    """`-log softmax(hidden @ table.T)[target]` over the whole catalogue, averaged; a scalar.

    `hidden` `[P, D]`, `table` `[N, D]`, `targets` `[P]`. All logits must lie between `-bound`
    and `bound`, at most 40: it takes the place of the maximum that is subtracted where none is known.
    """
    target_logits = tf.reduce_sum(hidden * tf.gather(table, targets), axis=-1)
    return tf.reduce_mean(_log_partition(hidden, table, bound) - target_logits)


def _log_partition(hidden: tf.Tensor, table: tf.Tensor, bound: float) -> tf.Tensor:
    """`log sum exp(hidden @ table.T)`, `[P]`.

    Hot path: with one exponential as the only pass over `[P, N]` beside three matrix products, it takes
    two thirds of the time of TensorFlow's own cross-entropy, which makes passes for maximum and division.
    """

    @tf.custom_gradient  # type: ignore[untyped-decorator]  # TensorFlow has no types
    def forward(hidden: tf.Tensor, table: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], Any]]:
        # The transposed copy is smaller than what a product with a transposed operand loses.
        weights = tf.exp(hidden @ tf.transpose(table) - bound)
        total = tf.reduce_sum(weights, axis=-1)

        def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            share = (upstream / total)[:, None]
            return share * (weights @ table), tf.matmul(weights, share * hidden, transpose_a=True)

        return tf.math.log(total) + bound, gradient

    return forward(hidden, table)
