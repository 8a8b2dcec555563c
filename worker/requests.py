"""Lists on request, over HTTP or in the clicks topic, made from the states of this worker.

A request in the clicks topic is answered once its batch is applied: every earlier click of the user counts.
It moves no state, so recovery needs no replay of it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np

from worker.clock import Clock
from worker.config import Recommend
from worker.core import asking
from worker.core.asking import NO_ITEMS_TOPIC, NO_ROW, UNKNOWN_ITEM, Allowed, Listed, Query
from worker.core.batch import Clicks
from worker.core.known_items import KnownItems
from worker.core.ranking import Indexes
from worker.core.recommender import Recommendations, Recommender
from worker.core.states import States
from worker.items.updates import ItemUpdates
from worker.releases.adoption import Adoption
from worker.topics.clicks import Requested

_NOTHING_KNOWN: Final = KnownItems()
_NO_SCORES: Final = np.empty(0, np.float32)


class Replies(NamedTuple):
    """The lists for some requests of the clicks topic; `requests` are in the columns of clicks."""

    requests: Clicks
    more: Sequence[Mapping[str, str]]
    """For each request, the fields of its answer besides those of every list: `request_id`, and others."""
    lists: Sequence[Recommendations]
    too_old: int
    """The number of requests without a list because of `recommend.publish_max_age`."""


class Requests:
    """Makes lists on request. Call this between batches, on the loop's thread.

    The settings `recommend` say how long a list is whose request does not say it, and how old the record of a
    request may be that gets a list.
    """

    def __init__(
        self,
        states: States,
        adoption: Adoption,
        items: ItemUpdates | None,
        *,
        recommend: Recommend,
        clock: Clock,
    ) -> None:
        self.states = states
        self.adoption = adoption
        self.clock = clock
        self._items = items
        self._top = recommend.top
        self._max_age_ms = round(recommend.publish_max_age * 1_000)

    @property
    def known(self) -> KnownItems | None:
        """The descriptions of items; None without an items topic."""
        return self._items.known if self._items else None

    def allowed(self, recommender: Recommender) -> Allowed:
        """Return the function that says which items a query with filters allows."""

        def allowed(query: Query) -> Indexes:
            return recommender.tag_filter.items(self.known or _NOTHING_KNOWN, query.only, query.without)

        return allowed

    def similar(self, item_id: str, query: Query, row: int = NO_ROW) -> Listed | None:
        """Return the items that are similar to an item in the champion; None if it does not know the item.

        `row`: that of the user who asks.
        """
        champion, now_ms = self.adoption.serving.champion, self.clock.now_ms()
        return asking.similar(champion, item_id, query, self.allowed(champion), row=row, now_ms=now_ms)

    def answer(self, requested: Sequence[Requested]) -> Replies:
        """Return the lists for requests of the clicks topic, in their order."""
        now_ms = self.clock.now_ms()
        oldest = now_ms - self._max_age_ms if self._max_age_ms else 0
        wanted = [one for one in requested if not 0 <= one.record.timestamp < oldest]
        found = [self._at_once(one) for one in wanted]
        groups = defaultdict[Recommender, list[int]](list)
        for number, one in enumerate(wanted):
            if found[number] is None:
                groups[self.adoption.serving.recommender(one.request.user_id)].append(number)
        for recommender, numbers in groups.items():
            those = [wanted[number] for number in numbers]
            lists = asking.answer(
                recommender,
                np.array([self._row(one) for one in those], np.int64),
                [self._query(one) for one in those],
                self.allowed(recommender),
                now_ms=now_ms,
            )
            for number, listed in zip(numbers, lists, strict=True):
                found[number] = listed
        lists_of = [
            Recommendations(number, listed.items, listed.scores, listed.reason, listed.release)
            for number, listed in enumerate(found)
            if listed is not None
        ]
        more = [self._more(one, listed) for one, listed in zip(wanted, found, strict=True)]
        return Replies(_columns(wanted), more, lists_of, len(requested) - len(wanted))

    def _more(self, one: Requested, listed: Listed | None) -> dict[str, str]:
        query, serving = self._query(one), self.adoption.serving
        fields = {"request_id": one.asked.request_id}
        if query.placement:
            fields["placement"] = query.placement
        if listed and not listed.items and listed.reason not in (UNKNOWN_ITEM, NO_ITEMS_TOPIC):
            about_item = bool(one.asked.item_id)
            recommender = serving.champion if about_item else serving.recommender(one.request.user_id)
            fields["empty_because"] = asking.why_empty(listed, query, self.allowed(recommender))
        return fields

    def _at_once(self, one: Requested) -> Listed | None:
        """Return the list for a request that has no user's list; None for others."""
        number = self.adoption.serving.champion.release.number
        if one.asked.query.filters and self.known is None:
            return Listed([], _NO_SCORES, NO_ITEMS_TOPIC, number)
        if not one.asked.item_id:
            return None
        found = self.similar(one.asked.item_id, self._query(one), self._row(one))
        return found or Listed([], _NO_SCORES, UNKNOWN_ITEM, number)

    def _row(self, one: Requested) -> int:
        row = self.states.find(one.record.partition, one.request.user_id)
        return NO_ROW if row is None else row

    def _query(self, one: Requested) -> Query:
        return one.asked.query._replace(k=one.asked.query.k or self._top)


def _columns(requested: Sequence[Requested]) -> Clicks:
    """Return requests in the columns of clicks; the item is the one that a list is similar to, or empty."""
    return Clicks(
        partitions=np.array([one.record.partition for one in requested], np.int32),
        offsets=np.array([one.record.offset for one in requested], np.int64),
        user_ids=[one.request.user_id for one in requested],
        item_ids=[one.asked.item_id for one in requested],
        timestamps_ms=np.array([one.request.timestamp_ms for one in requested], np.int64),
        record_timestamps_ms=np.array([one.record.timestamp for one in requested], np.int64),
        elements=np.array([one.request.element for one in requested], np.int32),
    )
