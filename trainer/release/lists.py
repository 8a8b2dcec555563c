"""Lists of similar items, for approximate ranking of a large catalogue (`worker.core.lists`).

Items are divided by k-means. Their vectors are weighted by the held-out states: two items are near if the
states score them alike. The margin is the smallest at which approximate ranking finds `wanted_recall` of the
exact top `TOP` of one half of the states; the recall in the manifest is measured on the other half.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from worker.core.cells import Floats
from worker.core.ranking import Indexes

RECALL: Final = 0.994
HUGE: Final = 500_000
HUGE_RECALL: Final = 0.987
"""The recall for which the margin is chosen: somewhat more than the aims, 0.99, and 0.98 for more than
`HUGE` items. With a million items, 0.99 would cost three times as much.
"""

TOP: Final = 20
SESSIONS: Final = 4_000
STATES: Final = 4_000
"""Recall is measured with up to `STATES` states, of the newest `SESSIONS` held-out sessions."""

_STEPS: Final = 10
_SAMPLES: Final = 50
"""Iterations of k-means, and vectors per list that it learns from."""

_AT_ONCE: Final = 1 << 14


class ItemLists(NamedTuple):
    """The list of each item `[N]`, the margin within which lists are scored, and the recall."""

    lists: Indexes
    margin: float
    recall: float


def divided(vectors: Floats, states: Floats, *, seed: int = 0) -> Indexes:
    """Return the list `[N]` of each item with `vectors` `[N, H]`; lists are numbered from 0, none is empty.

    `states` `[M, H]`: hidden vectors that items are ranked for. About 2 sqrt(N) lists cost least.
    """
    random = np.random.default_rng(seed)
    count = min(len(vectors), 1 << max(0, round(np.log2(2 * np.sqrt(len(vectors))))))
    weighted = vectors @ _root(states)
    sample = weighted[_some(random, len(weighted), _SAMPLES * count)]
    means = sample[_some(random, len(sample), count)]
    for _ in range(_STEPS):
        nearest = _nearest(sample, means)
        sizes = np.bincount(nearest, minlength=count)
        order = np.argsort(nearest, kind="stable")
        filled = sizes > 0
        starts = (np.cumsum(sizes) - sizes)[filled]
        means[filled] = np.add.reduceat(sample[order], starts, axis=0) / sizes[filled, None]
    return np.unique(_nearest(weighted, means), return_inverse=True)[1].astype(np.int32)


def wanted_recall(items: int) -> float:
    """Return the recall for which the margin is chosen, for a catalogue of `items` items."""
    return HUGE_RECALL if items > HUGE else RECALL


def margin_for(recall: Callable[[float], float], least: float, widest: float) -> float | None:
    """Return the smallest margin, to a sixteenth, with a `recall` of `least`; None: not up to `widest`."""
    if recall(0.0) >= least:
        return 0.0
    low, high = 0.0, widest / 64
    while recall(high) < least:
        low, high = high, 2 * high
        if high > widest:
            return None
    while high - low > high / 16:
        middle = (low + high) / 2
        low, high = (low, middle) if recall(middle) >= least else (middle, high)
    return high


def share_found(exact: Indexes, found: Indexes) -> float:
    """Return the share of the items in the rows of `exact` that are in the same row of `found`."""
    return float((exact[:, :, None] == found[:, None, :]).any(axis=2).mean())


def _root(states: Floats) -> Floats:
    """Return the root of the second moments of `states`: products of states and vectors as distances."""
    moments = states.T @ states / np.float32(len(states))
    # A direction in which no held-out state lies still counts a little.
    moments += np.eye(len(moments), dtype=np.float32) * np.float32(1e-4 * np.trace(moments) / len(moments))
    values, directions = np.linalg.eigh(moments)
    root: Floats = (directions * np.sqrt(np.maximum(values, 0))) @ directions.T
    return root.astype(np.float32)


def _some(random: np.random.Generator, count: int, most: int) -> NDArray[np.intp]:
    return random.permutation(count)[:most]


def _nearest(vectors: Floats, means: Floats) -> NDArray[np.intp]:
    """Return the nearest of `means` for each vector."""
    halves = np.einsum("ij,ij->i", means, means) / 2
    parts = (vectors[at : at + _AT_ONCE] for at in range(0, len(vectors), _AT_ONCE))
    return np.concatenate([np.argmax(part @ means.T - halves, axis=1) for part in parts])
