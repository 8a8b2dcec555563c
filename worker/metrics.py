"""What Prometheus sees. Metrics watch from the side: nothing reads them back.

Labels have few values only: never a user, an item or an offset.
"""

from __future__ import annotations

import threading
from collections import Counter as TallyCounter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

from worker.core.batch import Clicks
from worker.core.event import Reason
from worker.core.quality import Tally
from worker.core.recommender import Recommendations

_LATENCY_BUCKETS: Final = (0.002, 0.005, 0.01, 0.02, 0.04, 0.08, 0.15, 0.3, 0.6, 1.0, 2.5, 5.0, 15.0, 60.0)
_RECOVERY_BUCKETS: Final = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0, 60.0, 300.0)
_CHECKPOINT_BUCKETS: Final = (0.005, 0.01, 0.02, 0.04, 0.08, 0.15, 0.3, 0.6, 1.5, 5.0, 15.0)

_QUALITY: Final = {
    "lists": "Lists shown to users, of which their next click will tell.",
    "cold": "Those of them in which no item was known.",
    "clicks": "Clicks that followed such a list.",
    "hits": "Clicks on an item of the list.",
    "reciprocal_ranks": "The sum of 1 / rank of these items.",
    "popular_hits": "Hits that the release's popular items would have had on the same clicks.",
    "popular_reciprocal_ranks": "The sum of 1 / rank of these.",
}


