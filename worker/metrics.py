"""The worker's Prometheus metrics. The worker itself never reads them.

Labels have few values: never a user, an item or an offset.
"""

from __future__ import annotations

import threading
import time
from collections import Counter as TallyCounter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final

import numpy as np
from numpy.typing import NDArray
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

from worker.core.batch import Clicks
from worker.core.quality import Tally
from worker.core.reasons import Reason, Skipped
from worker.core.recommender import Recommendations

_LATENCY_BUCKETS: Final = (0.002, 0.005, 0.01, 0.02, 0.04, 0.08, 0.15, 0.3, 0.6, 1.0, 2.5, 5.0, 15.0, 60.0)
_RECOVERY_BUCKETS: Final = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0, 60.0, 300.0)
_CHECKPOINT_BUCKETS: Final = (0.005, 0.01, 0.02, 0.04, 0.08, 0.15, 0.3, 0.6, 1.5, 5.0, 15.0)

_QUALITY: Final = {
    "lists": "Lists whose quality is measured. Of several lists for a user in one batch, only the newest "
    "counts.",
    "cold": "Measured lists that consist of popular items, as a fallback.",
    "clicks": "Clicks that judged a list: the user's first click after the list.",
    "hits": "Clicks that judged a list and were on one of the list's items.",
    "reciprocal_ranks": "Sum of 1 / rank over the hits.",
    "popular_hits": "Hits that a list of the release's popular items would have had on the same clicks.",
    "popular_reciprocal_ranks": "Sum of 1 / rank over the hits of the list of popular items.",
}


