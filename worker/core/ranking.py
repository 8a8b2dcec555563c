"""Exact top-K of a catalogue for many hidden vectors at once.

The product of hidden vectors and item vectors is unavoidable. But its result need not be kept: the scores are
made in tiles of rows and items that stay in the cache. There they get what the clicks add, and are searched
(`worker.core.search`).

    >>> table = ItemTable(np.eye(3, dtype=np.float32), None)
    >>> found = top_k(np.array([[0.5, 2.0, 1.0]], np.float32), table, 2)
    >>> found.indexes.tolist(), found.scores.tolist()
    ([[1, 2]], [[2.0, 1.0]])
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from worker.core.search import Best, Change, checked_clicks, group_count, quiet

Floats = NDArray[np.float32]
Indexes = NDArray[np.int32]

NO_ITEM: Final = -1
"""The index that means no item: an unknown item, nothing to exclude, or an unused position of a list."""

OWN_UNIT: Final = 0.1
"""Unit of the decayed counts of a user's own items; counts far below it add almost nothing."""

WHOLE: Final = 1 << 13
_WHOLE_SCORES: Final = 1 << 20
"""A catalogue of at most `WHOLE` items is one tile, of at most 4 MiB: fewer steps outweigh the cache."""

_TILE_ROWS: Final = 512
_TILE_SCORES: Final = 1 << 19
_TILE_STEP: Final = 1024
"""Larger catalogues: maximum rows and scores (2 MiB) of a tile, which has a multiple of `_TILE_STEP` items.
More rows make the matrix product more efficient.
"""

_LAID_OUT: Final = 1 << 16
"""Vectors that are laid out at once."""

_ONCE: Final = np.ones(1, np.float32)

_LOWER: Final = 0xFFFFFFFF


class TopK(NamedTuple):
    """`indexes` and `scores`, both `[B, K]`, best first; unused positions have `NO_ITEM` and -inf."""

    indexes: Indexes
    scores: Floats


class ItemRows(NamedTuple):
    """For each item, a row of other distinct items and what they gain, both `[N, E]`; padding: `NO_ITEM`."""

    items: Indexes
    scores: Floats


class OwnItems(NamedTuple):
    """A term for a user's own habits: a decayed count of the user's last clicks, across sessions.

    A click with `l` later clicks has the weight `0.5 ** (l / half_life)`. An item that is among the user's
    last `clicks` clicks gains `bonus + weight * log(1 + c / OWN_UNIT)` for the sum c of the weights of its
    clicks. With 0 `clicks`, there is no term.
    """

    clicks: int = 0
    weight: float = 0.0
    half_life: float = 1.0
    bonus: float = 0.0


