"""The items in service: applies what the follower reads, and what the clock says, to the releases in service.

All of this happens on the loop's thread, between two batches. So no list is ranked while the availability of
an item changes, and a record takes effect in the first batch after it was read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final

import structlog

from worker.clock import Clock
from worker.core.known_items import KnownItems
from worker.core.reasons import Reason
from worker.core.recommender import Recommender
from worker.http.readiness import Readiness
from worker.items.follower import CaughtUp, Changed, Event, Failed, ItemFollower, Reading, Waits
from worker.items.letters import ItemLetters
from worker.metrics import Metrics
from worker.topics.clicks import Invalid

log = structlog.get_logger("worker")

_ROUND_SECONDS: Final = 0.05
"""The time for changes in one round; further changes wait for the next round."""


class ItemUpdates:
    """The latest descriptions of all items, and their effect on `recommenders()`, those in service."""

    def __init__(
        self,
        follower: ItemFollower,
        recommenders: Callable[[], Sequence[Recommender]],
        *,
        letters: ItemLetters,
        metrics: Metrics,
        readiness: Readiness,
        clock: Clock,
    ) -> None:
        self._follower = follower
        self._recommenders = recommenders
        self._letters = letters
        self._metrics = metrics
        self._readiness = readiness
        self._clock = clock
        self._known: KnownItems | None = None

    @property
    def known(self) -> KnownItems | None:
        """The latest descriptions; None until all have been read once."""
        return self._known

    def start(self) -> None:
        """Start to follow the items."""
        self._follower.start()

    def read_again(self) -> None:
        """Read the items topic from its beginning, because it was created again; what is known stays."""
        self._follower.read_again()

    def close(self) -> None:
        """Stop following the items."""
        self._follower.close()

    def wait(self, seconds: float) -> bool:
        """Wait up to `seconds` for the next event; return whether all items have been read once.

        Releases must be in service. Raises the error that ended the follower.
        """
        self._act(self._follower.take(seconds))
        return self._known is not None

    def introduce(self, recommender: Recommender) -> None:
        """Apply what is known to a release that comes into service."""
        if self._known is not None:
            recommender.availability.only_without(self._known.unavailable())

    def apply(self) -> None:
        """Apply new records, and changes that the clock makes. Call this between batches.

        Raises the error that ended the follower.
        """
        deadline = self._clock.steady() + _ROUND_SECONDS
        while event := self._follower.take():
            self._act(event)
            if self._clock.steady() >= deadline:
                break
        if self._known is not None:
            self._changed(self._known.advance(self._clock.now_ms()))
            self._note(self._known)

    def _act(self, event: Event | None) -> None:
        if isinstance(event, Failed):
            raise event.error
        if isinstance(event, CaughtUp):
            self._caught_up(event)
        elif isinstance(event, Changed):
            assert self._known is not None  # noqa: S101  # the follower reports that it has caught up first
            self._changed(self._known.put(event.changes, now_ms=self._clock.now_ms()))
            self._refuse(event.bad)
        elif isinstance(event, Reading):
            self._metrics.items_left.set(event.left)
            self._readiness.not_ready(f"reading the items: {event.left:,} records are left")
        elif isinstance(event, Waits):
            self._wait(event.reason)

    def _caught_up(self, event: CaughtUp) -> None:
        self._known = known = event.known
        known.advance(self._clock.now_ms())
        for recommender in self._recommenders():
            self.introduce(recommender)
        self._note(known)
        metrics = self._metrics
        metrics.items_left.set(0)
        metrics.items_catch_up_seconds.set(event.seconds)
        self._count(event.refused)
        log.info(
            "read the items",
            items=len(known),
            unavailable=known.unavailable_count,
            in_catalogue=self._recommenders()[0].availability.unavailable,
            refused=_named(event.refused),
            seconds=round(event.seconds, 3),
        )

    def _changed(self, item_ids: Sequence[str]) -> None:
        if item_ids and self._known is not None:
            different = [*dict.fromkeys(item_ids)]
            available = self._known.available(different)
            for recommender in self._recommenders():
                recommender.availability.set(different, available)

    def _refuse(self, bad: Sequence[Invalid]) -> None:
        if not bad:
            return
        counts = Counter(one.reason for one in bad)
        self._count(counts)
        self._letters.add(bad)
        record = bad[0].record
        log.warning(
            "records of items refused",
            count=len(bad),
            reasons=_named(counts),
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
            key=(record.key or b"")[:80].decode(errors="replace"),
        )

    def _count(self, refused: Counter[Reason]) -> None:
        for reason, number in refused.items():
            self._metrics.item_records_refused.labels(reason).inc(number)

    def _note(self, known: KnownItems) -> None:
        metrics = self._metrics
        metrics.items.set(len(known))
        metrics.items_unavailable.set(known.unavailable_count)
        metrics.items_unavailable_in_catalogue.set(self._recommenders()[0].availability.unavailable)

    def _wait(self, reason: str) -> None:
        if self._known is None:
            if reason:
                self._readiness.waiting(reason)
            return
        self._readiness.remark_on_items = f"the items are not up to date: {reason}" if reason else ""
        if reason:
            log.warning("the items are not up to date", reason=reason)
        else:
            log.info("the items are up to date again")


def _named(counts: Counter[Reason]) -> dict[str, int]:
    return {str(reason): number for reason, number in counts.items()}
