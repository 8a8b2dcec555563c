"""The network: item vectors, one recurrent layer, and the same item vectors again to score with.

With unit vectors on both sides a score is a cosine times a scale, so that popular items cannot win by
length alone (Gupta et al., "NISER", 2019; tied tables: Hidasi & Karatzoglou, 2018).
"""

from __future__ import annotations

from typing import Final

import numpy as np

from trainer.backend import keras, tf
from trainer.config import FitSettings
from trainer.losses import softmax_cross_entropy
from worker.core.cells import Floats
from worker.core.ranking import Indexes

_LAYERS: Final = {"elman": keras.layers.SimpleRNN, "gru": keras.layers.GRU, "lstm": keras.layers.LSTM}
"""Keras layers by the names that cells have in a manifest."""


class Network(keras.Model):  # type: ignore[misc]  # Keras has no types
    """A recurrent next-item network over a catalogue of `items`, with fresh weights."""

    def __init__(self, items: int, settings: FitSettings) -> None:
        super().__init__()
        size = settings.hidden_size
        self.scale = settings.scale
        self.embedding = self.add_weight(
            name="embedding", shape=(items, size), initializer=keras.initializers.RandomUniform(-0.1, 0.1)
        )
        self.dropout = keras.layers.Dropout(settings.dropout)
        self.recurrent = _LAYERS[settings.cell](size, return_sequences=True, return_state=True)
        self.recurrent.build((None, None, size))

    def table(self) -> tf.Tensor:
        """The unit vectors of all items, `[N, D]`: what the cell sees and is scored with."""
        return tf.math.l2_normalize(self.embedding, axis=-1)

    def hidden(self, items: tf.Tensor, places: tf.Tensor, *, training: bool = False) -> tf.Tensor:
        """The hidden vectors `[P, H]` at `places` of a `Batch`; dropout is on in training."""
        vectors = self.dropout(tf.gather(self.table(), items), training=training)
        hidden, *_ = self.recurrent(vectors, training=training)
        return tf.gather(tf.reshape(hidden, (-1, hidden.shape[-1])), places)

    def loss_of(self, items: tf.Tensor, places: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
        """The training loss on one `Batch`.

        Scores are made where one is asked for, never for padding: they are nearly all of the cost.
        """
        hidden = self.scale * tf.math.l2_normalize(self.hidden(items, places, training=True), axis=-1)
        return softmax_cross_entropy(hidden, self.table(), targets, bound=self.scale)

    def answer(self, items: Indexes) -> tuple[Floats, Floats]:
        """The state `[S]` (LSTM: h, then c) after one session `[L]`, and the scores of all items `[N]`."""
        table = self.table()
        _, *states = self.recurrent(tf.gather(table, items[None]), training=False)
        scores = self.scale * tf.math.l2_normalize(states[0], axis=-1) @ tf.transpose(table)
        return np.concatenate([state.numpy()[0] for state in states]), scores.numpy()[0]

    def tensors(self) -> dict[str, Floats]:
        """What a release holds (`worker.core.release.pack`)."""
        kernel, recurrent_kernel, bias = self.recurrent.get_weights()
        return {
            "embedding": self.table().numpy(),
            "kernel": kernel,
            "recurrent_kernel": recurrent_kernel,
            "bias": bias,
        }
