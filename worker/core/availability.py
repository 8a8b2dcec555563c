"""The items of a release that lists may have, and how rules change all scores: no cost per click.

A change costs once: the item's bias in the table that ranks becomes higher, lower, or -inf, and the order of
the fallback list changes. It belongs to the release in service, so it ends with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from worker.core.placing import Constraint, placed
from worker.core.ranking import NO_ITEM, Floats, Indexes, TopK
from worker.core.release import Release

_LOOKED_AT: Final = 8
"""With limits of rules, this many times as many candidates of a fallback list are looked at as are wanted."""


class Availability:
    """The availability of the items of one release, and what rules for all lists add to their scores.

    At first, all are available, and nothing is added. Not thread-safe.
    """

    def __init__(self, release: Release) -> None:
        self._release = release
        self._available = np.ones(release.items, np.bool_)
        self._added: Floats | None = None
        """By item: the number that rules add to its score, -inf for an item to leave out; None: nothing."""
        self._popular = release.popular
        self._every: Indexes | None = None
        """All items: the popular ones, then the others by their bias; None until they are needed."""

    @property
    def unavailable(self) -> int:
        """The number of items of the catalogue that are unavailable."""
        return len(self._available) - int(np.count_nonzero(self._available))

    @property
    def mask(self) -> NDArray[np.bool_]:
        """Whether each item of the catalogue is available. Not to be changed."""
        return self._available

    @property
    def added(self) -> Floats | None:
        """By item: the number that is added to its score in all lists; None: nothing. Not to be changed."""
        return self._added

    def set(self, item_ids: Sequence[str], available: NDArray[np.bool_]) -> None:
        """Make some different items available or not. Items that the release does not know are left out."""
        indexes = self._release.catalogue.indexes(item_ids)
        known = indexes != NO_ITEM
        self._set(indexes[known], available[known])

    def only_without(self, item_ids: Sequence[str]) -> None:
        """Make all items available but these."""
        indexes = self._release.catalogue.indexes(item_ids)
        available = np.ones(len(self._available), np.bool_)
        available[indexes[indexes != NO_ITEM]] = False
        changed = np.flatnonzero(available != self._available).astype(np.int32)
        self._set(changed, available[changed])

    def add(self, added: Floats | None, only: Indexes | None = None) -> None:
        """Set what is added to the score of every item; -inf leaves it out, None adds nothing.

        `only`: the items for which `added` may differ from what is added now; None: all of them.
        """
        if added is None and self._added is None:
            return
        self._added = added
        self._apply(np.arange(len(self._available), dtype=np.int32) if only is None else only)

    def allows(self, items: Indexes, added: Floats | None = None) -> NDArray[np.bool_]:
        """Return a mask of the items that may be in a list to whose scores `added` `[N]` is added."""
        allowed = self._available[items]
        for one in (self._added, added):
            if one is not None:
                allowed = allowed & (one[items] > -np.inf)
        return allowed

    def popular(self, excluded: Indexes, top: int) -> Indexes:
        """Return the `top` most popular items that are available and not among `excluded`, best first."""
        return self._popular[~np.isin(self._popular, excluded)][:top]

    def candidates(self, added: Floats | None = None, *, everything: bool = False) -> TopK:
        """Return all items of the fallback list, best first, in one row, with scores that stand for ranks.

        An item at place p of the release's popular items has the score -log(p), plus what is added to its
        score in all lists and, in this one, by `added`. So an item with a factor of 2 moves from place 10 to
        where place 5 would be. `everything`: whether all other items follow, by their bias.
        """
        popular = self._all() if everything else self._release.popular
        scores = -np.log(np.arange(1, len(popular) + 1)).astype(np.float32)
        for one in (self._added, added):
            if one is not None:
                scores = scores + one[popular]
        order = np.argsort(-scores, kind="stable")
        order = order[(scores > -np.inf)[order] & self._available[popular[order]]]
        return TopK(popular[order][None], scores[order][None])

    def fallback(
        self,
        excluded: Indexes,
        top: int,
        constraint: Constraint | None = None,
        *,
        everything: bool = False,
    ) -> Indexes:
        """Return the fallback list for each row of `excluded` `[B, X]`, `[B, top]`, padded with `NO_ITEM`.

        `everything`: see `candidates`. A limit of a rule may leave the list shorter than it could be, because
        no more than a few times `top` candidates are looked at.
        """
        if everything:
            constraint = constraint or Constraint()
        if constraint is not None:
            pins = [pin for pin in constraint.pins if self.allows(np.array(pin[1:]), constraint.adjust).all()]
            candidates = self.candidates(constraint.adjust, everything=everything)
            enough = excluded.shape[1] + len(pins) + _LOOKED_AT * top
            candidates = TopK(candidates.indexes[:, :enough], candidates.scores[:, :enough])
            return placed(candidates, excluded, top, constraint._replace(pins=tuple(pins))).indexes
        lists = np.full((len(excluded), top), NO_ITEM, np.int32)
        for row, left_out in zip(lists, excluded, strict=True):
            popular = self.popular(left_out, top)
            row[: len(popular)] = popular
        return lists

    def _all(self) -> Indexes:
        if self._every is None:
            release, popular = self._release, self._release.popular
            recent, own = (
                np.full((1, needed), NO_ITEM, np.int32)
                for needed in (release.recent_needed, release.own_needed)
            )
            scores = release.scores(np.zeros((1, release.state_size), np.float32), recent, own)[0]
            scores[popular] = np.inf
            others = np.argsort(-scores, kind="stable")[len(popular) :].astype(np.int32)
            self._every = np.append(popular, others)
        return self._every

    def _set(self, indexes: Indexes, available: NDArray[np.bool_]) -> None:
        self._available[indexes] = available
        self._apply(indexes)

    def _apply(self, indexes: Indexes) -> None:
        if not len(indexes):
            return
        added = np.float32(0) if self._added is None else self._added[indexes]
        self._release.adjust(indexes, np.where(self._available[indexes], added, -np.inf).astype(np.float32))
        self._popular = self.candidates().indexes[0]
