"""The training losses; each returns one value per prediction, `[P]`.

Cross-entropy over the whole catalogue has a fast implementation. All other losses, and all losses with
sampled negatives, are functions of `Scored`: the scores of the target and of the items compared with it.

The targets of a batch serve as negatives for each other, corrected for their expected frequency. For targets
of the same session this frequency is at least 1, because they are always in the same batch. If these targets
were treated as random, they would weigh up to 30 times too much as negatives, which pushes down the most
likely next items: MRR@20 was 17.8 % instead of 18.7 % (one manual run, on the last part of Diginetica's
training data).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

from trainer.model.backend import tf

_LITTLE: Final = 1e-24
"""Added inside a logarithm to keep it finite, as in the code of Hidasi & Karatzoglou."""

Loss = Callable[["Scored"], tf.Tensor]


class Scored(NamedTuple):
    """The scores of the targets, `target` `[P]`, and of their candidates, `others` `[P, C]`.

    `distinct` `[P, C]`: 0 where the candidate is the target itself, else 1. `log_expected` `[P, C]`, or `[C]`
    if equal for all targets: the logarithm of how often each candidate's item is expected among the
    candidates; 0 if the candidates are the whole catalogue.
    """

    target: tf.Tensor
    others: tf.Tensor
    distinct: tf.Tensor
    log_expected: tf.Tensor


def score(
    hidden: tf.Tensor, targets: tf.Tensor, vectors: tf.Tensor, candidates: tf.Tensor, log_expected: tf.Tensor
) -> Scored:
    """Return the scores of targets and candidates: the products of `hidden` `[P, D]` with `vectors`.

    `vectors` `[P + C, D]`: the vectors of the targets, then those of the candidates. `targets` `[P]` and
    `candidates` `[C]` are item indexes; `log_expected` is as in `Scored`.
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

    `hidden` is `[P, D]`, `table` `[N, D]`, `targets` `[P]`. `bound`, at most 40: a known upper limit of the
    absolute logits. Subtracting it before the exponential, instead of the maximum, saves a pass.
    `smoothing` is the share of the target's probability that is spread evenly over all items.
    """
    wanted = tf.gather(table, targets)
    if smoothing:
        wanted += smoothing * (tf.reduce_mean(table, axis=0) - wanted)
    return _log_partition(hidden, table, bound) - tf.reduce_sum(hidden * wanted, axis=-1)


def sampled_cross_entropy(scored: Scored, smoothing: float = 0) -> tf.Tensor:
    """Return the cross-entropy, with the softmax sum over the catalogue estimated from the sampled items.

    The term of a sampled item is divided by the item's expected count (the logQ correction of Bengio &
    Senecal, 2008). The target's term is exact.
    """
    logits = _only(scored.others - scored.log_expected, scored.distinct)
    partition = tf.reduce_logsumexp(tf.concat([scored.target[:, None], logits], axis=-1), axis=-1)
    wanted = scored.target
    if smoothing:
        share = tf.nn.softmax(-scored.log_expected)
        wanted += smoothing * (tf.reduce_sum(share * scored.others, axis=-1) - wanted)
    return partition - wanted


def bpr_max(scored: Scored, penalty: float) -> tf.Tensor:
    """Return the BPR-max loss, which is low if the target scores above the strongest candidates.

    `-log sum_j s_j sigmoid(r_t - r_j) + penalty * sum_j s_j r_j^2`, where `s` is the softmax over the
    candidates' scores `r_j` (Hidasi & Karatzoglou, 2018, eq. 11).
    """
    share = _share(scored)
    ahead = tf.math.sigmoid(scored.target[:, None] - scored.others)
    won = tf.reduce_sum(share * ahead, axis=-1)
    return -tf.math.log(won + _LITTLE) + penalty * tf.reduce_sum(share * scored.others**2, axis=-1)


def top1_max(scored: Scored) -> tf.Tensor:
    """Return the TOP1-max loss, `sum_j s_j (sigmoid(r_j - r_t) + sigmoid(r_j^2))`, with `s` as in `bpr_max`.

    Hidasi & Karatzoglou, 2018, eq. 9.
    """
    behind = tf.math.sigmoid(scored.others - scored.target[:, None])
    return tf.reduce_sum(_share(scored) * (behind + tf.math.sigmoid(scored.others**2)), axis=-1)


def squared_error(scored: Scored) -> tf.Tensor:
    """Return `1/2 sum (y - y*)^2` over all items, where `y*` is 1 for the target and 0 for other items."""
    weights = scored.distinct * tf.exp(-scored.log_expected)
    return ((scored.target - 1) ** 2 + tf.reduce_sum(weights * scored.others**2, axis=-1)) / 2


def _share(scored: Scored) -> tf.Tensor:
    return tf.nn.softmax(_only(scored.others, scored.distinct))


def _only(scores: tf.Tensor, distinct: tf.Tensor) -> tf.Tensor:
    """Return `scores`, lowered by 1e9 where `distinct` is 0: a softmax then ignores these entries."""
    return scores - 1e9 * (1 - distinct)


def _log_partition(hidden: tf.Tensor, table: tf.Tensor, bound: float | None) -> tf.Tensor:
    """Return `log sum exp(hidden @ table.T)`, `[P]`.

    Hot path: besides three matrix products, the exponential is the only pass over `[P, N]`. This takes two
    thirds of the time of TensorFlow's cross-entropy, which has further passes for the maximum and division.
    """

    @tf.custom_gradient  # type: ignore[untyped-decorator]  # TensorFlow has no types
    def forward(hidden: tf.Tensor, table: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], Any]]:
        # Copying the transposed table costs less than a product with a transposed operand.
        logits = hidden @ tf.transpose(table)
        most = tf.reduce_max(logits, axis=-1) if bound is None else tf.fill(tf.shape(hidden)[:1], bound)
        weights = tf.exp(logits - most[:, None])
        total = tf.reduce_sum(weights, axis=-1)

        def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            share = (upstream / total)[:, None]
            return share * (weights @ table), tf.matmul(weights, share * hidden, transpose_a=True)

        return tf.math.log(total) + most, gradient

    return forward(hidden, table)
