"""The network: item vectors as input, recurrent layers, and scores by the product with item vectors.

With unit vectors on both sides a score is a cosine times a scale, so that popular items cannot win by
the length of their vectors (Gupta et al., "NISER", 2019; tied tables: Hidasi & Karatzoglou, 2018). Without
normalisation, with a separate output table and a bias, the output is the textbook's `y = Why h + b`.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from trainer.config import FitSettings
from trainer.dataset.batches import Batch
from trainer.dataset.features import Features
from trainer.model import losses
from trainer.model.backend import keras, tf
from trainer.model.item_vectors import ItemVectors
from trainer.model.negatives import Negatives
from worker.core.blob import rounded
from worker.core.cells import CELLS, Floats
from worker.core.ranking import Indexes

_LAYERS: Final = {"elman": keras.layers.SimpleRNN, "gru": keras.layers.GRU, "lstm": keras.layers.LSTM}
"""The Keras layers, by the name of the cell in the manifest."""

CELL_TENSORS: Final = ("kernel", "recurrent_kernel", "bias")
"""Names of a layer's weights in a release, in Keras' order; from layer 2 on, with a suffix: `kernel_2`."""


class Network(keras.Model):  # type: ignore[misc]  # Keras has no types
    """A recurrent next-item network; its weights are randomly initialised.

    `counts` `[C]`: how often each item with training clicks is a target. These items come first in the
    catalogue; the other items have only `features`.
    """

    def __init__(
        self, counts: NDArray[np.int64], settings: FitSettings, features: Features | None = None
    ) -> None:
        super().__init__()
        self.settings, items, size = settings, len(counts), settings.model.hidden_size
        vectors = partial(ItemVectors, items, unit=settings.model.normalize, features=features)
        self.inputs_of = vectors(settings.model.input_size)
        self.outputs_of = vectors(size) if settings.model.output_table == "separate" else self.inputs_of
        self.bias = self._bias(items) if settings.model.output_bias else None
        sizes = (settings.model.input_size, *[size] * (settings.model.layers - 1))
        self.cells = [_recurrent(settings, below) for below in sizes]
        self.state_size = settings.model.layers * CELLS[settings.model.cell].state_size(size)
        self.negatives = Negatives(
            counts,
            size=settings.loss.negatives,
            power=settings.loss.negatives_power,
            uniform=settings.loss.negatives_uniform,
        )
        self._chances = (counts / counts.sum()).astype(np.float32)
        vectors_of_one = tf.TensorSpec([1, None, settings.model.input_size])
        self._through = tf.function(self._states_after, input_signature=[vectors_of_one], autograph=False)
        self._weights = _weights(counts, settings.loss.class_weight_power)

    def loss_of(self, batch: Batch, states: tf.Tensor, number: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Return the training loss on one `Batch`, and the states `[B, S]` after it.

        `states` `[B, S]` or `[1, S]`: the states before the batch, used by rows that are not fresh. `number`:
        the number of the training step, which seeds dropout. Scores are computed only at `batch.places`,
        never for padding, because scoring takes almost all of the time.
        """
        hidden, states = self.walk(batch, states, number)
        scored = self.scaled(tf.gather(tf.reshape(hidden, (-1, hidden.shape[-1])), batch.places))
        loss = self._whole if self._is_whole else self._compared
        weights = tf.gather(self._weights, batch.targets)
        return tf.reduce_mean(weights * loss(self._with_one(scored), batch)), states

    @property
    def tables(self) -> list[tf.Variable]:
        """The embeddings of which a step reads few rows, `rows_of` its batch; none without negatives."""
        if not self.settings.loss.negatives:
            return []
        return [
            vectors.own for vectors in {id(one): one for one in (self.inputs_of, self.outputs_of)}.values()
        ]

    @staticmethod
    def rows_of(batch: Batch) -> tf.Tensor:
        """Return the items whose embeddings a step on `batch` reads, with negatives; some several times."""
        return tf.concat([tf.reshape(batch.items, [-1]), batch.targets, batch.negatives], axis=0)

    def walk(self, batch: Batch, states: tf.Tensor, number: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Return the top layer's hidden vectors `[B, L, H]`, with dropout, and the final states `[B, S]`."""
        before = tf.where(batch.fresh[:, None], 0.0, states)
        by_layer = tf.split(before, self.settings.model.layers, axis=-1)[::-1]
        sequence = self._dropped(self.inputs_of.of(batch.items), self.settings.model.dropout, 0, number)
        after: list[tf.Tensor] = []
        for layer, (cell, own) in enumerate(zip(self.cells, by_layer, strict=True), start=1):
            parts = tf.split(own, CELLS[self.settings.model.cell].vectors, axis=-1)
            sequence, *found = cell(sequence, initial_state=parts)
            sequence = self._dropped(sequence, self.settings.model.hidden_dropout, layer, number)
            after = [*found, *after]
        return sequence, tf.concat(after, axis=-1)

    def answer(self, items: Indexes, tensors: Mapping[str, Floats] | None = None) -> tuple[Floats, Floats]:
        """Return the state `[S]` after the session `items` `[L]`, and the scores `[N]` of all items.

        A state concatenates the layers' states, top layer first; the state of an LSTM is h, then c. `tensors`
        replaces the network's item vectors and output bias.
        """
        tensors = tensors or self.tensors()
        found = self._through(tf.constant(tensors["embedding"][items][None]))
        hidden = self.scaled(found[0]).numpy()[0]
        scores = tensors.get("output", tensors["embedding"]) @ hidden + tensors.get("output_bias", 0)
        return np.concatenate([state.numpy()[0] for state in found]), scores

    def _states_after(self, sequence: tf.Tensor) -> list[tf.Tensor]:
        """Return all layers' states, top layer first, after a `sequence` of item vectors `[1, L, D]`."""
        found = list[tf.Tensor]()
        for cell in self.cells:
            sequence, *states = cell(sequence)
            found = [*states, *found]
        return found

    def tensors(self) -> dict[str, Floats]:
        """Return the network's weights as the tensors that `worker.core.release.pack` expects.

        Item vectors of a large catalogue have the precision in which a release stores them.
        """
        tensors = {"embedding": self.inputs_of.table()}
        for layer, cell in enumerate(self.cells, start=1):
            for name, weight in zip(CELL_TENSORS, cell.get_weights(), strict=True):
                tensors[name if layer == 1 else f"{name}_{layer}"] = weight
        if self.settings.model.output_table == "separate":
            tensors["output"] = self.outputs_of.table()
        if self.bias is not None:
            # Items without training clicks get the lowest bias of any item.
            bias, never = self.bias.numpy(), len(self.outputs_of) - self.outputs_of.clicked
            tensors["output_bias"] = np.append(bias, np.full(never, bias.min(), np.float32))
        return rounded(tensors)

    @property
    def _is_whole(self) -> bool:
        return self.settings.loss.function == "cross_entropy" and not self.settings.loss.negatives

    def _bias(self, items: int) -> tf.Variable:
        return self.add_weight(name="output_bias", shape=(items,), initializer="zeros")

    def _dropped(self, vectors: tf.Tensor, share: float, place: int, number: tf.Tensor) -> tf.Tensor:
        # A dropout mask depends only on seed, layer and step, so that a resumed training uses the same masks.
        if not share:
            return vectors
        seed = tf.stack([self.settings.training.seed * 1000 + place, number])
        return tf.nn.experimental.stateless_dropout(vectors, share, seed=seed)

    def scaled(self, hidden: tf.Tensor) -> tf.Tensor:
        """Return `hidden`, scaled to length `scale` if normalised, for the product with item vectors."""
        if not self.settings.model.normalize:
            return hidden
        return self.settings.model.scale * tf.math.l2_normalize(hidden, axis=-1)

    def _with_one(self, hidden: tf.Tensor) -> tf.Tensor:
        """Return `hidden` with a column of ones appended, for the bias in the last column of the table."""
        return hidden if self.bias is None else tf.pad(hidden, [[0, 0], [0, 1]], constant_values=1.0)

    def _whole(self, hidden: tf.Tensor, batch: Batch) -> tf.Tensor:
        table, bound = self.outputs_of.clicked_ones(), None
        if self.bias is not None:
            table = tf.concat([table, self.bias[:, None]], axis=-1)
        elif self.settings.model.normalize:
            bound = self.settings.model.scale
        return losses.softmax_cross_entropy(
            hidden, table, batch.targets, bound, self.settings.loss.label_smoothing
        )

    def _compared(self, hidden: tf.Tensor, batch: Batch) -> tf.Tensor:
        items, log_expected = self._candidates(batch)
        asked = tf.concat([batch.targets, items], axis=0)
        vectors = self.outputs_of.of(asked)
        if self.bias is not None:
            vectors = tf.concat([vectors, tf.gather(self.bias, asked)[:, None]], axis=-1)
        return self._loss(losses.score(hidden, batch.targets, vectors, items, log_expected))

    def _loss(self, scored: losses.Scored) -> tf.Tensor:
        settings = self.settings
        match settings.loss.function:
            case "cross_entropy":
                return losses.sampled_cross_entropy(scored, settings.loss.label_smoothing)
            case "bpr_max":
                return losses.bpr_max(scored, settings.loss.score_penalty)
            case "top1_max":
                return losses.top1_max(scored)
        return losses.squared_error(scored)

    def _candidates(self, batch: Batch) -> tuple[tf.Tensor, tf.Tensor]:
        """Return the candidate items `[C]` and the logarithms of their expected counts, `[C]` or `[P, C]`."""
        if not self.settings.loss.negatives:
            return tf.range(len(self._chances)), tf.zeros(len(self._chances))
        items, expected = batch.negatives, tf.constant(self.negatives.expected)
        if not self.settings.loss.batch_negatives:
            return items, tf.math.log(tf.gather(expected, items))
        items = tf.concat([items, batch.targets], axis=0)
        expected += self._chances * tf.cast(tf.shape(batch.targets)[0], tf.float32)
        # Items of the target's own session are candidates with certainty, not by chance. Their expected
        # count is at least 1: a lower count would give them far too much weight as negatives.
        rows, length = tf.shape(batch.items)[0], tf.shape(batch.items)[1]
        session = batch.places // length
        same = tf.cast(batch.targets[:, None] == items, tf.float32)
        log_expected = tf.math.log(
            tf.gather(expected, items) + tf.math.unsorted_segment_sum(same, session, rows)
        )
        return items, tf.gather(log_expected, session)


def _recurrent(settings: FitSettings, below: int) -> Any:
    """Return a recurrent layer on vectors of size `below`."""
    cell = _LAYERS[settings.model.cell](settings.model.hidden_size, return_sequences=True, return_state=True)
    cell.build((None, None, below))
    if settings.model.memory_clicks:
        cell.set_weights([*cell.get_weights()[:2], _remembering(settings, cell.get_weights()[2])])
    return cell


def _remembering(settings: FitSettings, bias: Floats) -> Floats:
    """Return `bias` with gates set so that each unit has a random memory of 1 to `memory_clicks` clicks."""
    size = settings.model.hidden_size
    spans = keras.initializers.RandomUniform(1.0, max(2.0, settings.model.memory_clicks))((size,))
    keep = np.log(np.asarray(spans))
    gates = bias.reshape(-1, CELLS[settings.model.cell].gates, size).copy()
    if settings.model.cell == "lstm":
        gates[0, 0], gates[0, 1] = -keep, keep
    else:
        gates[0, 0] = keep
    return gates.reshape(bias.shape)


def _weights(counts: NDArray[np.int64], power: float) -> Floats:
    """Return the loss weight of each item as a target; the mean weight over all targets is 1."""
    weights = np.maximum(counts, 1.0) ** -power
    return (weights * counts.sum() / (weights @ counts)).astype(np.float32)
