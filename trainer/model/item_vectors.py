"""Item vectors: the sum of an embedding per item and the vectors of its features.

Items without training clicks have no embedding: their vectors come from their features alone.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from trainer.dataset.features import Features
from trainer.model.backend import keras, tf
from worker.core.cells import Floats

SPREAD: Final = 0.1
"""New embeddings are initialised uniformly between -SPREAD and SPREAD."""


class ItemVectors(keras.layers.Layer):  # type: ignore[misc]  # Keras has no types
    """The vectors of all items in a catalogue; the first `clicked` items have training clicks.

    A vector is the sum of the item's embedding, the mean vector of its values in each categorical column, and
    its numeric features times a matrix. With `unit`, every vector is scaled to length 1.
    """

    def __init__(self, clicked: int, size: int, *, unit: bool, features: Features | None) -> None:
        super().__init__()
        self.clicked, self._unit = clicked, unit
        self.own = self._fresh("own", clicked, size)
        columns = features.categorical if features else ()
        self.values = [self._fresh(column.name, len(column.values), size) for column in columns]
        self._lists = [tf.RaggedTensor.from_row_splits(column.indexes, column.starts) for column in columns]
        self._numbers = features.numeric if features else np.zeros((clicked, 0), np.float32)
        self.numeric = (
            self._fresh("numeric", self._numbers.shape[1], size) if self._numbers.shape[1] else None
        )

    def __len__(self) -> int:
        """Return the number of items, including those without training clicks."""
        return len(self._numbers)

    def of(self, items: tf.Tensor) -> tf.Tensor:
        """Return the vectors `[..., D]` of `items` `[...]`, which must have training clicks."""
        # Hot path: gathered from the Keras variable itself, the whole table would be copied first.
        return self._finished(tf.gather(self.own.value, items), items)

    def clicked_ones(self) -> tf.Tensor:
        """Return the vectors of all items with training clicks, `[clicked, D]`."""
        return self._finished(tf.convert_to_tensor(self.own), tf.range(self.clicked))

    def table(self) -> Floats:
        """Return the vectors of the whole catalogue, `[N, D]`."""
        own = tf.pad(self.own, [[0, len(self) - self.clicked], [0, 0]])
        return self._finished(own, tf.range(len(self))).numpy()

    def _fresh(self, name: str, rows: int, size: int) -> tf.Variable:
        spread = keras.initializers.RandomUniform(-SPREAD, SPREAD)
        return self.add_weight(name=name, shape=(rows, size), initializer=spread)

    def _finished(self, own: tf.Tensor, items: tf.Tensor) -> tf.Tensor:
        vectors = own
        if self.values or self.numeric is not None:
            vectors += tf.reshape(self._described(tf.reshape(items, [-1])), tf.shape(own))
        return tf.math.l2_normalize(vectors, axis=-1) if self._unit else vectors

    def _described(self, items: tf.Tensor) -> tf.Tensor:
        total = 0.0 if self.numeric is None else tf.gather(self._numbers, items) @ self.numeric
        for values, lists in zip(self.values, self._lists, strict=True):
            chosen = tf.gather(lists, items)
            sums = tf.math.unsorted_segment_sum(
                tf.gather(values, chosen.flat_values), chosen.value_rowids(), tf.shape(items)[0]
            )
            total += tf.math.divide_no_nan(sums, tf.cast(chosen.row_lengths(), tf.float32)[:, None])
        return total
