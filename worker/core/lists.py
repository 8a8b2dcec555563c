"""Approximate top-K: only the lists of similar items whose mean scores are near the best are scored.

The trainer divides the items of a large catalogue into lists. It chooses a `margin`, and measures with which
recall the exact top items are found if a row scores the lists whose mean score is at most this much below
that of its best list. Items that gain by the row's clicks are scored wherever they are: the terms of a blend
lose nothing. Every score is the exact one.

Measured on a network trained on 43k real items, and jittered copies of them, 100k in all, at a recall of
0.99. The margin scores 2 to 3 % of the items; a fixed number of lists would score 10 %, because some rows
have one clear interest and others many. Rejected: scoring all items with the first 32 principal directions,
and then 200 candidates in full. The first product alone takes a quarter of exact ranking.

    >>> vectors = np.repeat(np.eye(2, dtype=np.float32), 3, axis=0)
    >>> table = ItemTable(vectors, lists=np.array([0, 0, 0, 1, 1, 1], np.int32))
    >>> Lists(table, margin=0.5).top_k(np.array([[1, 2]], np.float32), 2).indexes.tolist()
    [[3, 4]]
"""

from __future__ import annotations

from itertools import pairwise
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from worker.core.ranking import (
    ChangedRows,
    Floats,
    Gains,
    Indexes,
    ItemTable,
    TopK,
    checked_clicks,
    excluded_gains,
    top_k,
)
from worker.core.search import LOWEST, NO_ADJUSTS, Adjusts, Best, keys, kth, quiet

_GROUP: Final = 16
"""Scores of which only the maximum is compared at first; a power of two."""

_ROWS: Final = 512
_SCORES: Final = 1 << 24
"""Maximum rows and, of several rows, maximum scores that are made at once: 64 MiB. With fewer, a batch
reads the items of a large catalogue several times.
"""


class _Pairs(NamedTuple):
    """P pairs of a row and a list that it scores, in the order of lists."""

    rows: NDArray[np.intp]
    lists: NDArray[np.intp]
    starts: NDArray[np.intp]
    """`[P + 1]`: where the scores of each pair begin, in whole groups."""


