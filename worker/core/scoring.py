"""The scores of chosen items, the terms of a score, and the similarity of items: for lists on request.

`worker.core.ranking` ranks all items for many rows at once. A request may ask for less: the best among the
items with a tag, or why an item has its score.

    >>> table = ItemTable(np.eye(3, dtype=np.float32), np.array([0, 0, 1], np.float32))
    >>> hidden, none = np.array([[0.5, 2.0, 1.0]], np.float32), np.empty((1, 0), np.int32)
    >>> top_k_among(np.array([0, 2], np.int32), hidden, table, 2).indexes.tolist()
    [[2, 0]]
    >>> {name: term.tolist() for name, term in parts(hidden, table, none, none).items()}
    {'network': [0.5, 2.0, 1.0], 'popularity': [0.0, 0.0, 1.0]}
"""

from __future__ import annotations

from typing import Final

import numpy as np

from worker.core.ranking import (
    NO_ITEM,
    Floats,
    Gains,
    Indexes,
    ItemTable,
    TopK,
    checked_clicks,
    excluded_gains,
)
from worker.core.search import Best, group_count, quiet

_SCORES: Final = 1 << 21
"""Maximum scores that are made at once, of several rows: 8 MiB."""

_LONG: Final = 1 << 16
"""Vectors whose lengths are computed at once."""


def top_k_among(
    items: Indexes,
    hidden: Floats,
    table: ItemTable,
    k: int,
    *,
    excluded: Indexes | None = None,
    recent: Indexes | None = None,
    own: Indexes | None = None,
) -> TopK:
    """Return the best `k` of some different `items`, ascending. See `ranking.top_k` for the arguments."""
    recent = checked_clicks(recent, len(hidden), table.recent_needed, "session")
    own = checked_clicks(own, len(hidden), table.own_needed, "user")
    found = TopK(np.full((len(hidden), k), NO_ITEM, np.int32), np.full((len(hidden), k), -np.inf, np.float32))
    if not len(items):
        return found
    vectors = table.vectors[table.places(items)]
    step = group_count(len(items))
    width = -(-len(items) // step) * step
    ids = np.append(items, np.full(width - len(items), NO_ITEM, np.int32))
    rows = max(1, _SCORES // width)
    for start in range(0, len(hidden), rows):
        part = slice(start, start + rows)
        here = table.rows(hidden[part])
        scores = np.full((len(here), width), -np.inf, np.float32)
        with quiet():
            np.matmul(here, vectors.T, out=scores[:, : len(items)])
        _add(scores, items, table.gains(recent[part], own[part]))
        _add(scores, items, excluded_gains(excluded, part))
        best = Best(len(here), k, ids)
        best.add(scores, 0)
        found.indexes[part], found.scores[part] = best.ranked()
    found.indexes[found.scores == -np.inf] = NO_ITEM
    return found


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


def _add(scores: Floats, items: Indexes, gains: Gains) -> None:
    """Add gains to the `scores` `[B, n]` of `items`; those of other items do not count."""
    places = np.minimum(np.searchsorted(items, gains.items), len(items) - 1)
    here = items[places] == gains.items
    np.add.at(scores, (gains.rows[here], places[here]), gains.gains[here])
