"""A topic of items or rules in service: applies what the follower reads, and what the clock says.

All of this happens on the loop's thread, between two batches. So no list is ranked while items or rules
change, and a record takes effect in the first batch after it was read.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final, Generic, NamedTuple

import structlog

from worker.clock import Clock
from worker.core.reasons import Reason
from worker.core.recommender import Recommender
from worker.http.readiness import Readiness
from worker.items.follower import C, CaughtUp, Changed, Event, Failed, Follower, K, Reading, Waits
from worker.items.letters import ItemLetters
from worker.metrics import Metrics
from worker.topics.clicks import Invalid

log = structlog.get_logger("worker")

_ROUND_SECONDS: Final = 0.05
"""The time for changes in one round; further changes wait for the next round."""

_TOGETHER: Final = 1_000
"""The number of changes that are applied together, about."""


class Messages(NamedTuple):
    """The messages about one topic: for logs, and for /readyz while it is read."""

    reading: str
    read: str
    refused: str
    behind: str
    again: str


class Following(ABC, Generic[K, C]):
    """All that a topic says, and its effect on `recommenders()`, those in service."""

    what: str
    """The name of the topic's setting."""
    messages: Messages

    def __init__(
        self,
        follower: Follower[K, C],
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
        self._known: K | None = None

    def start(self) -> None:
        """Start to follow the topic."""
        self._follower.start()

    def read_again(self) -> None:
        """Read the topic from its beginning, because it was created again; what is known stays."""
        self._follower.read_again()

    def close(self) -> None:
        """Stop following the topic."""
        self._follower.close()

    def wait(self, seconds: float) -> bool:
        """Wait up to `seconds` for the next event; return whether the whole topic has been read once.

        Releases must be in service. Raises the error that ended the follower.
        """
        self._act(self._follower.take(seconds))
        return self._known is not None

    def introduce(self, recommender: Recommender) -> None:
        """Apply what is known to a release that comes into service."""
        if self._known is not None:
            self._introduce(self._known, recommender)

    def apply(self) -> None:
        """Apply new records, and changes that the clock makes. Call this between batches.

        Raises the error that ended the follower.
        """
        deadline = self._clock.steady() + _ROUND_SECONDS
        changes: list[C] = []
        while event := self._follower.take():
            if isinstance(event, Changed):
                # To apply one change of a rule takes as long as to apply many. One by one, those that came
                # during a long batch would not be done in this round.
                changes += event.changes
                self._refuse(event.bad)
            else:
                self._act(event)
            if len(changes) >= _TOGETHER:
                self._act(Changed(changes, []))
                changes = []
            if self._clock.steady() >= deadline:
                break
        if changes:
            self._act(Changed(changes, []))
        if self._known is not None:
            self._advance(self._known)
            self._note(self._known)

    @abstractmethod
    def _introduce(self, known: K, recommender: Recommender) -> None:
        """Apply what is known to one release."""

    @abstractmethod
    def _change(self, known: K, changes: Sequence[C]) -> None:
        """Apply changes to what is known, and to the releases in service."""

    @abstractmethod
    def _advance(self, known: K) -> None:
        """Apply what the clock changes."""

    @abstractmethod
    def _note(self, known: K) -> None:
        """Update the gauges."""

    @abstractmethod
    def _summary(self, known: K) -> dict[str, int]:
        """Return what to log once the topic has been read."""

    @abstractmethod
    def _count(self, refused: Counter[Reason]) -> None:
        """Count refused records."""

    def _left(self, records: int) -> None:
        """Record how many records are left to read at the start."""

    def _read_in(self, seconds: float) -> None:
        """Record in which time the topic was read at the start."""

    def _act(self, event: Event[K, C] | None) -> None:
        if isinstance(event, Failed):
            raise event.error
        if isinstance(event, CaughtUp):
            self._caught_up(event)
        elif isinstance(event, Changed):
            assert self._known is not None  # noqa: S101  # the follower reports that it has caught up first
            if event.changes:
                self._change(self._known, event.changes)
            self._refuse(event.bad)
        elif isinstance(event, Reading):
            self._left(event.left)
            self._readiness.not_ready(f"{self.messages.reading}{event.left:,} records are left")
        elif isinstance(event, Waits):
            self._wait(event.reason)

    def _caught_up(self, event: CaughtUp[K]) -> None:
        self._known = known = event.known
        self._advance(known)
        for recommender in self._recommenders():
            self._introduce(known, recommender)
        self._note(known)
        self._left(0)
        self._read_in(event.seconds)
        self._count(event.refused)
        log.info(
            self.messages.read,
            **self._summary(known),
            refused=_named(event.refused),
            seconds=round(event.seconds, 3),
        )

    def _refuse(self, bad: Sequence[Invalid]) -> None:
        if not bad:
            return
        counts = Counter(one.reason for one in bad)
        self._count(counts)
        self._letters.add(bad)
        record = bad[0].record
        log.warning(
            self.messages.refused,
            count=len(bad),
            reasons=_named(counts),
            **({"why": bad[0].parts} if bad[0].parts else {}),
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
            key=(record.key or b"")[:80].decode(errors="replace"),
        )

    def _wait(self, reason: str) -> None:
        if self._known is None:
            if reason:
                self._readiness.waiting(reason)
            return
        behind = self.messages.behind
        self._readiness.remarks[self.what] = f"{behind}: {reason}" if reason else ""
        if reason:
            log.warning(behind, reason=reason)
        else:
            log.info(self.messages.again)


def _named(counts: Counter[Reason]) -> dict[str, int]:
    return {str(reason): number for reason, number in counts.items()}
