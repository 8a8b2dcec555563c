"""Lists under one release and the rules in force: ranked by the network, or the fallback list.

The items that are available, and the rules, are those of the release in service. They change between batches.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from worker.core.availability import Availability
from worker.core.constraints import Constraints
from worker.core.placing import Constraint, Part
from worker.core.ranking import NO_ITEM, Floats, Indexes
from worker.core.release import Release
from worker.core.rule_effects import RuleEffects, changing, in_reach

Flags = NDArray[np.bool_]


class Asking(Protocol):
    """The users `[A]` who get lists; for the columns see `worker.core.recommender.Applied`."""

    @property
    def hidden(self) -> NDArray[np.float16]: ...  # noqa: D102
    @property
    def warm(self) -> Flags: ...  # noqa: D102
    @property
    def excluded(self) -> Indexes: ...  # noqa: D102
    @property
    def recent(self) -> Indexes: ...  # noqa: D102
    @property
    def own(self) -> Indexes: ...  # noqa: D102
    @property
    def last(self) -> Indexes: ...  # noqa: D102


class Listed(NamedTuple):
    """Lists `[A, K]`: items and scores, best first, padded with `NO_ITEM` and -inf.

    A fallback list has no scores. `pinned`: which of the items a rule pins.
    """

    indexes: Indexes
    scores: Floats
    pinned: Flags

    @property
    def judged(self) -> Indexes:
        """The items that the next click judges: not those that a rule pins."""
        return np.where(self.pinned, np.int32(NO_ITEM), self.indexes)


class Listing:
    """Makes lists of `top` items, by approximate ranking or by exact. Not thread-safe."""

    def __init__(self, release: Release, *, top: int, approximate: bool) -> None:
        self._release = release
        self._top = top
        self._approximate = approximate
        self.availability = Availability(release)
        self.constraints = Constraints(release.catalogue, self.availability)
        """The rules in force."""
        self.effects = RuleEffects()

    def lists(
        self,
        asked: Asking,
        top: int | None = None,
        *,
        placement: str = "",
        allowed: Flags | None = None,
        everything: bool = False,
    ) -> Listed:
        """Return a list for each user, of another length than usual if `top` is given.

        `placement`: the name of the place where the lists are shown; lists from clicks have none. `allowed`
        `[N]`: a mask of the items that the lists may have, besides what rules say; None: all. `everything`:
        whether a fallback list that lacks popular items is filled with others.
        """
        top = self._top if top is None else top
        shape, warm = (len(asked.warm), top), asked.warm
        found = Listed(
            np.full(shape, NO_ITEM, np.int32), np.full(shape, -np.inf, np.float32), np.zeros(shape, np.bool_)
        )
        parts = self.constraints.parts(asked.last, placement)
        if allowed is not None:
            parts = [Part(rows, (constraint or Constraint()).only(allowed)) for rows, constraint in parts]
        at = np.cumsum(warm) - 1
        found.indexes[warm], found.scores[warm] = self._release.rank(
            asked.hidden[warm].astype(np.float32),
            top,
            asked.excluded[warm],
            asked.recent[warm],
            own=asked.own[warm],
            approximate=self._approximate,
            parts=[Part(at[rows[warm[rows]]], constraint) for rows, constraint in parts],
        )
        for rows, constraint in parts:
            cold = rows[~warm[rows]]
            if len(cold):
                fallback = self.availability.fallback(asked.excluded[cold], top, constraint)
                if everything and (short := fallback[:, -1] == NO_ITEM).any():
                    fallback[short] = self.availability.fallback(
                        asked.excluded[cold[short]], top, constraint, everything=True
                    )
                found.indexes[cold] = fallback
            if constraint and constraint.pins:
                found.pinned[rows] = np.isin(found.indexes[rows], [item for _, item in constraint.pins])
        return found

    def constraint(self, last: Indexes, placement: str = "") -> Constraint:
        """Return the constraint of the list of one user, with what `Availability` adds to scores.

        `last` `[1]`: the item of the user's last event, or `NO_ITEM`.
        """
        (part,), added = self.constraints.parts(last, placement), self.availability.added
        constraint = part.constraint or Constraint()
        if added is None:
            return constraint
        adjust = added if constraint.adjust is None else added + constraint.adjust
        return constraint._replace(adjust=adjust)

    def compare(self, asked: Asking) -> None:
        """Find out which rules change the first list that the network ranks, if a comparison is due."""
        first, constraints = np.flatnonzero(asked.warm)[:1], self.constraints
        if not self.effects.due or not constraints.rules or not len(first):
            return
        states = asked.hidden[first].astype(np.float32)
        scores = self._release.scores(states, asked.recent[first], asked.own[first])[0]
        scores[~self.availability.mask] = -np.inf
        excluded, last = asked.excluded[first], asked.last[first]
        scores[excluded[excluded != NO_ITEM]] = -np.inf
        holding = self.constraint(last)
        ruled = scores if holding.adjust is None else scores + holding.adjust
        items = in_reach(scores, ruled, self._top, [item for _, item in holding.pins])

        def together(some: Collection[str]) -> Constraint:
            return constraints.together(some, items)

        self.effects.changed.update(changing(scores[items], self._top, constraints.holding(last), together))
        self.effects.compared += 1
        self.effects.due = False