class ItemTable:
    """The item vectors of a catalogue, laid out for `top_k`. Not thread-safe.

    The scores of items may be changed, to -inf as well, whatever clicks add, at no cost per row.

    `vectors` is `[N, H]`; `bias`, if any, `[N]`. A score is `hidden @ vectors.T + bias`, plus the item's
    score in the `transitions` of the last click, plus, for each click with `l` later clicks,
    `co_occurrence_decay[l]` times the item's score in the click's row of `co_occurrences`, plus
    `repeat_bias[l]` if the click was on the item, plus the item's gain by `own_items`.

    `vectors` may be in half precision; the table is in single precision. `finished`, if any, is applied to
    some vectors at a time.
    """

    def __init__(
        self,
        vectors: Floats,
        bias: Floats | None = None,
        *,
        transitions: ItemRows | None = None,
        co_occurrences: ItemRows | None = None,
        co_occurrence_decay: Sequence[float] = (),
        repeat_bias: Sequence[float] = (),
        own_items: OwnItems = OwnItems(),  # noqa: B008  # immutable
        lists: Indexes | None = None,
        finished: Callable[[Floats], Floats] | None = None,
    ) -> None:
        self.items, size = vectors.shape
        lags = 0 if co_occurrences is None else len(co_occurrence_decay)
        self.recent_needed = max(len(repeat_bias), lags, 0 if transitions is None else 1)
        """The number of the session's most recent clicks that a score depends on."""
        self.own_needed = own_items.clicks
        """The number of the user's most recent clicks, across sessions, that a score depends on."""
        self._is_whole = self.items <= WHOLE
        step = group_count(self.items) if self._is_whole else _TILE_STEP
        self.width = (self.items // step + 1) * step
        """The number of items with padding, of which there is at least one."""
        # Hot path: as a column of the product, a bias costs a third of adding it to all scores.
        self._has_bias = bias is not None
        self._true_bias: Floats | None = None
        """The bias by place, once an item was adjusted: `_vectors` then has another one."""
        self.lists = None if lists is None else np.sort(lists)
        """The list of each place, which is in the order of lists; None: places are items."""
        order = np.arange(self.items) if lists is None else np.argsort(lists, kind="stable")
        self._vectors = np.zeros((self.width, size + self._has_bias), np.float32)
        # In parts: vectors of a large catalogue, once more in another precision or order, double its memory.
        for begin in range(0, self.items, _LAID_OUT):
            rows = slice(begin, min(begin + _LAID_OUT, self.items))
            part = vectors[order[rows]].astype(np.float32, copy=False)
            self._vectors[rows, :size] = finished(part) if finished else part
        if bias is not None:
            self._vectors[: self.items, size] = bias[order]
        if self._is_whole:
            self._vectors = np.asfortranarray(self._vectors)
        self.ids = self._places = None
        if lists is not None:
            self.ids = np.arange(self.width, dtype=np.int32)
            self.ids[: self.items] = order
            self._places = np.full(self.items + 1, self.width - 1, np.int32)
            self._places[order] = np.arange(self.items)
        self._transitions = transitions
        self._co_occurrences = co_occurrences
        self._co_occurrence_decay = np.array(co_occurrence_decay, np.float32)
        self._repeat_bias = np.array(repeat_bias, np.float32)
        self._own_items = own_items
        self._scratch = np.empty(0, np.float32)

    @property
    def nbytes(self) -> int:
        """The memory of the table, in bytes."""
        rows = [one for one in (self._transitions, self._co_occurrences) if one is not None]
        tables = [self._vectors, self.lists, self.ids, self._places, *(part for one in rows for part in one)]
        return sum(table.nbytes for table in tables if table is not None)

    def places(self, items: Indexes) -> Indexes:
        """Return the places of `items` in the table. `NO_ITEM` gets the last place, which is padding."""
        if self._places is not None:
            return self._places[items]
        return np.where(items == NO_ITEM, self.width - 1, items)

    def rows(self, hidden: Floats) -> Floats:
        """Return `hidden` `[B, H]` as the product with `vectors` needs it."""
        if not self._has_bias:
            return hidden
        return np.append(hidden, np.ones((len(hidden), 1), np.float32), axis=1)

    def in_order(self) -> Floats:
        """Return the vectors of all items in their order, without bias, `[N, H]`."""
        found = self._vectors[: self.items, : self._vectors.shape[1] - self._has_bias]
        return found if self._places is None else found[self._places[:-1]]

    @property
    def vectors(self) -> Floats:
        """The vectors by place, with the bias as a last number if there is one; -inf: unavailable."""
        return self._vectors

    def adjust(self, items: Indexes, change: Floats) -> ChangedRows:
        """Set by how much the scores of some different items are changed; return what was changed.

        -inf: the item is not available, so the scores are those of a table without it.
        """
        if self._true_bias is None:
            if not self._has_bias:
                self._vectors = np.append(self._vectors, np.zeros((self.width, 1), np.float32), axis=1)
                if self._is_whole:
                    self._vectors = np.asfortranarray(self._vectors)
                self._has_bias = True
            self._true_bias = self._vectors[:, -1].copy()
        places = self.places(items)
        before, after = self._vectors[places, -1], self._true_bias[places] + change
        changed = before != after
        places, before, after = places[changed], before[changed], after[changed]
        # The rows of a product end with 1, and a sum with one summand of -inf is never NaN. A large negative
        # bias would do without infinities, but then every search would have to know its limit.
        self._vectors[places, -1] = after
        return ChangedRows(places, self._vectors[places, :-1], before, after)

    def tile(self, rows: int) -> tuple[int, int]:
        """Return the rows and items of a tile, for the scores of `rows` rows."""
        if self._is_whole:
            return _WHOLE_SCORES // self.width, self.width
        rows = max(1, min(rows, _TILE_ROWS))
        return rows, _TILE_SCORES // rows // _TILE_STEP * _TILE_STEP

    def strides(self, rows: int) -> tuple[int, int]:
        """Return how far two rows, and two places, lie apart in the scores of `rows` rows, in numbers."""
        return (self.width, 1) if self._is_whole else (1, rows)

    def product(self, hidden: Floats, first: int, width: int) -> Floats:
        """Return the scores `[B, T]` of the items from `first` on, at most `width`, without what clicks add.

        `hidden` is `[B, H]`. The result is valid until the next call. The scores of padding are -inf.
        """
        vectors = self._vectors[first : first + width]
        size = len(hidden) * len(vectors)
        # Hot path: the memory is reused, because the kernel would map new memory of this size page by page.
        if len(self._scratch) < size:
            self._scratch = np.empty(size, np.float32)
        hidden = self.rows(hidden)
        with quiet():
            if self._is_whole:
                out = self._scratch[:size].reshape(len(hidden), -1)
                np.matmul(hidden, vectors.T, out=out)
            else:
                by_item = self._scratch[:size].reshape(-1, len(hidden))
                out = np.matmul(vectors, hidden.T, out=by_item).T
        out[:, max(0, self.items - first) :] = -np.inf
        return out

    def gains(self, recent: Indexes, own: Indexes) -> Gains:
        """Return all that the clicks `recent` `[B, recent_needed]` and `own` `[B, own_needed]` add to scores.

        Both have the latest click first. Several gains of an item in a row are to be added in their order.
        """
        found = [_NO_GAINS, *self.named_gains(recent, own).values()]
        return Gains(*(np.concatenate(parts) for parts in zip(*found, strict=True)))

    def named_gains(self, recent: Indexes, own: Indexes) -> dict[str, Gains]:
        """Return the gains by the term of the score that they belong to."""
        found = dict[str, Gains]()
        if self._transitions is not None:
            found["transition"] = _row_gains(self._transitions, recent[:, :1], _ONCE)
        if self._co_occurrences is not None:
            decay = self._co_occurrence_decay
            found["co_occurrence"] = _row_gains(self._co_occurrences, recent[:, : len(decay)], decay)
        if len(self._repeat_bias):
            clicked = recent[:, : len(self._repeat_bias)]
            rows, lags = np.nonzero(clicked != NO_ITEM)
            found["repeat"] = Gains(rows, clicked[rows, lags], self._repeat_bias[lags])
        if self.own_needed:
            found["own_items"] = own_gains(own, self._own_items)
        return found

    def bias(self, places: Indexes) -> Floats:
        """Return the biases at `places`, 0 without biases; those of unavailable items are true, too."""
        bias = self._vectors[:, -1] if self._true_bias is None else self._true_bias
        return bias[places] if self._has_bias else np.zeros(len(places), np.float32)


class ChangedRows(NamedTuple):
    """Items whose bias changed: places, vectors without bias, and the biases; -inf: not available."""

    places: Indexes
    vectors: Floats
    before: Floats
    after: Floats


class Gains(NamedTuple):
    """G gains of items: row, item and gain, `[G]` each."""

    rows: NDArray[np.intp]
    items: Indexes
    gains: Floats

    def without_padding(self) -> Gains:
        """Return the gains of items."""
        real = self.items != NO_ITEM
        return Gains(self.rows[real], self.items[real], self.gains[real])

    def and_then(self, other: Gains) -> Gains:
        """Return these gains, followed by those of `other`."""
        return Gains(
            np.concatenate([self.rows, other.rows]),
            np.concatenate([self.items, other.items]),
            np.concatenate([self.gains, other.gains]),
        )


_NO_GAINS: Final = Gains(np.empty(0, np.intp), np.empty(0, np.int32), np.empty(0, np.float32))


def own_gains(clicked: Indexes, term: OwnItems) -> Gains:
    """Return the gains of the known items among the last clicks `clicked` `[B, M]` of users, newest first.

    Rows are padded with `NO_ITEM`. A row's gains do not depend on the other rows, bit for bit.
    """
    size = clicked.shape[1]
    if not clicked.size:
        return _NO_GAINS
    lags = np.arange(size)
    # Hot path: sorting is ten times faster than comparing all pairs. Item and lag are sorted as one integer,
    # so the weights of an item are always added in the same order.
    keys = np.sort((clicked.astype(np.int64) << 32) | lags, axis=1).reshape(-1)
    items = keys >> 32
    begins = np.empty(len(keys), np.bool_)
    np.not_equal(items[1:], items[:-1], out=begins[1:])
    begins[::size] = True
    first = np.flatnonzero(begins)
    counts = np.add.reduceat((0.5 ** (lags / term.half_life))[keys & _LOWER], first)
    known = items[first] != NO_ITEM
    first = first[known]
    gains = term.bonus + term.weight * np.log1p(counts[known] / OWN_UNIT)
    return Gains(first // size, items[first].astype(np.int32), gains.astype(np.float32))


def top_k(
    hidden: Floats,
    table: ItemTable,
    k: int,
    excluded: Indexes | None = None,
    recent: Indexes | None = None,
    *,
    own: Indexes | None = None,
    change: Change | None = None,
) -> TopK:
    """Return the `k` items with the highest scores for each row of `hidden`; ties: lower index first.

    `excluded` `[B, X]`: the items to exclude from each row (`NO_ITEM` for none). `recent` `[B,
    recent_needed]`: the last clicks of each row's session, newest first (`NO_ITEM` for an unknown item or no
    click). `own` `[B, own_needed]`: the same across sessions. Either may be omitted if none is needed.
    `change`, if any, is applied to all scores. Scores must not be NaN. Raises ValueError if `recent` or `own`
    has another shape.
    """
    recent = checked_clicks(recent, len(hidden), table.recent_needed, "session")
    own = checked_clicks(own, len(hidden), table.own_needed, "user")
    found = TopK(np.empty((len(hidden), k), np.int32), np.empty((len(hidden), k), np.float32))
    rows, width = table.tile(len(hidden))
    for start in range(0, len(hidden), rows):
        part = slice(start, start + rows)
        here = hidden[part]
        added = _ByTile(table.gains(recent[part], own[part]), table, len(here), width)
        removed = _ByTile(excluded_gains(excluded, part), table, len(here), width)
        best = Best(len(here), k, table.ids)
        for first in range(0, table.width, width):
            scores = table.product(here, first, width)
            flat = scores.reshape(-1) if scores.flags.c_contiguous else scores.T.reshape(-1)
            # A row may have an item twice; `add.at` adds both gains. Hot path, once per tile: all gains at
            # once, in one dimension, take a seventh of the time of one lag after the other.
            np.add.at(flat, *added.of(first))
            flat[removed.of(first)[0]] = -np.inf
            if change is not None:
                change(scores, part, first)
            best.add(scores, first)
        found.indexes[part], found.scores[part] = best.ranked()
    found.indexes[found.scores == -np.inf] = NO_ITEM
    return found


class _ByTile:
    """Gains of `rows` rows, in their order, by the tile of `width` items that has the item."""

    def __init__(self, gains: Gains, table: ItemTable, rows: int, width: int) -> None:
        places, self._values = table.places(gains.items), gains.gains
        of_row, self._of_place = table.strides(rows)
        # Hot path: one number for row and place is sorted in two thirds of the time of both.
        self._at = gains.rows * of_row + places.astype(np.intp) * self._of_place
        self._width, self._ends = width, [len(places)]
        if width < table.width:
            tiles = (places // width).astype(np.int16)
            order = np.argsort(tiles, kind="stable")
            self._at, self._values = self._at.take(order), self._values.take(order)
            every = np.arange(-(-table.width // width), dtype=np.int16)
            self._ends = np.searchsorted(tiles, every, side="right", sorter=order).tolist()

    def of(self, first: int) -> tuple[NDArray[np.intp], Floats]:
        """Return where the gains are in the memory of the tile that begins with place `first`, and them."""
        tile = first // self._width
        here = slice(self._ends[tile - 1] if tile else 0, self._ends[tile])
        return self._at[here] - first * self._of_place, self._values[here]


def excluded_gains(excluded: Indexes | None, part: slice) -> Gains:
    """Return a gain of -inf for each excluded item of some rows."""
    if excluded is None:
        return _NO_GAINS
    rows, places = np.nonzero(excluded[part] != NO_ITEM)
    return Gains(rows, excluded[part][rows, places], np.full(len(rows), -np.inf, np.float32))


def _row_gains(gains: ItemRows, clicked: Indexes, decay: Floats) -> Gains:
    """Return what the `clicked` items `[B, L]` of each row give to others, times `decay` `[L]`."""
    rows, lags = np.nonzero(clicked != NO_ITEM)
    items = clicked[rows, lags]
    others, scores = gains.items[items], gains.scores[items] * decay[lags, None]
    return Gains(rows.repeat(others.shape[1]), others.reshape(-1), scores.reshape(-1))
