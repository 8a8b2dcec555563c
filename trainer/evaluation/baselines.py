"""Baselines: simple models that count the clicks before the hold-out. The network has to beat them.

Lists are always full: if a model has too few items, its list is filled up with the most popular other items.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Final, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from trainer.clicks.timestamps import HOUR_MS
from trainer.dataset.co_occurrences import co_occurrences
from trainer.dataset.decayed_counts import REACH, Entries, Past, transitions
from trainer.dataset.lists import by_count, counted, filled, popular_lists
from trainer.dataset.sessions import PastSessions, Sessions
from trainer.evaluation.replay import recent_items
from worker.core.ranking import NO_ITEM, Indexes, ItemRows, ItemTable, top_k

Times = NDArray[np.int64]

_OWN_CLICKS: Final = 500
_OWN_HALF_LIFE: Final = 50
"""Of a user's own clicks: the number that count, and the number of later clicks that halve a weight."""

_NEAR: Final = 200
"""The number of co-occurring items per item."""

_CLICKS_AT_ONCE: Final = 1 << 22
"""The number of clicks that are counted together, which limits the memory."""


class Asked(NamedTuple):
    """The predictions to answer: one for each scored click of `sessions`.

    `times_ms` `[C]`: the time of each click. `excluded` `[P, X]`: items that must not be in the list.
    `users` `[C]`: the user of each click, as in `PastSessions`. `context` `[C]`: whether the click is among
    the past sessions, too, as the earlier clicks of an endless session are.
    """

    sessions: Sessions
    times_ms: Times
    excluded: Indexes
    users: NDArray[np.uint64]
    context: NDArray[np.bool_]

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
        new = ~asked.context
        items = np.append(self._past.sessions.items, asked.sessions.items[new])
        times = np.append(self._past.times_ms, asked.times_ms[new])
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


class OwnItems:
    """The items that the user clicked most, in all sessions; recent clicks count more.

    Each of the user's last `_OWN_CLICKS` clicks, including those in the hold-out before the prediction, has
    the weight `0.5 ** (later clicks of the user / _OWN_HALF_LIFE)`.
    """

    def __init__(self, past: PastSessions) -> None:
        self._past = past
        self._best = by_count(past.clicks)

    def lists(self, asked: Asked, top: int) -> Indexes:
        """Return the user's own items that are not excluded; ties by lower index."""
        width = top + asked.excluded.shape[1]
        items, begins, ends = self._histories(asked)
        lists = np.full((len(ends), width), NO_ITEM, np.int32)
        total = np.append(0, np.cumsum(ends - begins))
        first = 0
        while first < len(ends):
            limit = np.searchsorted(total, total[first] + _CLICKS_AT_ONCE, side="right") - 1
            rows = slice(first, max(first + 1, int(limit)))
            lists[rows] = self._counted(items, begins[rows], ends[rows], width)
            first = rows.stop
        return filled(lists, self._best, asked.excluded, top)

    def _histories(self, asked: Asked) -> tuple[Indexes, NDArray[np.int64], NDArray[np.int64]]:
        """Return the items of all clicks by user, and where each prediction's clicks begin and end there."""
        past = self._past
        # If a user has context, `asked` has all sessions of the user with several clicks, in order.
        kept = ~np.isin(past.users, np.unique(asked.users[asked.context]))
        users = np.append(past.users[kept], asked.users)
        items = np.append(past.sessions.items[kept], asked.sessions.items)
        order = np.argsort(users, kind="stable")
        place = np.empty_like(order)
        place[order] = np.arange(len(order))
        last = place[np.count_nonzero(kept) + asked.before]
        begins = np.searchsorted(users[order], users[order][last])
        return items[order], np.maximum(begins, last + 1 - _OWN_CLICKS), last + 1

    def _counted(
        self, items: Indexes, begins: NDArray[np.int64], ends: NDArray[np.int64], width: int
    ) -> Indexes:
        """Return for each row the items with the highest weights among its clicks, from begin to end."""
        sizes = ends - begins
        row = np.repeat(np.arange(len(sizes)), sizes)
        click = np.arange(len(row)) - np.repeat(np.cumsum(sizes) - sizes - begins, sizes)
        known = items[click] != NO_ITEM
        row, click = row[known], click[known]
        weights = 0.5 ** ((ends[row] - 1 - click) / _OWN_HALF_LIFE)
        pairs, pair = np.unique(row * self._past.items + items[click], return_inverse=True)
        found = Entries.none(rows=len(sizes), entries=width)
        counts = np.zeros((len(pairs), 1))
        counts[:, 0] = np.bincount(pair, weights, len(pairs))
        found.put(*np.divmod(pairs, self._past.items), counts)
        return found.items


class CoOccurring:
    """The items that are clicked near the last clicks of the session most, in either order.

    Each of the last `REACH` clicks votes with its co-occurrences (`trainer.dataset.co_occurrences`), divided
    by the number of later clicks plus one.
    """

    def __init__(self, past: PastSessions) -> None:
        self._best = by_count(past.clicks)
        counted = Past.of(replace(past.sessions, times_ms=past.times_ms))
        after_all = int(past.times_ms.max(initial=0)) + 1
        near = co_occurrences(counted, after_all, items=past.items, entries=_NEAR)
        self._table = ItemTable(
            np.zeros((past.items, 1), np.float32),
            co_occurrences=ItemRows(near.items, near.counts[..., 0]),
            co_occurrence_decay=[1 / (lag + 1) for lag in range(REACH)],
        )

    def lists(self, asked: Asked, top: int) -> Indexes:
        """Return the items with the most votes that are not excluded; ties by lower index."""
        recent = recent_items(asked.sessions, REACH)
        nothing = np.zeros((len(recent), 1), np.float32)
        found = top_k(nothing, self._table, top + asked.excluded.shape[1], recent=recent)
        voted = np.where(found.scores > 0, found.indexes, NO_ITEM)
        return filled(voted, self._best, asked.excluded, top)


def last_known(sessions: Sessions) -> Indexes:
    """Return the last known item of the session up to each click, `[C]`; `NO_ITEM` if there is none yet."""
    here = np.arange(len(sessions.items))
    known = np.maximum.accumulate(np.where(sessions.items != NO_ITEM, here, -1))
    begins = np.repeat(sessions.starts[:-1], sessions.lengths)
    return np.where(known >= begins, sessions.items[known], NO_ITEM).astype(np.int32)
