"""The best K of the scores of each row, where the scores come in tiles of the catalogue.

The scores of one row in a tile are divided into `G` strided groups (group g has the items g, g + G, g + 2 G,
...). The K-th largest of the group maxima is a lower bound of the K-th largest score, so the top K are in the
groups whose maximum reaches this bound: exactly K groups, unless scores are equal. Only these groups are
sorted, by integers that combine score bits and item, so that ties need no separate rule. Rejected:
`argpartition` over the catalogue, which takes five to eight times as long.

In later tiles, only groups whose maximum is above the K-th best score so far are looked into. They are few:
in tile n, about K / n. So a tile is read once while it is in the cache, and need not be kept.

    >>> best = Best(1, 2)
    >>> best.add(np.array([[0.5, 2.0]], np.float32), 0)
    >>> best.add(np.array([[1.0, 2.0]], np.float32), 2)
    >>> best.ranked()[0].tolist()
    [[1, 3]]
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, Final, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Keys = NDArray[np.int64]
Change = Callable[[Floats, slice, int], None]
"""Changes the scores `[rows, T]` of some rows, and of the places from a first one on, where they are."""

T = TypeVar("T", np.float32, np.int64)

DEPTH: Final = 16
"""Items of a group in a tile that lies in memory item by item; the tile has a multiple of it."""

LOWEST: Final = np.finfo(np.float32).min
"""The lowest score that an item may have; -inf is as good as none."""

_ITEM: Final = 0xFFFFFFFF
"""The mask of the lower half of a key, which holds the item."""

_ABOVE: Final = 1 << 31
"""Added to an integer of 32 bits, it makes it at least 0."""


def group_count(items: int) -> int:
    """Return about 8 sqrt(items) as a power of two: the number of groups that costs least."""
    return 1 << max(3, round(np.log2(8 * np.sqrt(items))))


class Best:
    """The best `k` items of each of `rows` rows so far; ties: lower item first.

    Scores must not be NaN. An item with the score -inf is as good as none. `ids`: the item at each place of
    the catalogue, if these differ.
    """

    def __init__(self, rows: int, k: int, ids: NDArray[np.int32] | None = None) -> None:
        self._k = k
        self._ids = ids
        # An equal score of a later place counts only if its item may be a lower one.
        self._reaches = np.greater if ids is None else np.greater_equal
        self._keys = np.full((rows, k), _NOTHING)
        # With equal scores of other places, -inf must not reach the bound: nearly all items may have it.
        self._least = -np.inf if ids is None else LOWEST
        self._bound = np.full(rows, self._least, np.float32)
        self._waiting: list[tuple[NDArray[np.intp], Keys]] = []
        self._count = 0

    def add(self, scores: Floats, first: int) -> None:
        """Add the scores `[rows, T]` of the items from `first` on, which come after all items before.

        In memory they lie row by row, and are searched for themselves, or item by item.
        """
        if scores.flags.c_contiguous:
            self._merge(self._dense(scores, first))
            return
        rows, flat = len(scores), scores.T.reshape(-1)
        # Hot path: with the items of a group far apart, the maximum is a few passes over long vectors. This
        # takes a third of the time of one over the groups of each row.
        maxima = flat.reshape(DEPTH, -1).max(axis=0)
        found = np.flatnonzero(self._reaches(maxima.reshape(-1, rows), self._bound))
        if len(found) > self._k * rows:
            self._merge(self._dense(np.ascontiguousarray(scores), first))
            return
        places = found[:, None] + np.arange(0, scores.size, len(maxima))
        inside = flat.take(places)
        above = np.flatnonzero(self._reaches(inside, self._bound[found % rows, None]))
        items, row = np.divmod(places.reshape(-1)[above], rows)
        self.add_keys(row, self._keys_at(inside.reshape(-1)[above], items + first))

    def add_keys(self, row: NDArray[np.intp], found: Keys) -> None:
        """Add keys of items that are not among the best yet, and the row of each."""
        self._waiting.append((row, found))
        self._count += len(found)
        if self._count > self._k * len(self._keys):
            self._merge()

    def ranked(self) -> tuple[NDArray[np.int32], Floats]:
        """Return the items and their scores, both `[rows, k]`, best first; no item: the score is -inf."""
        if self._count:
            self._merge()
        best = np.sort(self._keys, axis=1)[:, ::-1]
        return (_ITEM - (best & _ITEM)).astype(np.int32), scores_of(best)

    def _merge(self, *found: Keys) -> None:
        """Merge the keys `found` and those that wait into the best, and raise the bound."""
        if self._count:
            row, waiting = (np.concatenate(parts) for parts in zip(*self._waiting, strict=True))
            self._waiting, self._count = [], 0
            found = (*found, by_row(row, waiting, len(self._keys), _NOTHING))
        self._keys = _larger(np.concatenate([self._keys, *found], axis=1), self._k)
        self._bound = np.maximum(scores_of(self._keys.min(axis=1)), self._least)

    def _keys_at(self, scores: Floats, places: NDArray[np.integer[Any]]) -> Keys:
        return keys(scores, places if self._ids is None else self._ids.take(places))

    def _dense(self, scores: Floats, first: int) -> Keys:
        """Return keys of a tile `[rows, T]` among which are those of the top K."""
        (rows, width), k = scores.shape, self._k
        groups = min(group_count(width), width & -width)
        if k >= groups:
            return self._keys_at(scores, np.arange(first, first + width))
        maxima = scores.reshape(rows, -1, groups).max(axis=1)
        bound = np.partition(maxima, groups - k, axis=1)[:, groups - k]
        # Hot path: `flatnonzero` takes a third of the time of a two-dimensional `nonzero`.
        chosen = np.flatnonzero(maxima >= bound[:, None])
        if len(chosen) > k * rows:
            return self._tied(scores, bound, first)
        items = (chosen & (groups - 1)).reshape(rows, 1, k) + np.arange(0, width, groups)[:, None]
        items = items.reshape(rows, -1)
        inside = scores.reshape(-1).take(items + np.arange(rows)[:, None] * width)
        return self._keys_at(inside, items + first)

    def _tied(self, scores: Floats, bound: Floats, first: int) -> Keys:
        """Return the keys of the top K of rows with ties at the bound, from all scores that reach it."""
        found = np.full((len(scores), self._k), _NOTHING)
        # Not those of -inf, which nearly all items may have.
        bound = np.maximum(bound, LOWEST)
        for row in np.flatnonzero(scores.max(axis=1) >= bound).tolist():
            row_scores = scores[row]
            items = np.flatnonzero(row_scores >= bound[row])
            reach = self._keys_at(row_scores[items], items + first)[None]
            best = _larger(reach, min(self._k, len(items)))
            found[row, : best.shape[1]] = best
        return found


class Adjusts(NamedTuple):
    """By how much scores of rows change: `of` `[B]` is the number of a row's change, negative for none.

    `by_place`: by number, what is added to the score of each place; -inf: leave it out.
    """

    of: NDArray[np.intp]
    by_place: Sequence[Floats]

    def taken(self, rows: NDArray[np.intp] | NDArray[np.bool_] | slice) -> Adjusts:
        """Return the changes of some rows."""
        return Adjusts(self.of[rows], self.by_place)

    def rows(self, among: NDArray[np.intp]) -> Iterator[tuple[NDArray[np.intp], Floats]]:
        """Yield, for each change, the positions of its rows in `among`, and what is added."""
        for number, adjust in enumerate(self.by_place):
            places = np.flatnonzero(self.of[among] == number)
            if len(places):
                yield places, adjust

    def apply(self, scores: Floats, part: slice, first: int) -> None:
        """Change the scores `[rows, T]` of the rows `part`, and of the places from `first` on."""
        for places, adjust in self.rows(np.arange(part.start, part.start + len(scores))):
            here = adjust[first : first + scores.shape[1]]
            of = slice(None) if len(places) == len(scores) else places
            scores[of, : len(here)] += here


NO_ADJUSTS: Final = Adjusts(np.empty(0, np.intp), ())


def quiet() -> AbstractContextManager[None]:
    """Return a context for products with -inf in a bias.

    Kernels fill up small blocks with zeros, whose products with -inf are not part of the result, but make
    NumPy warn.
    """
    return np.errstate(invalid="ignore")


def keys(scores: Floats, items: NDArray[np.integer[Any]]) -> Keys:
    """Return an integer for each score and item that sorts by score, and by lower item on ties."""
    return (_ordered(scores) << 32) | (np.int64(_ITEM) - items)


def scores_of(keys: Keys) -> Floats:
    """Return the scores in `keys`."""
    return _unordered(keys >> 32)


def kth(row: NDArray[np.intp], scores: Floats, rows: int, k: int) -> Floats:
    """Return the K-th largest of the `scores` of each row, -inf if it has fewer; `row`: their rows."""
    # Hot path: rows may have very different numbers of scores; a padded table would take four times as long.
    in_order = np.sort((row.astype(np.int64) << 32) + _ordered(scores) + _ABOVE)
    ends = np.cumsum(np.bincount(row, minlength=rows))
    at = ends - k
    enough = at >= np.append(0, ends[:-1])
    found = np.full(rows, -np.inf, np.float32)
    found[enough] = _unordered((in_order[at[enough]] & _ITEM) - _ABOVE)
    return found


def _ordered(scores: Floats) -> NDArray[np.int64]:
    """Return integers of 32 bits in the order of `scores`."""
    # Read as integers, the bits of floats sort like the floats once the bits of negative floats are inverted.
    # -0.0 and 0.0 are equal as floats but differ in their bits; adding 0 turns -0.0 into 0.0.
    bits = (scores + np.float32(0)).view(np.int32)
    return (bits ^ ((bits >> 31) & 0x7FFFFFFF)).astype(np.int64)


def _unordered(integers: NDArray[np.int64]) -> Floats:
    bits = integers.astype(np.int32)
    return (bits ^ ((bits >> 31) & 0x7FFFFFFF)).view(np.float32)


_NOTHING: Final = int(keys(np.full(1, -np.inf, np.float32), np.array([_ITEM]))[0])


def by_row(row: NDArray[np.intp], found: NDArray[T], rows: int, nothing: float) -> NDArray[T]:
    """Return the numbers `found` by the row of each, `[rows, most of a row]`, padded with `nothing`."""
    # Hot path: integers of two bytes are sorted by radix.
    order = np.argsort(row.astype(np.int16 if rows < 1 << 15 else np.int64), kind="stable")
    counts = np.bincount(row, minlength=rows)
    place = np.arange(len(row)) - np.repeat(np.cumsum(counts) - counts, counts)
    table = np.full((rows, int(counts.max(initial=0))), nothing, found.dtype)
    table[row[order], place] = found[order]
    return table


def _larger(found: Keys, k: int) -> Keys:
    return np.partition(found, found.shape[1] - k, axis=1)[:, -k:]
