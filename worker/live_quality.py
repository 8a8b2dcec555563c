"""Reporting of live quality: to the quality topic as part of a checkpoint, to the metrics after it.

Counts are committed or discarded together with the transaction of their clicks, so no click is counted twice.
If it is unknown whether a transaction with a report was committed, the report is not sent again.
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
"""The interval between reports to the topic."""


class LiveQuality:
    """Reports the counts of `quality` by release."""

    def __init__(self, quality: Quality, writer: QualityWriter, *, metrics: Metrics, clock: Clock) -> None:
        self._quality = quality
        self._writer = writer
        self._metrics = metrics
        self._clock = clock
        self._report_due = clock.steady() + INTERVAL_SECONDS
        self._committed: dict[int, Tally] = {}
        """The counts that are committed but not yet reported."""
        self._sent = False

    def hurry(self) -> None:
        """Make the next report due at once, because the next transaction may be the last."""
        self._report_due = 0.0

    def due(self) -> bool:
        """Return whether a report is due and there are counts to report."""
        return self._clock.steady() >= self._report_due and bool(self._tallies())

    def report(self, serving: Serving) -> None:
        """Add a report with all unreported counts to the transaction. Raises CheckpointFailed, TopicError."""
        candidate = serving.candidate.release.number if serving.candidate else None
        champion, now_ms = serving.champion.release.number, self._clock.now_ms()
        self._writer.publish(self._tallies(), champion=champion, candidate=candidate, now_ms=now_ms)
        self._report_due = self._clock.steady() + INTERVAL_SECONDS
        self._sent = True

    def committed(self) -> None:
        """Add the counts of the committed transaction to the metrics."""
        counted = self._quality.open
        if counted or self._sent:
            self._metrics.observe_quality(counted, self._quality.known)
            self._committed = {} if self._sent else _sum(self._committed, counted)
            self._quality.open, self._sent = {}, False

    def failed(self) -> None:
        """Discard the counts of a transaction that failed or whose outcome is unknown."""
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
