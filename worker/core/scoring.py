"""The terms of scores, and the similarity of items: for lists on request and their explanations.

>>> table = ItemTable(np.eye(3, dtype=np.float32), np.array([0, 0, 1], np.float32))
>>> hidden, none = np.array([[0.5, 2.0, 1.0]], np.float32), np.empty((1, 0), np.int32)
>>> {name: term.tolist() for name, term in parts(hidden, table, none, none).items()}
{'network': [0.5, 2.0, 1.0], 'popularity': [0.0, 0.0, 1.0]}
"""

from __future__ import annotations

from typing import Final

import numpy as np

from worker.core.ranking import Floats, Indexes, ItemTable
from worker.core.search import quiet

_LONG: Final = 1 << 16
"""Vectors whose lengths are computed at once."""


def parts(hidden: Floats, table: ItemTable, recent: Indexes, own: Indexes) -> dict[str, Floats]:
    """Return the terms of the scores of all items for one row, `[N]` each, by name.

    `hidden` is `[1, H]`, `recent` and `own` as for `ranking.top_k`. `network` and `popularity` are always
    there, the other terms if the table has them. Unavailable items have their terms, too.
    """
    places = table.places(np.arange(table.items, dtype=np.int32))
    found = {
        "network": (table.vectors[:, : hidden.shape[1]] @ hidden[0])[places],
        "popularity": table.bias(places),
    }
    for name, gains in table.named_gains(recent, own).items():
        real = gains.without_padding()
        found[name] = np.zeros(table.items, np.float32)
        np.add.at(found[name], real.items, real.gains)
    return found


def lengths(table: ItemTable, size: int) -> Floats:
    """Return the lengths of the item vectors, of `size` numbers, by place; at least a tiny number."""
    found = np.empty(len(table.vectors), np.float32)
    for begin in range(0, len(found), _LONG):
        part = table.vectors[begin : begin + _LONG, :size]
        found[begin : begin + _LONG] = np.sqrt(np.einsum("ij,ij->i", part, part))
    return np.maximum(found, np.float32(1e-6))


def similarities(item: int, table: ItemTable, lengths: Floats, size: int) -> Floats:
    """Return the cosines of the vector of an item with those of all items, `[N]`; -inf: unavailable.

    `lengths`: those of the vectors, of `size` numbers, by place.
    """
    place, *_ = table.places(np.array([item], np.int32))
    vectors = table.vectors
    with quiet():
        cosines: Floats = vectors[:, :size] @ vectors[place, :size]
    cosines /= lengths * lengths[place]
    if vectors.shape[1] > size:
        cosines[vectors[:, size] == -np.inf] = -np.inf
    if table.ids is None:
        return cosines[: table.items]
    found = np.empty(table.items, np.float32)
    found[table.ids[: table.items]] = cosines[: table.items]
    return found