class Lists:
    """The lists of an `ItemTable`. Not thread-safe.

    A row scores the lists whose mean score is at most `margin` below that of its best list.
    """

    def __init__(self, table: ItemTable, *, margin: float) -> None:
        if table.lists is None:
            raise ValueError("the table has no lists")
        self._table, vectors = table, table.vectors[: table.items]
        first = np.flatnonzero(np.r_[True, table.lists[1:] != table.lists[:-1]])
        self._starts = np.append(first, table.items)
        sizes = np.diff(self._starts)
        # One list at a time: `reduceat` lets no other thread run, for a second with a million vectors.
        sums = np.stack([vectors[begin:end].sum(axis=0) for begin, end in pairwise(self._starts)])
        self._means = sums / sizes[:, None].astype(np.float32)
        # In double precision, so that items that come and go leave nothing behind.
        self._sums, self._counts = sums.astype(np.float64), sizes
        """The sums of the vectors of the available items of each list, and the numbers of these items."""
        self._room = -(-sizes // _GROUP) * _GROUP
        self._list_at = np.repeat(np.arange(len(first)), sizes)
        self.margin = margin
        """May be changed at any time."""
        self._scratch = np.empty(0, np.float32)

    def top_k(
        self,
        hidden: Floats,
        k: int,
        excluded: Indexes | None = None,
        recent: Indexes | None = None,
        *,
        own: Indexes | None = None,
        adjusts: Adjusts = NO_ADJUSTS,
    ) -> TopK:
        """Return the best `k` items of the lists that are scored. For the arguments see `ranking.top_k`.

        `adjusts`: by how much the scores of rows change. A row of whose lists too few items are left is
        ranked exactly.
        """
        table = self._table
        recent = checked_clicks(recent, len(hidden), table.recent_needed, "session")
        own = checked_clicks(own, len(hidden), table.own_needed, "user")
        found = TopK(np.empty((len(hidden), k), np.int32), np.empty((len(hidden), k), np.float32))
        lifts = [self._lift(one) for one in adjusts.by_place]
        waiting = [slice(start, start + _ROWS) for start in range(0, len(hidden), _ROWS)]
        while waiting:
            part = waiting.pop()
            asked = table.rows(hidden[part])
            of = adjusts.taken(part) if lifts else NO_ADJUSTS
            pairs = self._chosen(asked, Adjusts(of.of, lifts))
            if len(asked) > 1 and pairs.starts[-1] > _SCORES:
                middle = part.start + len(asked) // 2
                waiting += [slice(part.start, middle), slice(middle, part.stop)]
                continue
            removed = excluded_gains(excluded, part)
            gains = table.gains(recent[part], own[part]).without_padding().and_then(removed)
            found.indexes[part], found.scores[part] = self._best(asked, pairs, k, gains, of)
        short = found.scores[:, -1] == -np.inf
        if short.any():
            exactly = top_k(
                hidden[short],
                table,
                k,
                None if excluded is None else excluded[short],
                recent[short],
                own=own[short],
                change=adjusts.taken(short).apply if lifts else None,
            )
            found.indexes[short], found.scores[short] = exactly
        return found

    def note(self, changed: ChangedRows) -> None:
        """Compute the means of lists again, because the biases of items of the table changed.

        A list without an available item is never chosen before one that has any.
        """
        if missing := changed.vectors.shape[1] + 1 - self._sums.shape[1]:
            self._sums, self._means = (
                np.pad(one, ((0, 0), (0, missing))) for one in (self._sums, self._means)
            )
        if not len(changed.places):
            return
        order = np.argsort(changed.places, kind="stable")
        lists = self._list_at[changed.places[order]]
        first = np.flatnonzero(np.r_[True, lists[1:] != lists[:-1]])
        of = lists[first]
        sign = np.zeros(len(order), np.int64)
        for biases, times in ((changed.before[order], -1), (changed.after[order], 1)):
            here = biases > -np.inf
            rows = np.column_stack([changed.vectors[order], biases]).astype(np.float64)
            self._sums[of] += times * np.add.reduceat(np.where(here[:, None], rows, 0), first, axis=0)
            sign += times * here
        self._counts[of] += np.add.reduceat(sign, first)
        counts = self._counts[of].astype(np.float32)
        self._means[of] = self._sums[of] / np.maximum(counts, 1)[:, None]
        empty = of[counts == 0]
        self._means[empty], self._means[empty, -1] = 0, -np.inf

    def scored_share(self, hidden: Floats) -> float:
        """Return the mean share of the items in the lists that the rows `hidden` `[B, H]` score."""
        sizes, pairs = np.diff(self._starts), self._chosen(self._table.rows(hidden))
        return float(sizes[pairs.lists].sum() / len(hidden) / self._table.items)

    def _lift(self, adjust: Floats) -> Floats:
        """Return by how much `adjust` changes the mean score of each list; -inf: nothing of it is left."""
        left = (adjust > -np.inf) & (self._table.vectors[: self._table.items, -1] > -np.inf)
        starts = self._starts[:-1]
        counts = np.add.reduceat(left, starts, dtype=np.int64)
        sums = np.add.reduceat(np.where(left, adjust, 0), starts)
        return np.where(counts > 0, sums / np.maximum(counts, 1), -np.inf).astype(np.float32)

    def _chosen(self, hidden: Floats, lifts: Adjusts = NO_ADJUSTS) -> _Pairs:
        """Return the pairs to score; `lifts` change the mean scores of lists."""
        with quiet():
            means = (self._means @ hidden.T).astype(np.float32, copy=False)
        if lifts.by_place:
            lifts.apply(means.T, slice(0, len(hidden)), 0)
        lists, rows = np.nonzero(means >= np.maximum(means.max(axis=0) - np.float32(self.margin), LOWEST))
        return _Pairs(rows, lists, np.append(0, np.cumsum(self._room[lists])))

    def _best(
        self, hidden: Floats, pairs: _Pairs, k: int, gains: Gains, adjusts: Adjusts
    ) -> tuple[Indexes, Floats]:
        flat = self._scores(hidden, pairs, adjusts)
        best = Best(len(hidden), k)
        best.add_keys(*self._gained(flat, pairs, hidden, gains, adjusts))
        best.add_keys(*self._searched(flat, pairs, len(hidden), k))
        return best.ranked()

    def _scores(self, hidden: Floats, pairs: _Pairs, adjusts: Adjusts) -> Floats:
        """Return the scores of pairs, without gains; after those of a list, -inf fills the last group."""
        rows, lists, starts = pairs
        if len(self._scratch) < starts[-1]:
            self._scratch = np.empty(starts[-1], np.float32)
        flat = self._scratch[: starts[-1]]
        flat.fill(-np.inf)
        asked, vectors = hidden[rows], self._table.vectors
        ends = np.cumsum(np.bincount(lists, minlength=len(self._room))).tolist()
        begin = 0
        # Hot path: the loop runs once per list, whatever the number of rows, and does nothing but products.
        with quiet():
            for number, end in enumerate(ends):
                if end > begin:
                    first, last = self._starts[number : number + 2]
                    out = flat[starts[begin] : starts[end]].reshape(end - begin, -1)[:, : last - first]
                    np.matmul(asked[begin:end], vectors[first:last].T, out=out)
                    begin = end
        for some, adjust in adjusts.rows(rows):
            first, sizes = self._starts[lists[some]], np.diff(self._starts)[lists[some]]
            within = np.arange(int(sizes.sum())) - np.repeat(np.cumsum(sizes) - sizes, sizes)
            flat[np.repeat(starts[some], sizes) + within] += adjust[np.repeat(first, sizes) + within]
        return flat

    def _gained(
        self, flat: Floats, pairs: _Pairs, hidden: Floats, gains: Gains, adjusts: Adjusts
    ) -> tuple[NDArray[np.intp], NDArray[np.int64]]:
        """Add `gains` to the scores; return rows and keys of the items that gain and are not scored yet."""
        table = self._table
        scored = np.full((len(hidden), len(self._room)), -1, np.int32)
        scored[pairs.rows, pairs.lists] = np.arange(len(pairs.rows))
        places = table.places(gains.items)
        lists = self._list_at[places]
        pair = scored[gains.rows, lists]
        here = pair >= 0
        at = pairs.starts[pair[here]] + (places - self._starts[lists])[here]
        np.add.at(flat, at, gains.gains[here])
        there = ~here
        both, which = np.unique(
            gains.rows[there] * table.items + places[there].astype(np.intp), return_inverse=True
        )
        row, place = np.divmod(both, table.items)
        scores = np.einsum("ij,ij->i", hidden[row], table.vectors[place])
        for some, adjust in adjusts.rows(row):
            scores[some] += adjust[place[some]]
        np.add.at(scores, which, gains.gains[there])
        return row, keys(scores, self._ids(place))

    def _searched(
        self, flat: Floats, pairs: _Pairs, rows: int, k: int
    ) -> tuple[NDArray[np.intp], NDArray[np.int64]]:
        """Return rows and keys of the scores among which are the top K of each row."""
        groups = flat.reshape(-1, _GROUP)
        maxima = flat
        # Hot path: halving takes a sixth of the time of a maximum over the rows of `groups`.
        while len(maxima) > len(groups):
            maxima = np.maximum(maxima[::2], maxima[1::2])
        counts = np.diff(pairs.starts) // _GROUP
        row = pairs.rows.repeat(counts)
        bound = np.maximum(kth(row, maxima, rows, k), LOWEST)
        chosen = np.flatnonzero(maxima >= bound[row])
        inside, row = groups[chosen], row[chosen]
        above, within = np.nonzero(inside >= bound[row, None])
        pair = np.repeat(np.arange(len(counts)), counts)[chosen][above]
        place = chosen[above] * _GROUP + within - pairs.starts[pair] + self._starts[pairs.lists[pair]]
        return row[above], keys(inside[above, within], self._ids(place))

    def _ids(self, places: NDArray[np.intp]) -> Indexes:
        assert self._table.ids is not None  # noqa: S101  # a table with lists has them
        return self._table.ids.take(places)
