"""Decayed counts: what is clicked at present, and after what, with clicks that fade with their age.

A click that is `a` hours old counts `0.5 ** (a / half_life)`; with an endless half-life, 1. A prior of a
moment knows only clicks before it, so it never contains what it is asked to predict.

    popularity   [N, K]     of each item, by half-life: the sum over its clicks
    transitions  [N, E, K]  of each pair of items, by half-life: the sum over the clicks on the second that
                            came right after one on the first, for the E most frequent second ones

>>> past = Past(np.array([0, 1, 1]), np.array([NO_ITEM, 0, 1]), np.array([0, 3_600_000, 7_200_000]))
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
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from trainer.clicks.timestamps import HOUR_MS
from trainer.dataset.sessions import Sessions
from worker.core.cells import Floats
from worker.core.ranking import NO_ITEM, Indexes


class Past(NamedTuple):
    """Clicks to count, `[C]` each: their items, the item clicked before in the session, and their times.

    `NO_ITEM` stands for an item that the catalogue lacks, and where a session begins.
    """

    items: Indexes
    previous: Indexes
    times_ms: NDArray[np.int64]

    @classmethod
    def of(cls, sessions: Sessions) -> Past:
        """Return the clicks of `sessions`. Raises ValueError if their times are not known."""
        if sessions.times_ms is None:
            raise ValueError("clicks without times cannot fade")
        previous = np.append(np.int32(NO_ITEM), sessions.items[:-1])[: len(sessions.items)]
        previous[sessions.starts[:-1]] = NO_ITEM
        return cls(sessions.items, previous, sessions.times_ms)

    def between(self, begin_ms: float, end_ms: float) -> Past:
        """Return the clicks from `begin_ms` to before `end_ms`."""
        inside = (self.times_ms >= begin_ms) & (self.times_ms < end_ms)
        return Past(self.items[inside], self.previous[inside], self.times_ms[inside])

    def and_then(self, later: Past) -> Past:
        """Return these clicks and `later` ones."""
        items, previous = (np.append(one, more) for one, more in zip(self[:2], later[:2], strict=True))
        return Past(items, previous, np.append(self.times_ms, later.times_ms))


class Transitions(NamedTuple):
    """For each item those that are clicked next, the most frequent first; `NO_ITEM` and 0 where none."""

    items: Indexes
    """`[N, E]`."""
    counts: Floats
    """`[N, E, K]`."""


def popularity(past: Past, now_ms: int, half_lives_hours: Sequence[float], *, items: int) -> Floats:
    """Return the decayed counts of all `items` at `now_ms`, `[N, K]`."""
    past = past.between(-math.inf, now_ms)
    known = past.items != NO_ITEM
    weights = _weights(now_ms - past.times_ms[known], half_lives_hours)
    counts = np.zeros((items, len(weights)), np.float32)
    for place, weight in enumerate(weights):
        counts[:, place] = np.bincount(past.items[known], weight, items)
    return counts


def transitions(
    past: Past, now_ms: int, half_lives_hours: Sequence[float], *, items: int, entries: int
) -> Transitions:
    """Return the decayed counts of what follows each item at `now_ms`: its `entries` highest ones.

    Among equals the lower index comes first.
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
    first, second = np.divmod(pairs, items)
    order = np.lexsort((second, -counts.sum(axis=1), first))
    first, second, counts = first[order], second[order], counts[order]
    column = np.arange(len(first)) - np.searchsorted(first, first)
    kept = column < entries
    found = Transitions(
        np.full((items, entries), NO_ITEM, np.int32),
        np.zeros((items, entries, len(half_lives_hours)), np.float32),
    )
    found.items[first[kept], column[kept]] = second[kept]
    found.counts[first[kept], column[kept]] = counts[kept]
    return found


def _weights(ages_ms: NDArray[np.int64], half_lives_hours: Sequence[float]) -> list[NDArray[np.float64]]:
    """Return the weights of clicks of these ages, by half-life."""
    return [0.5 ** (ages_ms / (HOUR_MS * half_life)) for half_life in half_lives_hours]
