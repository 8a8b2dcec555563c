"""Baselines: simple models that count the clicks before the hold-out. The network has to beat them.

Lists are always full: if a model has too few items, its list is filled up with the most popular other items.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from trainer.clicks.timestamps import HOUR_MS
from trainer.dataset.decayed_counts import Past, transitions
from trainer.dataset.lists import by_count, counted, filled, popular_lists
from trainer.dataset.sessions import PastSessions, Sessions
from worker.core.ranking import NO_ITEM, Indexes

Times = NDArray[np.int64]


class Asked(NamedTuple):
    """The predictions to answer: one for each scored click of `sessions`.

    `times_ms` `[C]`: the time of each click. `excluded` `[P, X]`: items that must not be in the list.
    """

    sessions: Sessions
    times_ms: Times
    excluded: Indexes

    @property
    def before(self) -> NDArray[np.int64]:
        """`[P]`: the index of the click before each prediction."""
        return np.flatnonzero(self.sessions.scored) - 1


class Baseline(Protocol):
    """A model that the network is compared with."""

    def lists(self, asked: Asked, top: int) -> Indexes:
        """Return the `top` items for each prediction, best first, `[P, top]`, padded with `NO_ITEM`."""


class Popular:
    """The most clicked items, the same for everyone."""

    def __init__(self, past: PastSessions) -> None:
        self._best = by_count(past.clicks)

    def lists(self, asked: Asked, top: int) -> Indexes:
        """Return the most clicked items that are not excluded."""
        return popular_lists(self._best, asked.excluded, top)


class RecentlyPopular:
    """The most clicked items of the last `hours` before the hold-out."""

    def __init__(self, past: PastSessions, hours: float) -> None:
        recent = past.times_ms > past.times_ms.max(initial=0) - hours * HOUR_MS
        clicks = counted(past.sessions.items[recent], past.items)
        # Ties, such as items without recent clicks, are ordered by total clicks.
        self._best = np.lexsort((-past.clicks, -clicks)).astype(np.int32)

    def lists(self, asked: Asked, top: int) -> Indexes:
        """Return the most clicked items that are not excluded."""
        return popular_lists(self._best, asked.excluded, top)


class LivePopular:
    """The most clicked items of the last `hours`, recounted every full hour, including held-out clicks."""

    def __init__(self, past: PastSessions, hours: float) -> None:
        self._past = past
        self._window_ms = round(hours * HOUR_MS)
        self._clicks = past.clicks

    def lists(self, asked: Asked, top: int) -> Indexes:
        """Return the most clicked items as of the last full hour before each prediction."""
        items = np.append(self._past.sessions.items, asked.sessions.items)
        times = np.append(self._past.times_ms, asked.times_ms)
        order = np.argsort(times, kind="stable")
        items, times = items[order], times[order]
        hours = asked.times_ms[asked.before] // HOUR_MS * HOUR_MS
        lists = np.empty((len(hours), top), np.int32)
        for hour in np.unique(hours).tolist():
            begin, end = np.searchsorted(times, [hour - self._window_ms, hour])
            here = hours == hour
            clicks = counted(items[begin:end], self._past.items)
            best = np.lexsort((-self._clicks, -clicks)).astype(np.int32)
            lists[here] = popular_lists(best, asked.excluded[here], top)
        return lists


class Markov:
    """A first-order Markov chain: the most frequent successors of the last known item of the session."""

    def __init__(self, past: PastSessions) -> None:
        self._best = by_count(past.clicks)
        self._items = past.items
        self._past = Past.of(replace(past.sessions, times_ms=past.times_ms))

    def lists(self, asked: Asked, top: int) -> Indexes:
        """Return the most frequent successors that are not excluded."""
        last = last_known(asked.sessions)[asked.before]
        width, after_all = top + asked.excluded.shape[1], int(self._past.times_ms.max(initial=0)) + 1
        found = transitions(self._past, after_all, (math.inf,), items=self._items, entries=width)
        # `NO_ITEM` is -1, so it selects the added last row, which is empty.
        successors = np.append(found.items, np.full((1, width), NO_ITEM, np.int32), axis=0)
        return filled(successors[last], self._best, asked.excluded, top)


def last_known(sessions: Sessions) -> Indexes:
    """Return the last known item of the session up to each click, `[C]`; `NO_ITEM` if there is none yet."""
    here = np.arange(len(sessions.items))
    known = np.maximum.accumulate(np.where(sessions.items != NO_ITEM, here, -1))
    begins = np.repeat(sessions.starts[:-1], sessions.lengths)
    return np.where(known >= begins, sessions.items[known], NO_ITEM).astype(np.int32)
