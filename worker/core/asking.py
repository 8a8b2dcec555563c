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

from worker.core.placing import Asked, Part, ranked
from worker.core.ranking import NO_ITEM, Floats, Indexes, ItemTable
from worker.core.recommender import COLD, MODEL, Applied, Recommender
from worker.core.slabs import Rows

SIMILAR: Final = "similar"
"""The reason of a list of similar items."""

UNKNOWN_ITEM: Final = "unknown_item"
"""The reason of an empty list: the release does not know the item to which the others should be similar."""

NO_ITEMS_TOPIC: Final = "no_items_topic"
"""The reason of an empty list: the request filters by tags, and the worker knows none of items."""

MAX_K: Final = 1_000
"""Maximum number of items in a list."""
MAX_NAMES: Final = 1_000
"""Maximum number of ids or tags of one kind in a request."""
MAX_PLACEMENT: Final = 100
"""Maximum length of the name of a placement."""

NO_ROW: Final = -1
"""The row of a user without a state."""

_AT_ONCE: Final = 64
"""Maximum number of lists that are made together: each may need a megabyte."""

Flags = NDArray[np.bool_]
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

    Rules hold as for other lists. Queries with the same filters and placement are ranked together.
    """
    parts = (slice(begin, begin + _AT_ONCE) for begin in range(0, len(queries), _AT_ONCE))
    found = (_answer(recommender, rows[part], queries[part], allowed, now_ms) for part in parts)
    return [listed for some in found for listed in some]


def _answer(
    recommender: Recommender, rows: Rows, queries: Sequence[Query], allowed: Allowed, now_ms: int | None
) -> list[Listed]:
    users = _users(recommender, rows, queries, now_ms)
    groups = defaultdict[tuple[Any, ...], list[int]](list)
    for number, query in enumerate(queries):
        groups[query.only, query.without, query.placement].append(number)
    found = dict[int, Listed]()
    for numbers in groups.values():
        first = queries[numbers[0]]
        top = max(queries[number].k for number in numbers)
        lists = recommender.listing.lists(
            _taken(users, numbers),
            top,
            placement=first.placement,
            allowed=_allowed(allowed(first) if first.filters else None, recommender.release.items),
            everything=True,
        )
        for number, indexes, scores in zip(numbers, lists.indexes, lists.scores, strict=True):
            k = queries[number].k
            found[number] = (
                _listed(recommender, indexes, scores, MODEL, k)
                if users.warm[number]
                else _listed(recommender, indexes, _NO_SCORES, COLD, k)
            )
    return [found[number] for number in range(len(queries))]


def similar(
    recommender: Recommender,
    item_id: str,
    query: Query,
    allowed: Allowed,
    *,
    row: int = NO_ROW,
    now_ms: int | None = None,
) -> Listed | None:
    """Return the items whose vectors are most similar to an item's, by cosine; None if the item is unknown.

    The item itself is left out. Rules hold as for other lists; a boost is added to the cosine. `row`: that of
    the user who asks, whose own exclusions hold, too. `now_ms`: see `Recommender.current`.
    """
    release = recommender.release
    item, *out = release.catalogue.indexes([item_id, *query.exclude]).tolist()
    if item == NO_ITEM:
        return None
    users = recommender.current(np.array([] if row == NO_ROW else [row], np.int64), now_ms)
    excluded = np.array([item, *out, *users.excluded.ravel().tolist()])
    cosines = release.similarities(item)
    cosines[excluded[excluded != NO_ITEM]] = -np.inf
    last = np.full(1, NO_ITEM, np.int32) if row == NO_ROW else users.last
    constraint = recommender.listing.constraint(last, query.placement)
    if (mask := _allowed(allowed(query) if query.filters else None, release.items)) is not None:
        constraint = constraint.only(mask)
    # A table in which the only number of an item's vector is its cosine.
    table, asked = ItemTable(cosines[:, None]), Asked(np.ones((1, 1), np.float32))
    best = ranked(table, None, asked, query.k, [Part(np.zeros(1, np.intp), constraint)])
    return _listed(recommender, best.indexes[0], best.scores[0], SIMILAR, query.k)


def why_empty(listed: Listed, query: Query, allowed: Allowed) -> str:
    """Return why an empty list is empty, as text. Not for one whose reason says it."""
    if query.filters and not len(allowed(query)):
        return f"no item of release {listed.release} has the tags that the request allows"
    return "all items that the request allows are unavailable or left out"


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
    last = np.full(count, NO_ITEM, np.int32)
    last[known] = users.last
    for number, query in enumerate(queries):
        indexes = release.catalogue.indexes(query.exclude)
        excluded[number, own : own + len(indexes)] = indexes
    return Applied(np.arange(count), hidden, warm, excluded, recent, clicked, np.full(count, NO_ROW), last)


def _taken(users: Applied, at: Sequence[int]) -> Applied:
    return users._replace(
        hidden=users.hidden[at],
        warm=users.warm[at],
        excluded=users.excluded[at],
        recent=users.recent[at],
        own=users.own[at],
        last=users.last[at],
    )


def _allowed(items: Indexes | None, count: int) -> Flags | None:
    """Return a mask of `count` items of which `items` are allowed; None: all."""
    if items is None:
        return None
    mask = np.zeros(count, np.bool_)
    mask[items] = True
    return mask


def _listed(recommender: Recommender, indexes: Indexes, scores: Floats, reason: str, k: int) -> Listed:
    indexes = indexes[indexes != NO_ITEM][:k]
    release = recommender.release
    return Listed(release.catalogue.ids(indexes).tolist(), scores[: len(indexes)], reason, release.number)
