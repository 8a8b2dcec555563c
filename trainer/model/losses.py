"""The training losses: a number for each prediction, `[P]`.

Over the whole catalogue cross-entropy has a fast form of its own. All others, and all losses over drawn
negatives, are formulas on `Scored`: the target's score and those of other items.

The other targets of a batch are negatives, corrected by how often each is expected there. Those of the
target's own session are certain to be there. Taken for rare they weighed up to 30 times too much, and what is
likely to come next was pushed down: MRR@20 17.8 instead of 18.7 (seen once, by hand, on the end of
Diginetica's training part).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

from trainer.model.backend import tf

_LITTLE: Final = 1e-24
"""Added under a logarithm, as in Hidasi & Karatzoglou's own code, so that it stays finite."""

Loss = Callable[["Scored"], tf.Tensor]


class Scored(NamedTuple):
    """The score of each target `[P]`, and those of the items that it is compared with `[P, C]`.

    `distinct` `[P, C]` is 0 where such an item is the target itself, else 1. `log_expected` `[P, C]`, or
    `[C]` for all targets alike: the logarithm of how often each was expected among them; 0 for all where
    they are the whole catalogue.
    """

    target: tf.Tensor
    others: tf.Tensor
    distinct: tf.Tensor
    log_expected: tf.Tensor


def score(
    hidden: tf.Tensor, targets: tf.Tensor, vectors: tf.Tensor, candidates: tf.Tensor, log_expected: tf.Tensor
) -> Scored:
    """Multiply `hidden` `[P, D]` with the `vectors` of targets and candidates `[P + C, D]`.

    `targets` `[P]` and `candidates` `[C]` are item indexes, `log_expected` is as in `Scored`.
    """
    count = tf.shape(targets)[0]
    target = tf.reduce_sum(hidden * vectors[:count], axis=-1)
    others = hidden @ tf.transpose(vectors[count:])
    distinct = tf.cast(targets[:, None] != candidates, tf.float32)
    return Scored(target, others, distinct, log_expected)


def softmax_cross_entropy(
    hidden: tf.Tensor, table: tf.Tensor, targets: tf.Tensor, bound: float | None = None, smoothing: float = 0
) -> tf.Tensor:
    """Return `-log softmax(hidden @ table.T)[target]` over the whole catalogue.

    `hidden` `[P, D]`, `table` `[N, D]`, `targets` `[P]`. With a `bound`, at most 40, all logits must lie
    between its negative and it: it takes the place of the maximum that is subtracted where none is known.
    `smoothing` is the share of the target that all items have in equal parts.
    """
    wanted = tf.gather(table, targets)
    if smoothing:
        wanted += smoothing * (tf.reduce_mean(table, axis=0) - wanted)
    return _log_partition(hidden, table, bound) - tf.reduce_sum(hidden * wanted, axis=-1)


def sampled_cross_entropy(scored: Scored, smoothing: float = 0) -> tf.Tensor:
    """Return the cross-entropy, with its sum over the catalogue estimated from the items drawn.

    Each counts as many times less as it was expected more often (the logQ correction of Bengio & Senecal,
    2008); the target itself is known and not estimated.
    """
    logits = _only(scored.others - scored.log_expected, scored.distinct)
    partition = tf.reduce_logsumexp(tf.concat([scored.target[:, None], logits], axis=-1), axis=-1)
    wanted = scored.target
    if smoothing:
        share = tf.nn.softmax(-scored.log_expected)
        wanted += smoothing * (tf.reduce_sum(share * scored.others, axis=-1) - wanted)
    return partition - wanted


def bpr_max(scored: Scored, penalty: float) -> tf.Tensor:
    """Return the BPR-max loss: low where the target beats the strongest others.

    `-log sum s_j sigmoid(r_t - r_j) + penalty * sum s_j r_j^2`, `s` the softmax over the others (Hidasi &
    Karatzoglou, 2018, eq. 11).
    """
    share = _share(scored)
    ahead = tf.math.sigmoid(scored.target[:, None] - scored.others)
    won = tf.reduce_sum(share * ahead, axis=-1)
    return -tf.math.log(won + _LITTLE) + penalty * tf.reduce_sum(share * scored.others**2, axis=-1)


def top1_max(scored: Scored) -> tf.Tensor:
    """Return `sum s_j (sigmoid(r_j - r_t) + sigmoid(r_j^2))` (ditto, eq. 9), `s` as in `bpr_max`."""
    behind = tf.math.sigmoid(scored.others - scored.target[:, None])
    return tf.reduce_sum(_share(scored) * (behind + tf.math.sigmoid(scored.others**2)), axis=-1)


def squared_error(scored: Scored) -> tf.Tensor:
    """Return `1/2 sum (y - y*)^2` over all items, `y*` 1 at the target and 0 elsewhere."""
    weights = scored.distinct * tf.exp(-scored.log_expected)
    return ((scored.target - 1) ** 2 + tf.reduce_sum(weights * scored.others**2, axis=-1)) / 2


def _share(scored: Scored) -> tf.Tensor:
    return tf.nn.softmax(_only(scored.others, scored.distinct))


def _only(scores: tf.Tensor, distinct: tf.Tensor) -> tf.Tensor:
    """Return `scores`, made so low that no softmax sees them where `distinct` is 0."""
    return scores - 1e9 * (1 - distinct)


def _log_partition(hidden: tf.Tensor, table: tf.Tensor, bound: float | None) -> tf.Tensor:
    """Return `log sum exp(hidden @ table.T)`, `[P]`.

    Hot path: with one exponential as the only pass over `[P, N]` besides three matrix products, it takes
    two thirds of the time of TensorFlow's own cross-entropy, which makes passes for maximum and division.
    """

    @tf.custom_gradient  # type: ignore[untyped-decorator]  # TensorFlow has no types
    def forward(hidden: tf.Tensor, table: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], Any]]:
        # The transposed copy is smaller than what a product with a transposed operand loses.
        logits = hidden @ tf.transpose(table)
        most = tf.reduce_max(logits, axis=-1) if bound is None else tf.fill(tf.shape(hidden)[:1], bound)
        weights = tf.exp(logits - most[:, None])
        total = tf.reduce_sum(weights, axis=-1)

        def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            share = (upstream / total)[:, None]
            return share * (weights @ table), tf.matmul(weights, share * hidden, transpose_a=True)

        return tf.math.log(total) + most, gradient

    return forward(hidden, table)
