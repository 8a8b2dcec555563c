"""Exponentially decayed counts of item clicks and of transitions between items.

A click that is `a` hours old has the weight `0.5 ** (a / half_life)`; with an infinite half-life, 1. Counts
at a given time include only earlier clicks, so they never contain the click to be predicted.

    popularity   [N, K]     per item and half-life: the sum of the weights of its clicks
    transitions  [N, E, K]  per item, successor and half-life: the sum of the weights of the clicks on the
                            successor that directly follow a click on the item; E successors per item

>>> times_ms = np.array([0, 3_600_000, 7_200_000])
>>> past = Past(np.array([0, 1, 1]), np.array([NO_ITEM, 0, 1]), times_ms, np.arange(3))
>>> popularity(past, 7_200_001, (1.0, math.inf), items=2).round(3).tolist()
[[0.25, 1.0], [1.5, 2.0]]
>>> popularity(past, 7_200_000, (1.0,), items=2).round(3).tolist()
[[0.25], [0.5]]
>>> following = transitions(past, 7_200_001, (1.0, math.inf), items=2, entries=2)
>>> following.items.tolist(), following.counts.round(3)[:, 0].tolist()
([[1, -1], [1, -1]], [[0.5, 1.0], [1.0, 1.0]])
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from trainer.clicks.timestamps import HOUR_MS
from trainer.dataset.sessions import Sessions
from worker.core.cells import Floats
from worker.core.ranking import NO_ITEM, Indexes

REACH: Final = 10
"""The number of clicks within which two clicks of a session co-occur (`trainer.dataset.co_occurrences`)."""


class Past(NamedTuple):
    """C clicks to count, as arrays `[C]`: the item, the previous item in the session, and the time in ms.

    An item is `NO_ITEM` if it is not in the catalogue. The previous item of a session's first click is
    `NO_ITEM`, too. `places`: the place of each click; the places of a session are consecutive, and those of
    two sessions are more than `REACH` apart. So a selection of clicks keeps its distances.
    """

    items: Indexes
    previous: Indexes
    times_ms: NDArray[np.int64]
    places: NDArray[np.int64]

    @classmethod
    def of(cls, sessions: Sessions) -> Past:
        """Return the clicks of `sessions`. Raises ValueError if they have no times."""
        times_ms = sessions.known_times_ms
        previous = np.append(np.int32(NO_ITEM), sessions.items[:-1])[: len(sessions.items)]
        previous[sessions.starts[:-1]] = NO_ITEM
        session = np.repeat(np.arange(len(sessions)), sessions.lengths)
        return cls(sessions.items, previous, times_ms, np.arange(len(previous)) + REACH * session)

    def between(self, begin_ms: float, end_ms: float) -> Past:
        """Return the clicks from `begin_ms` to `end_ms` (exclusive)."""
        inside = (self.times_ms >= begin_ms) & (self.times_ms < end_ms)
        return Past(self.items[inside], self.previous[inside], self.times_ms[inside], self.places[inside])

    def and_then(self, later: Past) -> Past:
        """Return these clicks followed by `later` clicks."""
        beyond = int(self.places.max(initial=0)) + REACH + 1
        return Past(
            np.append(self.items, later.items),
            np.append(self.previous, later.previous),
            np.append(self.times_ms, later.times_ms),
            np.append(self.places, later.places + beyond),
        )


class Entries(NamedTuple):
    """For each of R rows, such as items, the items with the highest counts, padded with `NO_ITEM`."""

    items: Indexes
    """`[R, E]`: the items, highest count first."""
    counts: Floats
    """`[R, E, K]`: their K counts, 0 for padding."""

    @classmethod
    def none(cls, *, rows: int, entries: int, kinds: int = 1) -> Self:
        """Return `entries` unused entries for each row, with `kinds` counts."""
        return cls(np.full((rows, entries), NO_ITEM, np.int32), np.zeros((rows, entries, kinds), np.float32))

    def put(self, rows: NDArray[np.int64], items: NDArray[np.int64], counts: NDArray[np.float64]) -> None:
        """Enter the items with the highest counts of each row, up to E per row.

        `rows` and `items` `[P]`: distinct pairs in ascending order; all pairs of a row come in the same call.
        `counts` `[P, K]`. Items are ordered by the sum of their counts; ties by lower index.
        """
        # Sorting within the rows moves no row, because they are ascending already.
        order = np.lexsort((items, -counts.sum(axis=1), rows))
        column = np.arange(len(rows)) - np.searchsorted(rows, rows)
        kept = column < self.items.shape[1]
        chosen = order[kept]
        self.items[rows[kept], column[kept]] = items[chosen]
        self.counts[rows[kept], column[kept]] = counts[chosen]


def popularity(past: Past, now_ms: int, half_lives_hours: Sequence[float], *, items: int) -> Floats:
    """Return the decayed click counts `[N, K]` of N = `items` items at `now_ms`, by half-life."""
    past = past.between(-math.inf, now_ms)
    known = past.items != NO_ITEM
    weights = _weights(now_ms - past.times_ms[known], half_lives_hours)
    counts = np.zeros((items, len(weights)), np.float32)
    for place, weight in enumerate(weights):
        counts[:, place] = np.bincount(past.items[known], weight, items)
    return counts


def transitions(
    past: Past, now_ms: int, half_lives_hours: Sequence[float], *, items: int, entries: int
) -> Entries:
    """Return the most frequent successors of each item at `now_ms`, up to `entries` per item.

    `items` is the size of the catalogue. Successors are ordered by the sum of their counts over the
    half-lives; ties by lower index.
    """
    past = past.between(-math.inf, now_ms)
    known = (past.items != NO_ITEM) & (past.previous != NO_ITEM)
    pairs, pair = np.unique(
        past.previous[known].astype(np.int64) * items + past.items[known], return_inverse=True
    )
    weights = _weights(now_ms - past.times_ms[known], half_lives_hours)
    counts = np.zeros((len(pairs), len(weights)))
    for place, weight in enumerate(weights):
        counts[:, place] = np.bincount(pair, weight, len(pairs))
    found = Entries.none(rows=items, entries=entries, kinds=len(weights))
    found.put(*np.divmod(pairs, items), counts)
    return found


def _weights(ages_ms: NDArray[np.int64], half_lives_hours: Sequence[float]) -> list[NDArray[np.float64]]:
    """Return the weights of clicks with these ages, one array per half-life."""
    return [0.5 ** (ages_ms / (HOUR_MS * half_life)) for half_life in half_lives_hours]
