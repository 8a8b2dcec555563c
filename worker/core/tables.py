"""The tables that advance states and rank items, built from the tensors of a network.

Nothing is checked here. A worker builds tables from bytes that `worker.core.release.verify` has checked; the
trainer evaluates with tables of the network that it is training.

    >>> eye = np.eye(2, dtype=np.float32)
    >>> tensors = {"embedding": eye, "kernel": 2 * eye, "recurrent_kernel": 0 * eye, "bias": 0 * eye[0]}
    >>> tables = ServingTables(tensors, cell="elman", popular=np.array([1, 0], np.int32))
    >>> states = tables.step(tables.inputs(np.array([1], np.int32)), np.zeros((1, 2), np.float32))
    >>> tables.rank(states, 2).indexes.tolist()
    [[1, 0]]
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from worker.core import scoring
from worker.core.cells import CELLS, Floats
from worker.core.layers import Layers
from worker.core.lists import Lists
from worker.core.placing import Asked, Part, ranked
from worker.core.ranking import Indexes, ItemRows, ItemTable, OwnItems, TopK, top_k

MAX_INPUTS_BYTES: Final = 1 << 28
"""Up to this size, in bytes, the input half of a step is precomputed for the whole catalogue.

For a GRU, it takes three times as much as the item vectors. Of a larger catalogue, it would be most of the
memory; to compute it from the item's vector costs a few microseconds per click.
"""

Ranking = Literal["auto", "exact", "approximate"]

EXACT_NUMBERS: Final = 5_000_000
"""Up to this many numbers in the item vectors, ranking is exact unless a worker's settings say otherwise.