class Metrics:
    """All metrics of one worker, in a registry of its own."""

    def __init__(self) -> None:
        registry = self.registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        self.clicks = Counter("nextclick_clicks", "Clicks applied.", registry=registry)
        self.dead_letters = Counter(
            "nextclick_dead_letters", "Records that are no clicks, by reason.", ["reason"], registry=registry
        )
        self.recommendations = Counter(
            "nextclick_recommendations",
            "Lists published, by reason and by the role of the release: champion or candidate.",
            ["reason", "role"],
            registry=registry,
        )
        self.latency = Latency(
            "nextclick_click_to_recommendation_seconds",
            "From the click record's timestamp to the moment its list was handed to the producer.",
        )
        registry.register(self.latency)
        self.stages = Counter(
            "nextclick_stage_seconds",
            "Time spent in each stage of the walk of a batch.",
            ["stage"],
            registry=registry,
        )
        self.checkpoints = Counter(
            "nextclick_checkpoints",
            "Checkpoints, by outcome: committed or failed.",
            ["outcome"],
            registry=registry,
        )
        self.checkpoint_seconds = Histogram(
            "nextclick_checkpoint_seconds",
            "How long a checkpoint took.",
            buckets=_CHECKPOINT_BUCKETS,
            registry=registry,
        )
        self.lag = Gauge(
            "nextclick_lag_records",
            "Records behind the last stable offset, per partition.",
            ["partition"],
            registry=registry,
        )
        self.users = Gauge("nextclick_users", "Users with a state in memory.", registry=registry)
        self.assigned = Gauge(
            "nextclick_assigned_partitions",
            "Partitions that this worker serves, those in recovery not counted.",
            registry=registry,
        )
        self.release = Gauge("nextclick_release", "Number of the release that serves.", registry=registry)
        self.candidate = Gauge(
            "nextclick_candidate",
            "Number of the release that is tried beside it; 0: none.",
            registry=registry,
        )
        self.candidate_share = Gauge(
            "nextclick_candidate_share", "The part of the users that the candidate serves.", registry=registry
        )
        self.releases_refused = Counter(
            "nextclick_releases_refused",
            "Releases that were refused, by reason.",
            ["reason"],
            registry=registry,
        )
        self.rebuilt = Counter(
            "nextclick_rebuilt_users",
            "Rows of another release that were made anew, because of a click or in the background.",
            ["by"],
            registry=registry,
        )
        self.rebuild_left = Gauge(
            "nextclick_rebuild_left_users",
            "Rows that the background has still to look at since a release was adopted.",
            registry=registry,
        )
        self.quality = {
            one: Counter(f"nextclick_quality_{one}", text, ["release"], registry=registry)
            for one, text in _QUALITY.items()
        }
        self._judged: set[int] = set()
        """The releases that live quality has a label for."""
        self.state_bytes = Counter(
            "nextclick_state_bytes", "Bytes of blocks and marks sent to the state topic.", registry=registry
        )
        self.saved_users = Counter(
            "nextclick_saved_users", "Rows written into blocks, those taken along too.", registry=registry
        )
        self.state_blocks = Gauge(
            "nextclick_state_blocks", "Blocks of the partitions that are served.", registry=registry
        )
        self.unsaved_users = Gauge(
            "nextclick_unsaved_users", "Users whose state changed since it was saved.", registry=registry
        )
        self.recovering = Gauge(
            "nextclick_recovering_partitions",
            "Partitions that are assigned and not served yet.",
            registry=registry,
        )
        self.recovery_left = Gauge(
            "nextclick_recovery_left_seconds", "About how long recovery will still take.", registry=registry
        )
        self.recovery_users = Counter(
            "nextclick_recovery_users", "Rows loaded from blocks.", registry=registry
        )
        self.recovery_bytes = Counter(
            "nextclick_recovery_bytes", "Bytes read back from the state topic.", registry=registry
        )
        self.recovery_seconds = Histogram(
            "nextclick_recovery_seconds",
            "From a partition's assignment to the moment it is served.",
            buckets=_RECOVERY_BUCKETS,
            registry=registry,
        )
        self.replayed = Counter(
            "nextclick_replayed_clicks", "Clicks applied again, silently, in recovery.", registry=registry
        )
        self.replay_missing = Counter(
            "nextclick_replay_missing_records",
            "Offsets that replay needed and retention had deleted.",
            registry=registry,
        )
        self.unanswered = Counter(
            "nextclick_unanswered_records",
            "Offsets that retention deleted before the clicks there were answered.",
            registry=registry,
        )
        self.users_forgotten = Counter(
            "nextclick_users_forgotten",
            "Users whose state was dropped, by reason: ttl, max_users or asked.",
            ["reason"],
            registry=registry,
        )
        self.users_moved = Counter(
            "nextclick_users_moved",
            "New users of a partition that have a state in another one here.",
            registry=registry,
        )
        self.ready = Gauge("nextclick_ready", "1 while /readyz says yes.", registry=registry)

    def observe_batch(
        self, clicks: Clicks, lists: Sequence[Recommendations], now_ms: int, *, champion: int
    ) -> None:
        """Count a batch whose `lists` were published at `now_ms`, when release `champion` was that."""
        self.clicks.inc(len(clicks))
        for (reason, release), number in TallyCounter((one.reason, one.release) for one in lists).items():
            role = "champion" if release == champion else "candidate"
            self.recommendations.labels(reason, role).inc(number)
        answered = clicks.record_timestamps_ms[np.array([one.click for one in lists], np.intp)]
        self.latency.observe((now_ms - answered) / 1000)

    def observe_bad(self, reasons: Iterable[Reason]) -> None:
        """Count dead letters."""
        for reason, number in TallyCounter(reasons).items():
            self.dead_letters.labels(reason.value).inc(number)

    def observe_quality(self, tallies: Mapping[int, Tally], known: Collection[int]) -> None:
        """Count what is committed of live quality; the releases that are not `known` disappear."""
        gone = self._judged.difference(known, tallies)
        self._judged = self._judged.union(tallies) - gone
        for name, counter in self.quality.items():
            for number, tally in tallies.items():
                counter.labels(str(number)).inc(getattr(tally, name))
            for number in gone:
                counter.remove(str(number))

    def observe_checkpoint(self, seconds: float) -> None:
        """Count a checkpoint that was committed."""
        self.checkpoints.labels("committed").inc()
        self.checkpoint_seconds.observe(seconds)

    def observe_lag(self, lag: Mapping[int, int]) -> None:
        """Note the lag of the assigned partitions; those that are assigned no more disappear."""
        self.lag.clear()
        for partition, records in lag.items():
            self.lag.labels(str(partition)).set(records)


class Latency:
    """A histogram that takes a whole batch at once: `observe` costs the same for one value or a thousand."""

    def __init__(self, name: str, documentation: str, bounds: Iterable[float] = _LATENCY_BUCKETS) -> None:
        self._name, self._documentation = name, documentation
        self._bounds = np.array(sorted(bounds))
        self._counts = np.zeros(len(self._bounds) + 1, np.int64)
        self._sum = 0.0
        self._lock = threading.Lock()

    def observe(self, seconds: NDArray[np.float64]) -> None:
        """Count each of `seconds`."""
        counts = np.bincount(np.searchsorted(self._bounds, seconds), minlength=len(self._counts))
        with self._lock:
            self._counts += counts
            self._sum += float(seconds.sum())

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """What a scrape sees (called by the registry)."""
        with self._lock:
            cumulative, total = np.cumsum(self._counts).tolist(), self._sum
        labels = [*(str(bound) for bound in self._bounds.tolist()), "+Inf"]
        yield HistogramMetricFamily(
            self._name,
            self._documentation,
            buckets=list(zip(labels, cumulative, strict=True)),
            sum_value=total,
        )
