"""The explanation of a list: the terms of each score, and the items that were left out, with the reasons.

>>> sorted(reasons(np.array([3, 5, 7]), {"recent": [5], "request": [3, 5]}).items())
[(3, ['request']), (5, ['recent', 'request']), (7, ['approximate'])]
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from worker.core.asking import NO_ROW, Allowed, Listed, Query
from worker.core.constraints import Constraints
from worker.core.placing import Constraint
from worker.core.ranking import NO_ITEM, Floats, Indexes
from worker.core.recommender import MODEL, Recommender

UNAVAILABLE: Final = "unavailable"
"""The item is unavailable by the items topic."""
REQUEST: Final = "request"
"""The request names the item in `exclude`."""
TAGS: Final = "tags"
"""The tags of the item are not those that the request allows."""
LIMITS: Final = "limits"
"""A rule limits how many items like this one are in a list, or pins another item in its place."""
APPROXIMATE: Final = "approximate"
"""The ranking, which is approximate, did not find the item."""

_NO_ITEM: Final = np.full(1, NO_ITEM, np.int32)


def explained(
    recommender: Recommender,
    row: int,
    query: Query,
    listed: Listed,
    allowed: Allowed,
    *,
    now_ms: int | None = None,
) -> dict[str, Any]:
    """Return the explanation of the list for the user of `row`, as a JSON document.

    `places`: for each item, its score and the score's terms, whose sum it is; in a list of popular items, its
    rank among those; and whether a rule pins it. `left_out`: items that would be in a list as long without
    any condition, best first, each with the reasons why it is not in this list. `rules`: those that hold.
    """
    rows = np.array([] if row == NO_ROW else [row], np.int64)
    users, catalogue = recommender.current(rows, now_ms), recommender.release.catalogue
    indexes = catalogue.indexes(listed.items)
    rules = _Rules.of(recommender, users.last if row != NO_ROW else _NO_ITEM, query.placement)
    if listed.reason == MODEL:
        hidden = users.hidden.astype(np.float32)
        terms = recommender.release.parts(hidden, users.recent, users.own) | rules.terms()
        total: Floats = np.sum(np.stack([*terms.values()]), axis=0)
        best = np.argsort(-total, kind="stable")[: query.k].astype(np.int32)
        places = [
            {"item_id": item_id, "score": score} | {name: float(term[index]) for name, term in terms.items()}
            for item_id, index, score in zip(
                listed.items, indexes.tolist(), listed.scores.tolist(), strict=True
            )
        ]
        scores: dict[str, Floats] = {"score": total}
    else:
        best, scores = recommender.release.popular[: query.k], {}
        ranks = {index: rank for rank, index in enumerate(recommender.release.popular.tolist(), 1)}
        places = [
            {"item_id": item_id, "popular": ranks.get(index)}
            for item_id, index in zip(listed.items, indexes.tolist(), strict=True)
        ]
    for place, index in zip(places, indexes.tolist(), strict=True):
        if index in rules.pinned:
            place["pinned"] = True
    missing = best[~np.isin(best, indexes)]
    because = recommender.left_out(rows, now_ms) | rules.excluding(missing)
    why = _why(recommender, missing, because, query, allowed, otherwise=rules.otherwise)
    left_out = [
        {"item_id": item_id}
        | {name: float(one[index]) for name, one in scores.items()}
        | {"because": why[index]}
        for item_id, index in zip(catalogue.ids(missing).tolist(), missing.tolist(), strict=True)
    ]
    return {"places": places, "left_out": left_out, "rules": rules.names}


class _Rules(NamedTuple):
    """The rules that hold for a list: their names, and what they do together."""

    constraints: Constraints
    names: list[str]
    together: Constraint

    @classmethod
    def of(cls, recommender: Recommender, last: Indexes, placement: str) -> _Rules:
        """Return the rules that hold for a list after a click on the item `last` `[1]`."""
        constraints = recommender.listing.constraints
        names = constraints.holding(last, placement)
        return cls(constraints, names, constraints.together(names))

    @property
    def pinned(self) -> Collection[int]:
        """The items that rules pin."""
        return [item for _, item in self.together.pins]

    @property
    def otherwise(self) -> str:
        """The reason why an item is left out if there is no other."""
        return LIMITS if self.together.pins or self.together.caps else APPROXIMATE

    def terms(self) -> dict[str, Floats]:
        """Return what rules add to the scores of items that they do not leave out, if they add anything."""
        adjust = self.together.adjust
        return {} if adjust is None else {"rules": np.where(adjust == -np.inf, np.float32(0), adjust)}

    def excluding(self, items: Indexes) -> dict[str, Indexes]:
        """Return those of `items` that a rule leaves out, by `rule` and its name."""
        found = dict[str, Indexes]()
        for name in self.names:
            adjust = self.constraints.adjusting(name, items)
            if adjust is not None and len(out := items[adjust == -np.inf]):
                found[f"rule {name}"] = out
        return found


def _why(
    recommender: Recommender,
    items: Indexes,
    left_out: Mapping[str, Indexes],
    query: Query,
    allowed: Allowed,
    *,
    otherwise: str,
) -> dict[int, list[str]]:
    named: dict[str, Collection[int]] = {
        UNAVAILABLE: items[~recommender.listing.availability.mask[items]].tolist(),
        **{why: one.ravel().tolist() for why, one in left_out.items()},
        REQUEST: recommender.release.catalogue.indexes(query.exclude).tolist(),
        TAGS: items[~np.isin(items, allowed(query))].tolist() if query.filters else (),
    }
    return reasons(items, named, otherwise)


def reasons(
    items: NDArray[Any], named: Mapping[str, Collection[int]], otherwise: str = APPROXIMATE
) -> dict[int, list[str]]:
    """Return the reasons that keep each item out of a list; `otherwise` for an item without one.

    `named`: the items by reason.
    """
    return {
        item: [why for why, those in named.items() if item in those] or [otherwise] for item in items.tolist()
    }
