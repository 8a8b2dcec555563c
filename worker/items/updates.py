"""The items in service: which of them may be recommended, and what their tags are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from worker.core.known_items import Change, KnownItems
from worker.core.reasons import Reason
from worker.core.recommender import Recommender
from worker.items.following import Following, Messages


class ItemUpdates(Following[KnownItems, Change]):
    """The latest descriptions of all items."""

    what = "items"
    messages = Messages(
        reading="reading the items: ",
        read="read the items",
        refused="records of items refused",
        behind="the items are not up to date",
        again="the items are up to date again",
    )

    @property
    def known(self) -> KnownItems:
        """All that is known of items; nothing before the topic has been read."""
        return KnownItems() if self._known is None else self._known

    def _introduce(self, known: KnownItems, recommender: Recommender) -> None:
        recommender.listing.availability.only_without(known.unavailable())

    def _change(self, known: KnownItems, changes: Sequence[Change]) -> None:
        self._changed(known, known.put(changes, now_ms=self._clock.now_ms()))

    def _advance(self, known: KnownItems) -> None:
        self._changed(known, known.advance(self._clock.now_ms()))

    def _changed(self, known: KnownItems, item_ids: Sequence[str]) -> None:
        if item_ids:
            different = [*dict.fromkeys(item_ids)]
            available = known.available(different)
            for recommender in self._recommenders():
                recommender.listing.availability.set(different, available)
                recommender.listing.constraints.retag(different)

    def _note(self, known: KnownItems) -> None:
        metrics = self._metrics
        metrics.items.set(len(known))
        metrics.items_unavailable.set(known.unavailable_count)
        metrics.items_unavailable_in_catalogue.set(self._recommenders()[0].listing.availability.unavailable)

    def _summary(self, known: KnownItems) -> dict[str, int]:
        return {
            "items": len(known),
            "unavailable": known.unavailable_count,
            "in_catalogue": self._recommenders()[0].listing.availability.unavailable,
        }

    def _count(self, refused: Counter[Reason]) -> None:
        for reason, number in refused.items():
            self._metrics.item_records_refused.labels(reason).inc(number)

    def _left(self, records: int) -> None:
        self._metrics.items_left.set(records)

    def _read_in(self, seconds: float) -> None:
        self._metrics.items_catch_up_seconds.set(seconds)
