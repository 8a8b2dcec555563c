"""The progress of each partition, as metrics that stay true while the broker does not answer.

The worker asks for the ends of its partitions every few seconds. The metrics are computed at each scrape, by
the HTTP thread. So they do not depend on a loop that waits for the broker: a number that has become too old
is absent, and the lag in seconds grows.

The lag in seconds needs no timestamps: if all records up to an earlier end are read, no unread record is
older than that look. Rejected: the timestamp of the oldest unread record, which must be read to be known; and
unread records divided by a rate, which is 0 for a partition that stands still.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from prometheus_client.core import GaugeMetricFamily

FRESH_SECONDS: Final = 15.0
"""The age at which the last known end of a partition is too old to be exported."""

_MOST_ENDS: Final = 512
"""The number of ends kept for each partition. Beyond it, every second one is dropped, so that a lag of hours
is known less exactly."""

_FAMILIES: Final = {
    "lag_records": "Unread records up to the last stable offset. Absent while unknown: before the partition "
    f"is served, after a failure, and if the broker has not answered for {FRESH_SECONDS:g} s.",
    "lag_seconds": "Upper bound of the time that the oldest unread record has been in the partition. It is "
    "at most 10 s if the worker keeps up, and grows while the broker does not answer. After a start behind "
    "the end of the clicks, it is the age of the last record read.",
    "committed_offset": "Committed offset, as last known.",
    "end_offset": "Last stable offset. Absent while unknown, like lag_records.",
}


class Look(NamedTuple):
    """A look at a served partition, while no transaction is open."""

    end: int
    """The partition's last stable offset."""
    unread: int
    """The number of unread records."""
    position: int
    """The next offset to apply; all records below it are committed, or are no records."""
    committed: int
    """The committed offset."""
    read_ms: int
    """The timestamp of the last record read; 0 if none was read."""


@dataclass(slots=True)
class _Partition:
    look: Look
    looked_at: float
    served_at: float
    committed: int
    is_known: bool = True
    """Whether the last look still holds; False after a failure."""
    ends: list[tuple[float, int]] = field(default_factory=list)
    """Times and ends of looks, in order of time: the last end that was read, and later ones."""
    spacing: float = 0.0
    """Minimum time between two of `ends`, except the last."""

    def add(self, look: Look, now: float) -> None:
        """Add a look."""
        self.look, self.looked_at, self.is_known = look, now, True
        self.committed = look.committed
        same = bool(self.ends) and self.ends[-1][1] >= look.end
        near = len(self.ends) > 1 and now - self.ends[-2][0] < self.spacing
        if same or near:
            self.ends.pop()
        self.ends.append((now, look.end))
        if len(self.ends) > _MOST_ENDS:
            del self.ends[1:-1:2]
            self.spacing = (now - self.ends[0][0]) / len(self.ends)

    def lag_seconds(self, now: float, wall: float) -> float:
        """Return the lag in seconds at the time `now` of the steady clock, and `wall` of the wall clock."""
        done = max(self.look.position, self.committed)
        read = 0
        while read < len(self.ends) and self.ends[read][1] <= done:
            read += 1
        if read:
            # Only the newest end that was read matters.
            del self.ends[: read - 1]
            if len(self.ends) == 1:
                self.spacing = 0.0
            return now - self.ends[0][0]
        served = now - self.served_at
        return max(served, wall - self.look.read_ms / 1000) if self.look.read_ms else served


class Progress:
    """A collector of the progress of partitions. `steady` and `wall` are the clocks, in seconds."""

    _labelnames: Final = ("partition",)
    """The labels, under the name that the library's own metrics have them."""

    def __init__(self, steady: Callable[[], float], wall: Callable[[], float]) -> None:
        self._steady = steady
        self._wall = wall
        self._lock = threading.Lock()
        self._partitions: dict[int, _Partition] = {}

    def look(self, looks: Mapping[int, Look], assigned: Collection[int]) -> None:
        """Record an observation of each served partition; forget partitions that are no longer `assigned`."""
        now = self._steady()
        with self._lock:
            for number in self._partitions.keys() - set(assigned):
                del self._partitions[number]
            for number, look in looks.items():
                if number not in self._partitions:
                    self._partitions[number] = _Partition(look, now, now, look.committed)
                self._partitions[number].add(look, now)

    def commit(self, offsets: Mapping[int, int]) -> None:
        """Set the committed offsets of some partitions."""
        with self._lock:
            for number, offset in offsets.items():
                if number in self._partitions:
                    self._partitions[number].committed = offset

    def forget(self) -> None:
        """Note that the numbers of unread records are unknown, because of a failure."""
        with self._lock:
            for partition in self._partitions.values():
                partition.is_known = False

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Yield the metrics for a scrape (called by the registry)."""
        found = {
            name: GaugeMetricFamily(f"nextclick_{name}", text, labels=self._labelnames)
            for name, text in _FAMILIES.items()
        }
        now, wall = self._steady(), self._wall()
        with self._lock:
            for number, partition in sorted(self._partitions.items()):
                label = [str(number)]
                found["lag_seconds"].add_metric(label, max(0.0, partition.lag_seconds(now, wall)))
                found["committed_offset"].add_metric(label, partition.committed)
                if partition.is_known and now - partition.looked_at <= FRESH_SECONDS:
                    found["lag_records"].add_metric(label, partition.look.unread)
                    found["end_offset"].add_metric(label, partition.look.end)
        yield from found.values()
