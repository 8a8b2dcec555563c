"""Histograms of the times since clicks, for whole batches at once."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray
from prometheus_client.core import HistogramMetricFamily

_BUCKETS: Final = (0.002, 0.005, 0.01, 0.02, 0.04, 0.08, 0.15, 0.3, 0.6, 1.0, 2.5, 5.0, 15.0, 60.0)


class Latency:
    """A histogram that observes a whole batch at once, at about the cost of a single value."""

    def __init__(self, name: str, documentation: str, bounds: Iterable[float] = _BUCKETS) -> None:
        self._name, self._documentation = name, documentation
        self._bounds = np.array(sorted(bounds))
        self._counts = np.zeros(len(self._bounds) + 1, np.int64)
        self._sum = 0.0
        self._lock = threading.Lock()

    def observe(self, seconds: NDArray[np.float64]) -> None:
        """Add all values of `seconds`, of shape `[N]`."""
        counts = np.bincount(np.searchsorted(self._bounds, seconds), minlength=len(self._counts))
        with self._lock:
            self._counts += counts
            self._sum += float(seconds.sum())

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """Yield the metric for a scrape (called by the registry)."""
        with self._lock:
            cumulative, total = np.cumsum(self._counts).tolist(), self._sum
        labels = [*(str(bound) for bound in self._bounds.tolist()), "+Inf"]
        yield HistogramMetricFamily(
            self._name,
            self._documentation,
            buckets=list(zip(labels, cumulative, strict=True)),
            sum_value=total,
        )


class ListLatency:
    """The times from clicks to their lists, and to the commits of these lists.

    The timestamps of published lists are kept until their transaction ends.
    """

    def __init__(self) -> None:
        self.published = Latency(
            "nextclick_click_to_recommendation_seconds",
            "Time from the timestamp of a click's record until its list is handed to the producer.",
        )
        self.committed = Latency(
            "nextclick_click_to_commit_seconds",
            "Time from the timestamp of a click's record until the transaction with its list is committed.",
        )
        self._open: list[NDArray[np.int64]] = []

    def publish(self, timestamps_ms: NDArray[np.int64], now_ms: int) -> None:
        """Observe lists published at `now_ms` for records with these timestamps; negative: no timestamp."""
        known = timestamps_ms[timestamps_ms >= 0]
        self.published.observe((now_ms - known) / 1000)
        self._open.append(known)

    def commit(self, now_ms: int) -> None:
        """Observe the commit of all lists published since the last transaction ended."""
        timestamps, self._open = self._open, []
        if timestamps:
            self.committed.observe((now_ms - np.concatenate(timestamps)) / 1000)

    def abort(self) -> None:
        """Forget the lists of a transaction that failed: their clicks are read and answered again."""
        self._open = []
