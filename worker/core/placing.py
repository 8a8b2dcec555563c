"""Lists under a constraint: pinned items at their places, and the best of the others that the caps allow.

The result is that of this definition. Score all items, and sort them. Put each pinned item at its place,
unless it is excluded or not available; if the place is taken, at the next one. Then go through the other
items from the best on, and take each whose groups are not full yet, where pinned items count, too. If too
few items are left, the list is shorter, and pinned items after the gap move up.

    >>> table = ItemTable(np.eye(4, dtype=np.float32))
    >>> group = np.array([0, 0, 1, -1], np.int32)
    >>> asked = Asked(np.array([[4, 3, 2, 1]], np.float32))
    >>> parts = [Part(np.array([0]), Constraint(pins=((1, 3),), caps=(Cap(group, 1),)))]
    >>> ranked(table, None, asked, 3, parts).indexes.tolist()
    [[3, 0, 2]]
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from worker.core.lists import Lists
from worker.core.ranking import NO_ITEM, Floats, Indexes, ItemTable, TopK, top_k
from worker.core.search import Adjusts, checked_clicks, quiet

Flags = NDArray[np.bool_]
Rows = NDArray[np.intp]
T = TypeVar("T", np.float32, np.int32)

_DEEPER: Final = 2
"""With caps, this many times as many items are ranked as are wanted."""

_AGAIN: Final = 64
"""Rows that are ranked again at once: each has a flag for each group."""


_More = Callable[[Rows, Indexes], TopK]
"""Ranks further items for some rows, `[R]`, whose lists have the items `[R, C]` already."""


class Cap(NamedTuple):
    """At most `at_most` items of the same group in a list. `groups` `[N]`: by item, negative for none."""

    groups: Indexes
    at_most: int


class Constraint(NamedTuple):
    """A constraint of some lists.

    `adjust` `[N]`: by how much the score of each item changes; -inf: it is not in the list. None: nothing
    changes. `pins`: places, counted from 1, with the index of the item to be there.
    """

    adjust: Floats | None = None
    pins: tuple[tuple[int, int], ...] = ()
    caps: tuple[Cap, ...] = ()

    def only(self, allowed: Flags) -> Constraint:
        """Return this constraint with a filter: lists have only items of the mask `allowed` `[N]`."""
        adjust = np.float32(0) if self.adjust is None else self.adjust
        return self._replace(adjust=np.where(allowed, adjust, np.float32(-np.inf)))


class Part(NamedTuple):
    """Some lists of a batch, by position, and their constraint; None: nothing changes them."""

    rows: NDArray[np.intp]
    constraint: Constraint | None


class Asked(NamedTuple):
    """Hidden vectors `[B, H]` to rank items for, with the items to exclude and what was clicked."""

    hidden: Floats
    excluded: Indexes | None = None
    recent: Indexes | None = None
    own: Indexes | None = None

    def of(self, rows: Rows) -> Asked:
        """Return some of the rows."""
        return Asked(*(None if one is None else one[rows] for one in self))  # type: ignore[arg-type]


class _Pinned(NamedTuple):
    """The pins that have an effect in each row, `[B, P]` each: `NO_ITEM` for none; places from 0."""

    items: Indexes
    scores: Floats
    places: NDArray[np.intp]


def ranked(table: ItemTable, lists: Lists | None, asked: Asked, k: int, parts: Sequence[Part]) -> TopK:
    """Return the `k` best items of each row under the constraint of its part, by `lists` if there are any.

    Each row is in one part. A pinned item has the score that it has anyway. For the arguments see
    `ranking.top_k`.
    """
    rows = len(asked.hidden)
    found = TopK(np.full((rows, k), NO_ITEM, np.int32), np.full((rows, k), -np.inf, np.float32))
    deep = min(_DEEPER * k, table.items)
    # Hot path: parts are ranked together, because each pass reads all items; but only lists with caps need
    # to be deep.
    for depth, some in (
        (k, [part for part in parts if not (part.constraint and part.constraint.caps)]),
        (deep, [part for part in parts if part.constraint and part.constraint.caps]),
    ):
        if not some:
            continue
        best = _best(table, lists, asked, depth, some)
        begin = 0
        for of, constraint in some:
            here = slice(begin, begin + len(of))
            begin = here.stop
            its = TopK(best.indexes[here], best.scores[here])
            if constraint and (constraint.caps or constraint.pins):
                its = _constrained(table, asked.of(of), k, constraint, its)
            found.indexes[of], found.scores[of] = its
    return found


def _best(table: ItemTable, lists: Lists | None, asked: Asked, depth: int, parts: Sequence[Part]) -> TopK:
    """Return the best items of the parts, one part after the other, without pins and caps."""
    of, by_place = np.full(sum(len(part.rows) for part in parts), -1), list[Floats]()
    begin = 0
    for rows, constraint in parts:
        if constraint is not None and constraint.adjust is not None:
            of[begin : begin + len(rows)] = len(by_place)
            by_place.append(_by_place(table, constraint.adjust))
        begin += len(rows)
    here, adjusts = asked.of(np.concatenate([part.rows for part in parts])), Adjusts(of, by_place)
    if lists is None:
        change = adjusts.apply if by_place else None
        return top_k(here.hidden, table, depth, here.excluded, here.recent, own=here.own, change=change)
    return lists.top_k(here.hidden, depth, here.excluded, here.recent, own=here.own, adjusts=adjusts)


def _constrained(table: ItemTable, asked: Asked, k: int, constraint: Constraint, found: TopK) -> TopK:
    """Return the lists of one part from the best items of each row."""
    caps, adjust = constraint.caps, constraint.adjust
    pinned = _pinned(table, asked, k, constraint)
    by_place = None if adjust is None else _by_place(table, adjust)

    def more(rows: Rows, counted: Indexes) -> TopK:
        """Rank exactly, without the items that are in the lists, and those of groups that are full."""
        some = asked.of(rows)
        excluded = counted if some.excluded is None else np.concatenate([some.excluded, counted], axis=1)
        closing = _Closing(table, caps, counted, by_place)
        depth = found.indexes.shape[1]
        return top_k(some.hidden, table, depth, excluded, some.recent, own=some.own, change=closing)

    return _filled(found, k, pinned, caps, more if caps else None)


def placed(candidates: TopK, excluded: Indexes, k: int, constraint: Constraint) -> TopK:
    """Return a list of the `candidates`, `[1, C]` and best first, for each row of `excluded`.

    `excluded` `[B, X]`: the items to exclude from each row. Pinned items need not be candidates.
    """
    rows = len(excluded)
    indexes = np.repeat(candidates.indexes, rows, axis=0)
    scores = np.repeat(candidates.scores, rows, axis=0)
    # Row by row: the comparisons of all rows at once could take gigabytes.
    for row, left_out in zip(indexes, excluded, strict=True):
        row[np.isin(row, left_out)] = NO_ITEM
    available = np.zeros((rows, len(constraint.pins)), np.float32)
    pinned = _at_places(available, excluded, k, constraint)
    return _filled(TopK(indexes, scores), k, pinned, constraint.caps)


def _pinned(table: ItemTable, asked: Asked, k: int, constraint: Constraint) -> _Pinned:
    """Return the pins that have an effect, with the scores that the items have anyway."""
    items = np.array([item for _, item in constraint.pins], np.int32)
    with quiet():
        scores = table.rows(asked.hidden) @ table.vectors[table.places(items)].T
    if len(items):
        if constraint.adjust is not None:
            scores += constraint.adjust[items]
        recent = checked_clicks(asked.recent, len(scores), table.recent_needed, "session")
        own = checked_clicks(asked.own, len(scores), table.own_needed, "user")
        gains = table.gains(recent, own)
        for number, item in enumerate(items.tolist()):
            here = gains.items == item
            np.add.at(scores[:, number], gains.rows[here], gains.gains[here])
    return _at_places(scores, asked.excluded, k, constraint)


def _at_places(scores: Floats, excluded: Indexes | None, k: int, constraint: Constraint) -> _Pinned:
    """Return the pins that have an effect, given the scores `[B, P]` of the items; -inf: not available."""
    items = np.array([item for _, item in constraint.pins], np.int32)
    valid = scores > -np.inf
    if excluded is not None:
        valid &= ~(excluded[:, :, None] == items).any(axis=1)
    places, following = np.zeros(scores.shape, np.intp), np.zeros(len(scores), np.intp)
    for number, (place, _) in enumerate(constraint.pins):
        at = places[:, number] = np.maximum(place - 1, following)
        valid[:, number] &= at < k
        following = np.where(valid[:, number], at + 1, following)
    return _Pinned(np.where(valid, items, np.int32(NO_ITEM)), scores, places)


def _filled(found: TopK, k: int, pinned: _Pinned, caps: Sequence[Cap], more: _More | None = None) -> TopK:
    """Return lists of pinned items and of those of `found` that the caps allow.

    `more` ranks further items for the lists that are too short.
    """
    room = k - np.count_nonzero(pinned.items != NO_ITEM, axis=1)
    others = _kept(found, _taken(found.indexes, pinned.items, room, caps), k)
    unfinished = found.indexes[:, -1:].ravel() != NO_ITEM
    while more is not None:
        count = np.count_nonzero(others.indexes != NO_ITEM, axis=1)
        rows = np.flatnonzero((count < room) & unfinished)[:_AGAIN]
        if not len(rows):
            break
        before = TopK(others.indexes[rows], others.scores[rows])
        counted = np.concatenate([pinned.items[rows], before.indexes], axis=1)
        again = more(rows, counted)
        taken = _taken(again.indexes, counted, (room - count)[rows], caps)
        others.indexes[rows], others.scores[rows] = _merged(before, again, taken, k)
        unfinished[rows] = again.indexes[:, -1] != NO_ITEM
    return _with_pinned(others, pinned) if pinned.items.shape[1] else others


def _taken(found: Indexes, counted: Indexes, room: Rows, caps: Sequence[Cap]) -> Flags:
    """Return which of the items `found` `[B, D]`, best first, are taken; `counted` are in the list anyway."""
    new = found != NO_ITEM
    if counted.shape[1]:
        new &= ~(found[:, :, None] == counted[:, None, :]).any(axis=2)
    taken = new & (np.cumsum(new, axis=1) <= room[:, None])
    # Hot path: most lists break no cap, and only the others are gone through item by item.
    for cap in caps:
        listed = np.concatenate([counted, np.where(taken, found, np.int32(NO_ITEM))], axis=1)
        rows = np.flatnonzero(_breaks(listed, cap))
        if len(rows):
            taken[rows] = _one_by_one(found[rows], counted[rows], new[rows], room[rows], caps)
    return taken


def _breaks(listed: Indexes, cap: Cap) -> Flags:
    """Return which rows have too many items of one group."""
    if listed.shape[1] <= cap.at_most:
        return np.zeros(len(listed), np.bool_)
    groups = np.sort(_groups(listed, cap), axis=1)
    first, last = groups[:, : -cap.at_most], groups[:, cap.at_most :]
    same: Flags = ((first == last) & (last != NO_ITEM)).any(axis=1)
    return same


def _one_by_one(found: Indexes, counted: Indexes, new: Flags, room: Rows, caps: Sequence[Cap]) -> Flags:
    """Return which of the items are taken, as `_taken` does, where a cap may be reached."""
    every, begin = np.concatenate([counted, found], axis=1), counted.shape[1]
    groups = [_groups(every, cap) for cap in caps]
    listed = np.concatenate([counted != NO_ITEM, np.zeros(found.shape, np.bool_)], axis=1)
    room = room.copy()
    for at in range(begin, every.shape[1]):
        fits = new[:, at - begin] & (room > 0)
        for cap, of in zip(caps, groups, strict=True):
            same = np.count_nonzero((of[:, :at] == of[:, at, None]) & listed[:, :at], axis=1)
            fits &= (same < cap.at_most) | (of[:, at] == NO_ITEM)
        listed[:, at] = fits
        room -= fits
        if not room.any():
            break
    return listed[:, begin:]


def _groups(items: Indexes, cap: Cap) -> Indexes:
    """Return the group of each item; `NO_ITEM` where there is none."""
    return np.where(items == NO_ITEM, np.int32(NO_ITEM), np.maximum(cap.groups[items], NO_ITEM))


def _kept(found: TopK, taken: Flags, k: int) -> TopK:
    """Return the items that were taken, in their order, in `k` places."""
    order = np.argsort(~taken, axis=1, kind="stable")[:, :k]
    kept = np.take_along_axis(taken, order, axis=1)
    lists = TopK(np.full((len(taken), k), NO_ITEM, np.int32), np.full((len(taken), k), -np.inf, np.float32))
    width = order.shape[1]
    lists.indexes[:, :width] = np.where(kept, np.take_along_axis(found.indexes, order, axis=1), NO_ITEM)
    lists.scores[:, :width] = np.where(kept, np.take_along_axis(found.scores, order, axis=1), -np.inf)
    return lists


def _merged(before: TopK, again: TopK, taken: Flags, k: int) -> TopK:
    """Return the items of `before`, and those of `again` that were taken, best first."""
    indexes = np.concatenate([before.indexes, np.where(taken, again.indexes, NO_ITEM)], axis=1)
    scores = np.concatenate([before.scores, np.where(taken, again.scores, -np.inf)], axis=1)
    order = np.lexsort((indexes, -scores), axis=1)[:, :k]
    return TopK(np.take_along_axis(indexes, order, axis=1), np.take_along_axis(scores, order, axis=1))


def _with_pinned(others: TopK, pinned: _Pinned) -> TopK:
    """Return the lists with the pinned items at their places, and no gaps."""
    rows, pins = np.nonzero(pinned.items != NO_ITEM)
    places = pinned.places[rows, pins]
    free = np.ones(others.indexes.shape, np.bool_)
    free[rows, places] = False
    at = np.maximum(np.cumsum(free, axis=1) - 1, 0)
    indexes = np.take_along_axis(others.indexes, at, axis=1)
    scores = np.take_along_axis(others.scores, at, axis=1)
    indexes[rows, places], scores[rows, places] = pinned.items[rows, pins], pinned.scores[rows, pins]
    order = np.argsort(indexes == NO_ITEM, axis=1, kind="stable")
    return TopK(np.take_along_axis(indexes, order, axis=1), np.take_along_axis(scores, order, axis=1))


class _Closing:
    """A change of scores: `adjust`, and -inf for the items of groups that are full."""

    def __init__(
        self, table: ItemTable, caps: Sequence[Cap], counted: Indexes, adjust: Floats | None
    ) -> None:
        self._add = None if adjust is None else Adjusts(np.zeros(len(counted), np.intp), [adjust])
        self._full = list[tuple[Flags, Indexes]]()
        """For each cap: which groups are full in each row, and the group of each place."""
        for cap in caps:
            groups = _groups(counted, cap)
            rows, at = np.nonzero(groups != NO_ITEM)
            # One more than there are groups, which items without a group address.
            counts = np.zeros((len(counted), max(0, int(cap.groups.max())) + 2), np.int32)
            np.add.at(counts, (rows, groups[rows, at]), 1)
            by_place = _by_place(table, np.maximum(cap.groups, NO_ITEM))
            self._full.append((counts >= cap.at_most, by_place))

    def __call__(self, scores: Floats, part: slice, first: int) -> None:
        """Apply it to the scores of the rows `part` and of the places from `first` on."""
        if self._add is not None:
            self._add.apply(scores, part, first)
        for full, groups in self._full:
            here = groups[first : first + scores.shape[1]]
            scores[:, : len(here)][full[part][:, here]] = -np.inf


def _by_place(table: ItemTable, by_item: NDArray[T]) -> NDArray[T]:
    return by_item if table.ids is None else by_item[table.ids[: table.items]]
