"""What the network has to beat: models that count, trained on the clicks before the cut alone.

Every list is full: what a model does not fill is filled with the most popular items it does not have.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final, NamedTuple, Protocol

import numpy as np
import polars as pl
from numpy.typing import NDArray

from trainer.clicks.timestamps import HOUR_MS
from trainer.dataset.decayed_counts import Past, transitions
from trainer.dataset.sessions import Sessions, to_arrays
from worker.core.catalogue import Catalogue
from worker.core.ranking import NO_ITEM, Indexes

Times = NDArray[np.int64]

_ROWS_AT_ONCE: Final = 8192


@dataclass(frozen=True, slots=True)
class PastSessions:
    """The clicks that a baseline may count: sessions over a catalogue of `items`, and each click's time."""

    sessions: Sessions
    times_ms: Times
    items: int

    @classmethod
    def of(cls, sessions: pl.DataFrame, catalogue: Catalogue) -> PastSessions:
        """The clicks in a table of `trainer.dataset.sessions.cut`."""
        times = sessions["timestamp_ms"].to_numpy()
        return cls(to_arrays(sessions, catalogue), times, len(catalogue))

    @property
    def clicks(self) -> NDArray[np.int64]:
        """`[N]`: the clicks on each item."""
        return counted(self.sessions.items, self.items)


class Asked(NamedTuple):
    """The predictions to be answered, one for each scored click of `sessions`.

    `times_ms` `[C]`: of every click. `excluded` `[P, X]`: what must not be in the list.
    """

    sessions: Sessions
    times_ms: Times
    excluded: Indexes

    @property
    def before(self) -> NDArray[np.int64]:
        """`[P]`: where the click before each prediction stands."""
        return np.flatnonzero(self.sessions.scored) - 1


class Baseline(Protocol):
    """A model to compare with."""

    def lists(self, asked: Asked, top: int) -> Indexes:
        """The `top` items for each prediction, best first, `[P, top]`; `NO_ITEM` where there is none."""


class Popular:
    """The most clicked items, the same for everyone."""

    def __init__(self, past: PastSessions) -> None:
        self._best = by_count(past.clicks)

    def lists(self, asked: Asked, top: int) -> Indexes:
        """The most clicked items that are not excluded."""
        return popular_lists(self._best, asked.excluded, top)


class RecentlyPopular:
    """The most clicked items of the last `hours` before the cut."""

    def __init__(self, past: PastSessions, hours: float) -> None:
        recent = past.times_ms > past.times_ms.max(initial=0) - hours * HOUR_MS
        clicks = counted(past.sessions.items[recent], past.items)
        # Items that were not clicked lately come by their clicks in all.
        self._best = np.lexsort((-past.clicks, -clicks)).astype(np.int32)

    def lists(self, asked: Asked, top: int) -> Indexes:
        """The most clicked items that are not excluded."""
        return popular_lists(self._best, asked.excluded, top)


class LivePopular:
    """The most clicked items of the last `hours`, counted anew at every full hour, held-out clicks too."""

    def __init__(self, past: PastSessions, hours: float) -> None:
        self._past = past
        self._window_ms = round(hours * HOUR_MS)
        self._clicks = past.clicks

    def lists(self, asked: Asked, top: int) -> Indexes:
        """Each prediction is answered with the counts as of the last full hour before it."""
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
    """What followed the last known item of the session most often: a first-order Markov chain."""

    def __init__(self, past: PastSessions) -> None:
        self._best = by_count(past.clicks)
        self._items = past.items
        self._past = Past.of(replace(past.sessions, times_ms=past.times_ms))

    def lists(self, asked: Asked, top: int) -> Indexes:
        """The most frequent successors that are not excluded."""
        last = last_known(asked.sessions)[asked.before]
        width, after_all = top + asked.excluded.shape[1], int(self._past.times_ms.max(initial=0)) + 1
        found = transitions(self._past, after_all, (math.inf,), items=self._items, entries=width)
        # The last row is that of NO_ITEM.
        successors = np.append(found.items, np.full((1, width), NO_ITEM, np.int32), axis=0)
        return filled(successors[last], self._best, asked.excluded, top)


def counted(items: Indexes, size: int) -> NDArray[np.int64]:
    """`[size]`: how often each item is in `items`."""
    return np.bincount(items[items != NO_ITEM], minlength=size)


def by_count(counts: NDArray[np.int64]) -> Indexes:
    """All items, those with the highest of `counts` first; among equals the lower index."""
    return np.argsort(-counts, kind="stable").astype(np.int32)


def last_known(sessions: Sessions) -> Indexes:
    """`[C]`: the last known item of the session at each click; `NO_ITEM` before the first."""
    here = np.arange(len(sessions.items))
    known = np.maximum.accumulate(np.where(sessions.items != NO_ITEM, here, -1))
    begins = np.repeat(sessions.starts[:-1], sessions.lengths)
    return np.where(known >= begins, sessions.items[known], NO_ITEM).astype(np.int32)


def popular_lists(popular: Indexes, excluded: Indexes, top: int) -> Indexes:
    """The first `top` of `popular` (best first) without each row's `excluded` `[P, X]`; `[P, top]`.

    Unused places hold `NO_ITEM`.
    """
    nothing = np.empty((len(excluded), 0), np.int32)
    return filled(nothing, popular, excluded, top)


def filled(lists: Indexes, popular: Indexes, excluded: Indexes, top: int) -> Indexes:
    """`lists` `[P, L]` without each row's `excluded` `[P, X]`, filled up with `popular` to `[P, top]`.

    Unused places hold `NO_ITEM`.
    """
    enough = popular[: lists.shape[1] + excluded.shape[1] + top]
    padded = np.append(enough, np.full(top, NO_ITEM, np.int32))
    out = np.empty((len(lists), top), np.int32)
    for first in range(0, len(lists), _ROWS_AT_ONCE):
        rows = slice(first, first + _ROWS_AT_ONCE)
        out[rows] = _filled(lists[rows], padded, excluded[rows], top)
    return out


def _filled(lists: Indexes, popular: Indexes, excluded: Indexes, top: int) -> Indexes:
    more = np.broadcast_to(popular, (len(lists), len(popular)))
    taken = np.concatenate([lists, excluded], axis=1)
    candidates = np.concatenate([lists, more], axis=1)
    dropped = np.concatenate([_any_in(lists, excluded), _any_in(more, taken)], axis=1)
    # What is empty in the middle goes to the end, behind all that is not dropped.
    kept = np.argsort(dropped | (candidates == NO_ITEM), axis=1, kind="stable")[:, :top]
    chosen = np.take_along_axis(candidates, kept, axis=1)
    return np.where(np.take_along_axis(dropped, kept, axis=1), NO_ITEM, chosen)


def _any_in(candidates: Indexes, others: Indexes) -> NDArray[np.bool_]:
    """Whether each of `candidates` `[P, C]` is among its row of `others` `[P, X]`."""
    found = np.zeros(candidates.shape, np.bool_)
    for column in others.T:
        found |= candidates == column[:, None]
    return found
