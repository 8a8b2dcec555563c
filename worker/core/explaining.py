"""The explanation of a list: the terms of each score, and the items that were left out, with the reasons.

>>> sorted(reasons(np.array([3, 5, 7]), {"recent": [5], "request": [3, 5]}).items())
[(3, ['request']), (5, ['recent', 'request']), (7, ['approximate'])]
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from worker.core.asking import NO_ROW, Allowed, Listed, Query
from worker.core.ranking import Floats, Indexes
from worker.core.recommender import MODEL, Recommender

UNAVAILABLE: Final = "unavailable"
"""The item is unavailable by the items topic."""
REQUEST: Final = "request"
"""The request names the item in `exclude`."""
TAGS: Final = "tags"
"""The tags of the item are not those that the request allows."""
APPROXIMATE: Final = "approximate"
"""The ranking, which is approximate, did not find the item."""


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
    rank among those. `left_out`: items that would be in a list as long without any condition, best first,
    each with the reasons why it is not in this list.
    """
    rows = np.array([] if row == NO_ROW else [row], np.int64)
    users, catalogue = recommender.current(rows, now_ms), recommender.release.catalogue
    indexes = catalogue.indexes(listed.items)
    if listed.reason == MODEL:
        hidden = users.hidden.astype(np.float32)
        terms = recommender.release.parts(hidden, users.recent, users.own)
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
    missing = best[~np.isin(best, indexes)]
    why = _why(recommender, missing, recommender.left_out(rows, now_ms), query, allowed)
    left_out = [
        {"item_id": item_id}
        | {name: float(one[index]) for name, one in scores.items()}
        | {"because": why[index]}
        for item_id, index in zip(catalogue.ids(missing).tolist(), missing.tolist(), strict=True)
    ]
    return {"places": places, "left_out": left_out}


def _why(
    recommender: Recommender,
    items: Indexes,
    left_out: Mapping[str, Indexes],
    query: Query,
    allowed: Allowed,
) -> dict[int, list[str]]:
    named: dict[str, Collection[int]] = {
        UNAVAILABLE: items[~recommender.availability.available(items)].tolist(),
        **{why: one.ravel().tolist() for why, one in left_out.items()},
        REQUEST: recommender.release.catalogue.indexes(query.exclude).tolist(),
        TAGS: items[~np.isin(items, allowed(query))].tolist() if query.filters else (),
    }
    return reasons(items, named)


def reasons(items: NDArray[Any], named: Mapping[str, Collection[int]]) -> dict[int, list[str]]:
    """Return the reasons that keep each item out of a list; an item without one was not found.

    `named`: the items by reason.
    """
    return {
        item: [why for why, those in named.items() if item in those] or [APPROXIMATE]
        for item in items.tolist()
    }