Exact ranking then takes less than 100 microseconds of CPU per list: 1.6 to 2.6 per thousand vectors of 128
numbers, measured on one core of an AMD EPYC, 500 lists at a time.
"""


class ServingTables:
    """The tables that advance states and rank items.

    `worker.core.release.pack` describes `tensors`; `Manifest` describes the other arguments.

    `popular`: the indexes of the fallback items, best first. The tables are immutable, so threads may share
    them. Only `rank`, which uses scratch space, `similarities`, and `adjust`, which changes what they return,
    are for one thread: the one that serves.
    """

    def __init__(
        self,
        tensors: Mapping[str, NDArray[Any]],
        *,
        cell: str,
        popular: Indexes,
        normalize: bool = False,
        scale: float = 1.0,
        co_occurrence_decay: Sequence[float] = (),
        repeat_bias: Sequence[float] = (),
        own_items: OwnItems = OwnItems(),  # noqa: B008  # immutable
        list_margin: float = 0.0,
    ) -> None:
        self._hidden_size = len(tensors["recurrent_kernel"])
        self._normalize, self._scale = normalize, scale
        self._layers = Layers.of(CELLS[cell], tensors)
        self._embedding = tensors["embedding"]
        self._inputs = self._precomputed_inputs()
        vectors = tensors.get("output", tensors["embedding"])
        self._table = ItemTable(
            vectors,
            tensors.get("output_bias"),
            transitions=_item_rows(tensors, "transition"),
            co_occurrences=_item_rows(tensors, "co_occurrence"),
            co_occurrence_decay=co_occurrence_decay,
            repeat_bias=repeat_bias,
            own_items=own_items,
            lists=tensors.get("lists"),
            finished=unit if normalize else None,
        )
        self.lists = Lists(self._table, margin=list_margin) if "lists" in tensors else None
        """The lists of items, for approximate ranking."""
        self._lengths: Floats | None = None
        """By place: the lengths of the item vectors, once they were needed."""
        self.items = len(self._embedding)
        self.popular = popular
        self.state_size = len(self._layers.layers) * CELLS[cell].state_size(self._hidden_size)
        self.recent_needed = self._table.recent_needed
        """The number of a session's most recent clicks that ranking needs."""
        self.own_needed = self._table.own_needed
        """The number of a user's most recent clicks, across sessions, that ranking needs."""

    def approximates(self, ranking: Ranking) -> bool:
        """Return whether lists are ranked approximately under the setting `ranking`.

        Without lists of items, ranking is always exact.
        """
        large = self.items * self._hidden_size > EXACT_NUMBERS
        return self.lists is not None and (ranking == "approximate" or (ranking == "auto" and large))

    def inputs(self, indexes: Indexes) -> Floats:
        """Return the input half of the lowest layer's step for each item: `W_x x + b`, `[gates, B, H]`."""
        if self._inputs is not None:
            return self._inputs[:, indexes]
        return self._layers.inputs(self._embedding[indexes].astype(np.float32, copy=False))

    def step(self, inputs: Floats, states: Floats) -> Floats:
        """Return the states `[B, S]` of all layers after one click of each user with input half `inputs`."""
        return self._layers.step(inputs, states)

    def rank(
        self,
        states: Floats,
        k: int,
        excluded: Indexes | None = None,
        recent: Indexes | None = None,
        *,
        own: Indexes | None = None,
        approximate: bool = False,
        parts: Sequence[Part] = (),
    ) -> TopK:
        """Return the `k` best items for each state `[B, S]`, except the items in its row of `excluded`.

        If `approximate`, some of them may be missing (`worker.core.lists`); the tables must have lists.
        `parts`: the constraints of the rows (`worker.core.placing`), each row in one part; empty: none.

        `recent` `[B, recent_needed]`: the last clicks of each session, newest first; `NO_ITEM` stands for an
        unknown item or no click. `own` `[B, own_needed]`: the last clicks of each user, across sessions.
        Raises ValueError if `recent` or `own` is needed and missing.
        """
        hidden = self.hidden(states)
        if any(part.constraint for part in parts):
            lists = self.lists if approximate else None
            return ranked(self._table, lists, Asked(hidden, excluded, recent, own), k, parts)
        if approximate and self.lists is not None:
            return self.lists.top_k(hidden, k, excluded, recent, own=own)
        return top_k(hidden, self._table, k, excluded, recent, own=own)

    def scores(self, states: Floats, recent: Indexes, own: Indexes) -> Floats:
        """Return the scores of all items for each state, `[B, N]`, as if no item had been adjusted.

        For the arguments see `rank`. This takes much longer than to rank.
        """
        hidden, table = self.hidden(states), self._table
        places = table.places(np.arange(table.items, dtype=np.int32))
        scores = (hidden @ table.vectors[:, : hidden.shape[1]].T)[:, places] + table.bias(places)
        gains = table.gains(recent, own).without_padding()
        np.add.at(scores, (gains.rows, gains.items), gains.gains)
        return scores

    def parts(self, state: Floats, recent: Indexes, own: Indexes) -> dict[str, Floats]:
        """Return the terms of the scores of all items for one state `[1, S]`, by name, `[N]` each.

        Their sum is what `rank` compares, except for unavailable items, which have their terms, too.
        """
        return scoring.parts(self.hidden(state), self._table, recent, own)

    def similarities(self, item: int) -> Floats:
        """Return the cosines of the vector of an item with those of all items, `[N]`; -inf: unavailable."""
        if self._lengths is None:
            self._lengths = scoring.lengths(self._table, self._hidden_size)
        return scoring.similarities(item, self._table, self._lengths, self._hidden_size)

    def adjust(self, items: Indexes, change: Floats) -> None:
        """Set by how much the scores of some different items change; -inf: as if they did not exist."""
        changed = self._table.adjust(items, change)
        if self.lists is not None:
            self.lists.note(changed)

    def hidden(self, states: Floats) -> Floats:
        """Return what is multiplied with `vectors` for scores of the states `[B, S]`, `[B, H]`."""
        hidden = states[:, : self._hidden_size]
        if self._normalize:
            hidden = unit(hidden)
        return hidden if self._scale == 1 else hidden * np.float32(self._scale)

    @property
    def table_bytes(self) -> int:
        """The memory of the tables that grow with the catalogue, in bytes."""
        inputs = 0 if self._inputs is None else self._inputs.nbytes
        return self._embedding.nbytes + inputs + self._table.nbytes

    @property
    def vectors(self) -> Floats:
        """The output vectors of all items in their order, `[N, H]`, of unit length with `normalize`."""
        return self._table.in_order()

    def _precomputed_inputs(self) -> Floats | None:
        if len(self._embedding) * self._layers.layers[0].bias.nbytes > MAX_INPUTS_BYTES:
            return None
        return self._layers.inputs(self._embedding.astype(np.float32, copy=False))


def _item_rows(tensors: Mapping[str, NDArray[Any]], name: str) -> ItemRows | None:
    if f"{name}_items" not in tensors:
        return None
    return ItemRows(tensors[f"{name}_items"], tensors[f"{name}_scores"])


def unit(vectors: Floats) -> Floats:
    """Return the vectors, scaled to length 1. The epsilon, as in Keras, keeps a zero vector at zero."""
    squares = np.einsum("ij,ij->i", vectors, vectors)
    scaled: Floats = vectors / np.sqrt(np.maximum(squares, np.float32(1e-12)))[:, None]
    return scaled
