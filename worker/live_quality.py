"""Live quality on its way out: into its topic with a checkpoint, into the metrics after it.

The counts belong to the transaction that their clicks are in: with it they are committed, or forgotten. So no
click counts twice. If it is unknown whether a transaction with a report was committed, the report is not sent
again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from worker.clock import Clock
from worker.core.quality import Quality, Tally
from worker.core.serving import Serving
from worker.metrics import Metrics
from worker.topics.quality import QualityWriter

INTERVAL_SECONDS: Final = 10.0
"""The interval at which the counts go into the topic."""


class LiveQuality:
    """Reports what `quality` counts, by release."""

    def __init__(self, quality: Quality, writer: QualityWriter, *, metrics: Metrics, clock: Clock) -> None:
        self._quality = quality
        self._writer = writer
        self._metrics = metrics
        self._clock = clock
        self._report_due = clock.steady() + INTERVAL_SECONDS
        self._committed: dict[int, Tally] = {}
        """The counts that are committed and not in the topic yet."""
        self._sent = False

    def hurry(self) -> None:
        """Put all counts into the next transaction: it may be the last."""
        self._report_due = 0.0

    def due(self) -> bool:
        """Return whether there is something to report, and the time for it has come."""
        return self._clock.steady() >= self._report_due and bool(self._tallies())

    def report(self, serving: Serving) -> None:
        """Add all counts to the transaction. Raises CheckpointFailed, TopicError."""
        candidate = serving.candidate.release.number if serving.candidate else None
        champion, now_ms = serving.champion.release.number, self._clock.now_ms()
        self._writer.publish(self._tallies(), champion=champion, candidate=candidate, now_ms=now_ms)
        self._report_due = self._clock.steady() + INTERVAL_SECONDS
        self._sent = True

    def committed(self) -> None:
        """Note that the transaction is durable: its counts do count."""
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

    def _tallies(self) -> dict[int, Tally]:
        return _sum(self._committed, self._quality.open)


def _sum(one: Mapping[int, Tally], other: Mapping[int, Tally]) -> dict[int, Tally]:
    total: dict[int, Tally] = {}
    for tallies in (one, other):
        for number, tally in tallies.items():
            total.setdefault(number, Tally()).add(tally)
    return total
