"""Lists on request: ranked from the states as they are, without a step, and without changing them.

A request may leave out items, and allow only some tags. Its list has the items that a click's list would
have, among those that the request allows.

>>> Query(k=3, only=("category:shoes",)).filters
True
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from worker.core.ranking import NO_ITEM, Floats, Indexes, TopK
from worker.core.recommender import COLD, MODEL, Applied, Recommender
from worker.core.slabs import Rows

SIMILAR: Final = "similar"
"""The reason of a list of similar items."""

UNKNOWN_ITEM: Final = "unknown_item"
"""The reason of an empty list: the release does not know the item to which the others should be similar."""

MAX_K: Final = 1_000
"""Maximum number of items in a list."""
MAX_NAMES: Final = 1_000
"""Maximum number of ids or tags of one kind in a request."""
MAX_PLACEMENT: Final = 100
"""Maximum length of the name of a placement."""

NO_ROW: Final = -1
"""The row of a user without a state."""

Allowed = Callable[["Query"], Indexes]
"""Returns the items that a query with filters allows, ascending."""

_NO_SCORES: Final = np.empty(0, np.float32)
_NO_ITEMS: Final = np.empty(0, np.int32)


class Query(NamedTuple):
    """A request for a list of `k` items, none of the ids `exclude`.

    `only`: tags of which an item must have one; empty: any item. `without`: tags of which it may have none.
    `placement`: the name of the place where the list will be shown.
    """

    k: int
    exclude: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    placement: str = ""

    @property
    def filters(self) -> bool:
        """Whether the query allows only some tags."""
        return bool(self.only or self.without)


class Listed(NamedTuple):
    """A list: item ids, best first. `scores` are parallel to `items`, or empty if the `reason` is `COLD`."""

    items: list[str]
    scores: Floats
    reason: str
    release: int


def answer(
    recommender: Recommender,
    rows: Rows,
    queries: Sequence[Query],
    allowed: Allowed,
    *,
    now_ms: int | None = None,
) -> list[Listed]:
    """Return a list for each query: that of the user of its row; `NO_ROW`: of popular items.

    `now_ms`: see `Recommender.current`.

    Queries with the same filters are ranked together.
    """
    known = np.flatnonzero(rows != NO_ROW)
    users = recommender.current(rows[known], now_ms)
    # By query: the position of its user in `users`; negative if there is no state, or no known item in it.
    places = np.full(len(rows), -1)
    places[known[users.warm]] = np.flatnonzero(users.warm)
    excluded = _excluded(recommender, queries, known, users)
    found = list[Listed | None]([None] * len(queries))
    groups = defaultdict[tuple[Any, Any], list[int]](list)
    for number, query in enumerate(queries):
        groups[query.only, query.without].append(number)
    for numbers in groups.values():
        items = allowed(queries[numbers[0]]) if queries[numbers[0]].filters else None
        warm = np.array([number for number in numbers if places[number] >= 0], np.intp)
        if len(warm):
            top = max(queries[number].k for number in warm.tolist())
            here = _at(users, places[warm], excluded[warm])
            best = _best(recommender, here, top, items)
            for number, indexes, scores in zip(warm.tolist(), *best, strict=True):
                found[number] = _listed(recommender, indexes, scores, MODEL, queries[number].k)
        for number in numbers:
            if found[number] is None:
                popular = _popular(recommender, excluded[number], queries[number].k, items)
                found[number] = _listed(recommender, popular, _NO_SCORES, COLD, queries[number].k)
    return [one for one in found if one is not None]


def similar(recommender: Recommender, item_id: str, query: Query, allowed: Allowed) -> Listed | None:
    """Return the items whose vectors are most similar to an item's, by cosine; None if the item is unknown.

    The item itself is left out.
    """
    catalogue = recommender.release.catalogue
    item, *out = catalogue.indexes([item_id, *query.exclude]).tolist()
    if item == NO_ITEM:
        return None
    cosines = recommender.release.similarities(item)
    cosines[[item, *(index for index in out if index != NO_ITEM)]] = -np.inf
    among = allowed(query) if query.filters else np.arange(len(cosines), dtype=np.int32)
    among = among[cosines[among] > -np.inf]
    if len(among) > query.k:
        # To sort all of a large catalogue would take longer than the product.
        last = np.partition(cosines[among], -query.k)[-query.k]
        among = among[cosines[among] >= last]
    # A stable order, so that of equal items the lower index comes first.
    best = among[np.argsort(-cosines[among], kind="stable")[: query.k]]
    return _listed(recommender, best, cosines[best], SIMILAR, query.k)


def _at(users: Applied, places: NDArray[np.intp], excluded: Indexes) -> Applied:
    """Return the input for ranking at some `places`, with other items to exclude."""
    return users._replace(
        hidden=users.hidden[places], recent=users.recent[places], own=users.own[places], excluded=excluded
    )


def _best(recommender: Recommender, users: Applied, top: int, items: Indexes | None) -> TopK:
    if items is None:
        return recommender.top_k(users, slice(None), top)
    hidden = users.hidden.astype(np.float32)
    return recommender.release.rank_among(
        items, hidden, top, excluded=users.excluded, recent=users.recent, own=users.own
    )


def _popular(recommender: Recommender, excluded: Indexes, k: int, items: Indexes | None) -> Indexes:
    """Return popular items; if too few are allowed, the other allowed items follow, by their biases."""
    popular = recommender.availability.popular(excluded, recommender.release.items)
    if items is not None:
        popular = popular[np.isin(popular, items)]
    if len(popular) >= k:
        return popular[:k]
    release = recommender.release
    rest = np.arange(release.items, dtype=np.int32) if items is None else items
    rest = rest[~np.isin(rest, np.append(popular, excluded))]
    nothing = np.zeros((1, release.state_size), np.float32)
    recent, own = (
        np.full((1, needed), NO_ITEM, np.int32) for needed in (release.recent_needed, release.own_needed)
    )
    more = release.rank_among(rest, nothing, k - len(popular), recent=recent, own=own).indexes[0]
    return np.append(popular, more[more != NO_ITEM])


def _excluded(recommender: Recommender, queries: Sequence[Query], known: Rows, users: Applied) -> Indexes:
    """Return the items to leave out of each list: by the user's last clicks, and by the request."""
    most, own = max((len(query.exclude) for query in queries), default=0), users.excluded.shape[1]
    excluded = np.full((len(queries), own + most), NO_ITEM, np.int32)
    excluded[known, :own] = users.excluded
    for number, query in enumerate(queries):
        indexes = recommender.release.catalogue.indexes(query.exclude)
        excluded[number, own : own + len(indexes)] = indexes
    return excluded


def _listed(recommender: Recommender, indexes: Indexes, scores: Floats, reason: str, k: int) -> Listed:
    indexes = indexes[indexes != NO_ITEM][:k]
    release = recommender.release
    return Listed(release.catalogue.ids(indexes).tolist(), scores[: len(indexes)], reason, release.number)
