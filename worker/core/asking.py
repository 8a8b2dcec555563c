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
    users = _users(recommender, rows, queries, now_ms)
    groups = defaultdict[tuple[Any, Any], list[int]](list)
    for number, query in enumerate(queries):
        groups[query.only, query.without].append(number)
    found = dict[int, Listed]()
    for numbers in groups.values():
        first = queries[numbers[0]]
        top = max(queries[number].k for number in numbers)
        lists = _lists(recommender, _taken(users, numbers), top, allowed(first) if first.filters else None)
        for number, indexes, scores in zip(numbers, *lists, strict=True):
            k = queries[number].k
            found[number] = (
                _listed(recommender, indexes, scores, MODEL, k)
                if users.warm[number]
                else _listed(recommender, indexes, _NO_SCORES, COLD, k)
            )
    return [found[number] for number in range(len(queries))]


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


def _users(recommender: Recommender, rows: Rows, queries: Sequence[Query], now_ms: int | None) -> Applied:
    """Return the input for ranking, for all queries; a user without a state is as one without clicks."""
    release, known = recommender.release, np.flatnonzero(rows != NO_ROW)
    users, count = recommender.current(rows[known], now_ms), len(queries)
    own, most = users.excluded.shape[1], max((len(query.exclude) for query in queries), default=0)
    hidden, warm = np.zeros((count, release.state_size), np.float16), np.zeros(count, np.bool_)
    excluded, recent, clicked = (
        np.full((count, size), NO_ITEM, np.int32)
        for size in (own + most, release.recent_needed, release.own_needed)
    )
    hidden[known], warm[known], excluded[known, :own] = users.hidden, users.warm, users.excluded
    recent[known], clicked[known] = users.recent, users.own
    for number, query in enumerate(queries):
        indexes = release.catalogue.indexes(query.exclude)
        excluded[number, own : own + len(indexes)] = indexes
    return Applied(np.arange(count), hidden, warm, excluded, recent, clicked, np.full(count, NO_ROW))


def _taken(users: Applied, at: Sequence[int]) -> Applied:
    return users._replace(
        hidden=users.hidden[at],
        warm=users.warm[at],
        excluded=users.excluded[at],
        recent=users.recent[at],
        own=users.own[at],
    )


def _lists(recommender: Recommender, users: Applied, top: int, items: Indexes | None) -> TopK:
    """Return the `top` best of `items`, or of all, for each of `users`; fallback lists have no scores."""
    warm, shape = users.warm, (len(users.warm), top)
    found = TopK(np.full(shape, NO_ITEM, np.int32), np.full(shape, -np.inf, np.float32))
    if warm.any():
        found.indexes[warm], found.scores[warm] = (
            recommender.top_k(users, warm, top)
            if items is None
            else recommender.release.rank_among(
                items,
                users.hidden[warm].astype(np.float32),
                top,
                excluded=users.excluded[warm],
                recent=users.recent[warm],
                own=users.own[warm],
            )
        )
    for place in np.flatnonzero(~warm).tolist():
        popular = _popular(recommender, users.excluded[place], top, items)
        found.indexes[place, : len(popular)] = popular
    return found


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


def _listed(recommender: Recommender, indexes: Indexes, scores: Floats, reason: str, k: int) -> Listed:
    indexes = indexes[indexes != NO_ITEM][:k]
    release = recommender.release
    return Listed(release.catalogue.ids(indexes).tolist(), scores[: len(indexes)], reason, release.number)