class Metrics:
    """All metrics of one worker, in a separate registry. `steady` is the clock that times stages."""

    def __init__(self, steady: Callable[[], float] = time.monotonic) -> None:
        self.registry = CollectorRegistry()
        self._steady = steady
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        self.ready = self._gauge("ready", "1 while /readyz answers 200, else 0.")
        self._add_walk()
        self._add_releases()
        self._add_states()
        self._add_recovery()

    def _add_walk(self) -> None:
        self.clicks = self._counter("clicks", "Clicks applied.")
        self.records = self._counter(
            "records", "Records read, by outcome: clicks, skipped or dead_letter.", "became"
        )
        self.dead_letters = self._counter(
            "dead_letters", "Records that are not valid clicks, by reason.", "reason"
        )
        self.skipped = self._counter(
            "skipped",
            "Valid records without a click, by reason: where (excluded by click.where) or deleted.",
            "reason",
        )
        self.ids_trimmed = self._counter(
            "ids_trimmed", "Ids in clicks from which leading or trailing spaces were removed."
        )
        self.recommendations = self._counter(
            "recommendations",
            "Lists published, by reason and by role of the release (champion or candidate).",
            "reason",
            "role",
        )
        self.latency = Latency(
            "nextclick_click_to_recommendation_seconds",
            "Time from the timestamp of a click's record until its list is handed to the producer.",
        )
        self.registry.register(self.latency)
        self.stages = self._counter("stage_seconds", "Time spent in each stage of the loop.", "stage")
        self.checkpoints = self._counter(
            "checkpoints", "Checkpoints, by outcome: committed or failed.", "outcome"
        )
        self.checkpoint_seconds = self._histogram(
            "checkpoint_seconds", "Duration of a checkpoint.", _CHECKPOINT_BUCKETS
        )
        self.lag = self._gauge(
            "lag_records",
            "Unread records up to the last stable offset. Absent while unknown: before the partition is "
            "served, and during an outage.",
            "partition",
        )
        self._lagging: set[int] = set()
        """The partitions for which a lag is exported."""

    def _add_releases(self) -> None:
        self.release = self._gauge("release", "Release number of the champion in use.")
        self.candidate = self._gauge(
            "candidate", "Release number of the candidate; 0 if there is no candidate."
        )
        self.candidate_share = self._gauge("candidate_share", "Share of users served by the candidate.")
        self.releases_refused = self._counter("releases_refused", "Releases refused, by reason.", "reason")
        self.rebuilt = self._counter(
            "rebuilt_users",
            "States rebuilt for a new release, by trigger: click or background.",
            "by",
        )
        self.rebuild_left = self._gauge(
            "rebuild_left_users",
            "States that the background rebuild has not checked yet since the last release was adopted.",
        )
        self.quality = {
            one: self._counter(f"quality_{one}", text, "release") for one, text in _QUALITY.items()
        }
        self._judged: set[int] = set()
        """The releases for which live quality is exported."""

    def _add_states(self) -> None:
        self.users = self._gauge("users", "Users with a state in memory.")
        self.assigned = self._gauge(
            "assigned_partitions", "Partitions that this worker serves, excluding those in recovery."
        )
        self.state_bytes = self._counter("state_bytes", "Bytes sent to the state topic.")
        self.saved_users = self._counter(
            "saved_users", "States written to blocks, including states moved out of old blocks."
        )
        self.state_blocks = self._gauge("state_blocks", "Blocks of the served partitions.")
        self.unsaved_users = self._gauge("unsaved_users", "Users whose state changed since its last flush.")
        self.users_forgotten = self._counter(
            "users_forgotten",
            "Users whose state was dropped, by reason: ttl, max_users or asked (by a deletion request).",
            "reason",
        )
        self.users_moved = self._counter(
            "users_moved", "Users new to a partition who have a state in another partition of this worker."
        )

    def _add_recovery(self) -> None:
        self.recovering = self._gauge("recovering_partitions", "Partitions assigned but not served yet.")
        self.recovery_left = self._gauge(
            "recovery_left_seconds", "Estimated time until all partitions are served."
        )
        self.recovery_users = self._counter("recovery_users", "States loaded from blocks.")
        self.recovery_bytes = self._counter("recovery_bytes", "Bytes read from the state topic in recovery.")
        self.recovery_seconds = self._histogram(
            "recovery_seconds",
            "Time from a partition's assignment until it is served.",
            _RECOVERY_BUCKETS,
        )
        self.replayed = self._counter("replayed_clicks", "Clicks replayed in recovery, without publishing.")
        self.replay_missing = self._counter(
            "replay_missing_records", "Offsets that replay needed, but retention had already deleted."
        )
        self.unanswered = self._counter(
            "unanswered_records", "Offsets that retention deleted before their clicks were answered."
        )

    def _counter(self, name: str, documentation: str, *labels: str) -> Counter:
        return Counter(f"nextclick_{name}", documentation, labels, registry=self.registry)

    def _gauge(self, name: str, documentation: str, *labels: str) -> Gauge:
        return Gauge(f"nextclick_{name}", documentation, labels, registry=self.registry)

    def _histogram(self, name: str, documentation: str, buckets: Sequence[float]) -> Histogram:
        return Histogram(f"nextclick_{name}", documentation, buckets=buckets, registry=self.registry)

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Add the duration of the context to the time of `stage`."""
        started = self._steady()
        yield
        self.stages.labels(stage).inc(self._steady() - started)

    def observe_batch(
        self, clicks: Clicks, lists: Sequence[Recommendations], now_ms: int, *, champion: int
    ) -> None:
        """Count the clicks of a batch, and the `lists` published for them at `now_ms`.

        `champion`: the number of the champion release.
        """
        self.clicks.inc(len(clicks))
        for (reason, release), number in TallyCounter((one.reason, one.release) for one in lists).items():
            role = "champion" if release == champion else "candidate"
            self.recommendations.labels(reason, role).inc(number)
        answered = clicks.record_timestamps_ms[np.array([one.click for one in lists], np.intp)]
        self.latency.observe((now_ms - answered) / 1000)

    def observe_records(
        self, *, clicked: int, skipped: Mapping[Skipped, int], bad: Collection[Reason], trimmed: int
    ) -> None:
        """Count the records of a batch by outcome: click, skipped or dead letter.

        `clicked`: number of records with clicks. `skipped`: number of valid records without a click, by
        reason. `bad`: reason of each dead letter. `trimmed`: number of ids from which spaces were removed.
        """
        became = {"clicks": clicked, "skipped": sum(skipped.values()), "dead_letter": len(bad)}
        for name, number in became.items():
            self.records.labels(name).inc(number)
        for reason, number in TallyCounter(bad).items():
            self.dead_letters.labels(reason.value).inc(number)
        for why, number in skipped.items():
            self.skipped.labels(why.value).inc(number)
        self.ids_trimmed.inc(trimmed)

    def observe_quality(self, tallies: Mapping[int, Tally], known: Collection[int]) -> None:
        """Add committed `tallies`, by release; remove the metrics of other releases not in `known`."""
        gone = self._judged.difference(known, tallies)
        self._judged = self._judged.union(tallies) - gone
        for name, counter in self.quality.items():
            for number, tally in tallies.items():
                counter.labels(str(number)).inc(getattr(tally, name))
            for number in gone:
                counter.remove(str(number))

    def observe_checkpoint(self, seconds: float) -> None:
        """Count a committed checkpoint."""
        self.checkpoints.labels("committed").inc()
        self.checkpoint_seconds.observe(seconds)

    def observe_lag(self, lag: Mapping[int, int]) -> None:
        """Set the lag of the partitions in `lag`; remove the series of all other partitions.

        An unknown lag is an absent series, not NaN: a sum over workers ignores absent series, but a single
        NaN would make the sum NaN.
        """
        for partition in self._lagging.difference(lag):
            self.lag.remove(str(partition))
        self._lagging = set(lag)
        for partition, records in lag.items():
            self.lag.labels(str(partition)).set(records)


class Latency:
    """A histogram that observes a whole batch at once, at about the cost of a single value."""

    def __init__(self, name: str, documentation: str, bounds: Iterable[float] = _LATENCY_BUCKETS) -> None:
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
