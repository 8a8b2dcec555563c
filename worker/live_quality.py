"""Live quality on its way out: into its topic with a checkpoint, into the metrics after it.

What is counted belongs to the transaction that its clicks are in. With it it is committed, or forgotten: no
click counts twice. Where nobody can say whether a transaction with a report was committed, the report is not
sent again.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Final

from worker.core.quality import Quality, Tally
from worker.core.serving import Serving
from worker.metrics import Metrics
from worker.topics.quality import QualityWriter

INTERVAL_SECONDS: Final = 10.0
"""How often what was counted goes into the topic."""


class Reporting:
    """What `quality` counts, reported by release."""

    def __init__(
        self,
        quality: Quality,
        writer: QualityWriter,
        *,
        metrics: Metrics,
        steady: Callable[[], float],
        now_ms: Callable[[], int],
    ) -> None:
        self._quality = quality
        self._writer = writer
        self._metrics = metrics
        self._steady = steady
        self._now_ms = now_ms
        self._due = steady() + INTERVAL_SECONDS
        self._committed: dict[int, Tally] = {}
        """What is committed and not in the topic yet."""
        self._sent = False

    def hurry(self) -> None:
        """Let the next transaction take what there is: there may be none after it."""
        self._due = 0.0

    def part(
        self, positions: Mapping[int, int], pending: Collection[int], serving: Serving
    ) -> Collection[int]:
        """Add what is due to the transaction, and say by which partitions it is fenced.

        Those that are `pending` in it; where there are none, one of those in `positions`, if anything is due.
        """
        tallies = _sum(self._committed, self._quality.open)
        if self._steady() < self._due or not tallies or not positions:
            return pending
        candidate = serving.candidate.release.number if serving.candidate else None
        champion = serving.champion.release.number
        self._writer.publish(tallies, champion=champion, candidate=candidate, now_ms=self._now_ms())
        self._due = self._steady() + INTERVAL_SECONDS
        self._sent = True
        return pending or {min(positions)}

    def committed(self) -> None:
        """Note that the transaction is durable: what it counted does count."""
        counted = self._quality.open
        if counted or self._sent:
            self._metrics.observe_quality(counted, self._quality.known)
            self._committed = {} if self._sent else _sum(self._committed, counted)
            self._quality.open, self._sent = {}, False

    def failed(self) -> None:
        """Note that it is not, or may not be."""
        if self._sent:
            self._committed = {}
        self._quality.open, self._sent = {}, False

    def drop(self, partition: int) -> None:
        """Forget the lists of a partition."""
        self._quality.drop(partition)


def _sum(one: Mapping[int, Tally], other: Mapping[int, Tally]) -> dict[int, Tally]:
    total: dict[int, Tally] = {}
    for tallies in (one, other):
        for number, tally in tallies.items():
            total.setdefault(number, Tally()).add(tally)
    return total
