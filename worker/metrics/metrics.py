"""All metrics of a worker.

Labels have few values: never a user, an item or an offset. Each counter with labels exists at 0 for all known
values of its labels, so that `increase()` sees the first event. `worker/README.md` states which counters add
up to which others; each batch is counted at once, after it was processed.
"""

from __future__ import annotations

import time
from collections import Counter as TallyCounter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import product
from typing import Final, NamedTuple

import numpy as np
from prometheus_client import Counter, Gauge, Histogram

from worker.core.asking import NO_ITEMS_TOPIC, SIMILAR, UNKNOWN_ITEM
from worker.core.batch import Clicks
from worker.core.event_types import EXCLUDE, STEP
from worker.core.quality import Tally
from worker.core.reasons import Reason, Skipped
from worker.core.recommender import COLD, MODEL, Recommendations
from worker.errors import FAILURES, REFUSALS, Failure
from worker.http.registry import program_registry
from worker.http.requests import OF_WORKER, HttpMetrics
from worker.metrics.latency import ListLatency
from worker.metrics.progress import Progress
from worker.metrics.rules import RuleMetrics

_RECOVERY_BUCKETS: Final = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0, 60.0, 300.0)
_CHECKPOINT_BUCKETS: Final = (0.005, 0.01, 0.02, 0.04, 0.08, 0.15, 0.3, 0.6, 1.5, 5.0, 15.0)

_STAGES: Final = (
    "poll", "decode", "apply", "rank", "publish", "replay", "rebuild", "recover", "save", "commit",
)  # fmt: skip
_ROLES: Final = ("champion", "candidate")
TTL: Final = "ttl"
"""The reason of an eviction: `state.user_ttl`."""
MAX_USERS: Final = "max_users"
"""The reason of an eviction: `state.max_users`."""
MAX_BYTES: Final = "max_bytes"
"""The reason of an eviction: `state.max_bytes`."""
TOO_OLD: Final = "too_old"
SUPERSEDED: Final = "superseded"

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


class Answered(NamedTuple):
    """A processed batch: its events, and the lists published for some of its clicks at `now_ms`."""

    clicks: Clicks
    lists: Sequence[Recommendations]
    too_old: int
    """The number of clicks without a list because of `recommend.publish_max_age`."""
    now_ms: int
    champion: int
    """The number of the champion release."""


class Metrics:
    """All metrics of one worker, in a separate registry. `steady` and `wall` are the clocks, in seconds."""

    def __init__(
        self, steady: Callable[[], float] = time.monotonic, wall: Callable[[], float] = time.time
    ) -> None:
        self.registry = program_registry()
        self._steady = steady
        self._wall = wall
        self.ready = self._gauge("ready", "1 while /readyz answers 200, else 0.")
        self._add_walk()
        self._add_checkpoints()
        self._add_progress()
        self._add_releases()
        self._add_items()
        self.rules = RuleMetrics(self.registry)
        self._add_states()
        self._add_recovery()
        self.http = HttpMetrics(self.registry, OF_WORKER)

    def _add_walk(self) -> None:
        self._clicks = self._counter("clicks", "Clicks applied.")
        self._bought_items = self._counter(
            "bought_items",
            "Events applied that leave their item out of the user's lists (events.exclude). They may also be "
            "clicks.",
        )
        self._records = self._counter(
            "records",
            "Records read, by outcome: clicks, requests (without a click), skipped or dead_letter.",
            became=("clicks", "requests", "skipped", "dead_letter"),
        )
        self._dead_letters = self._counter(
            "dead_letters", "Records that are not valid clicks, by reason.", reason=Reason
        )
        self._skipped = self._counter(
            "skipped",
            "Valid records of which no event counts, by reason: where (excluded by click.where), type (by "
            "events.step) or deleted.",
            reason=Skipped,
        )
        self._ids_trimmed = self._counter(
            "ids_trimmed", "Ids in clicks from which leading or trailing spaces were removed."
        )
        self._recommendations = self._counter(
            "recommendations",
            "Lists published, by reason and by role of the release (champion or candidate).",
            reason=(MODEL, COLD),
            role=_ROLES,
        )
        self._without_list = self._counter(
            "clicks_without_list",
            "Clicks applied without a list, by reason: too_old (recommend.publish_max_age) or superseded (by "
            "a later click of the same user in the batch, or of the same event).",
            reason=(TOO_OLD, SUPERSEDED),
        )
        self._requests = self._counter(
            "requests",
            "Requests in the clicks topic, by outcome: the reason of the list, or too_old "
            "(recommend.publish_max_age).",
            outcome=(MODEL, COLD, SIMILAR, UNKNOWN_ITEM, NO_ITEMS_TOPIC, TOO_OLD),
        )
        self._latency = ListLatency()
        self.registry.register(self._latency.published)
        self.registry.register(self._latency.committed)
        stages = self._counter("stage_seconds", "Time spent in each stage of the loop.", stage=_STAGES)
        self._stages = {stage: stages.labels(stage) for stage in _STAGES}

    def _add_checkpoints(self) -> None:
        self._checkpoints = self._counter(
            "checkpoints",
            "Checkpoints, by outcome: committed or failed.",
            outcome=("committed", "failed"),
        )
        self._checkpoint_seconds = self._histogram(
            "checkpoint_seconds", "Duration of a checkpoint.", _CHECKPOINT_BUCKETS
        )
        self._last_commit = self._gauge(
            "last_commit_timestamp_seconds",
            "Time of the last committed checkpoint; 0 before the first. Without clicks, there are no "
            "checkpoints.",
        )
        self._failures = self._counter(
            "failures",
            "Failures that are retried, by reason: kafka_away, not_stable (the last worker still has an "
            "open transaction), registry_away or topic_gone; of a transaction: fenced, revoked, timeout or "
            "refused.",
            reason=FAILURES,
        )

    def _add_progress(self) -> None:
        self.assigned = self._gauge(
            "assigned_partitions", "Partitions that this worker serves, excluding those in recovery."
        )
        self.recovering = self._gauge("recovering_partitions", "Partitions assigned but not served yet.")
        self.topic_partitions = self._gauge("topic_partitions", "Partitions of the clicks topic.")
        self.progress = Progress(self._steady, self._wall)
        self.registry.register(self.progress)

    def _add_releases(self) -> None:
        self._release = self._gauge("release", "Release number of the champion in use.")
        self._candidate = self._gauge(
            "candidate", "Release number of the candidate; 0 if there is no candidate."
        )
        self._recall = self._gauge(
            "ranking_recall",
            "Share of the exact top 20 that the champion's ranking finds, by the trainer's measurement.",
        )
        self._candidate_share = self._gauge("candidate_share", "Share of users served by the candidate.")
        self._releases_refused = self._counter(
            "releases_refused", "Releases refused, by reason.", reason=REFUSALS
        )
        rebuilt = self._counter(
            "rebuilt_users",
            "States rebuilt for a new release, by trigger: click or background.",
            by=("click", "background"),
        )
        self.rebuilt_by_click = rebuilt.labels("click")
        self.rebuilt_in_background = rebuilt.labels("background")
        self.rebuild_left = self._gauge(
            "rebuild_left_users",
            "States that the background rebuild has not checked yet since the last release was adopted.",
        )
        self._quality = {
            one: Counter(f"nextclick_quality_{one}", text, ["release"], registry=self.registry)
            for one, text in _QUALITY.items()
        }
        self._judged: set[int] = set()
        """The releases for which live quality is exported."""

    def _add_items(self) -> None:
        self.items = self._gauge("items", "Items that the items topic describes.")
        self.items_unavailable = self._gauge(
            "items_unavailable", "Items that are unavailable or gone by the items topic and the clock."
        )
        self.items_unavailable_in_catalogue = self._gauge(
            "items_unavailable_in_catalogue", "Items of the champion's catalogue that are unavailable."
        )
        self.item_records_refused = self._counter(
            "item_records_refused", "Records of the items topic that are refused, by reason.", reason=Reason
        )
        self.items_left = self._gauge(
            "items_left_records", "Records of the items topic left to read at the start, at most."
        )
        self.items_catch_up_seconds = self._gauge(
            "items_catch_up_seconds", "Time in which the items topic was read at the start."
        )

    def _add_states(self) -> None:
        self.users = self._gauge("users", "Users with a state in memory.")
        self.users_with_bought_items = self._gauge(
            "users_with_bought_items", "Users in memory who have bought items."
        )
        self.bought_items_dropped = self._counter(
            "bought_items_dropped",
            "Bought items dropped before events.exclude_days, because their user bought more than 16.",
        )
        self.state_bytes = self._counter("state_bytes", "Bytes sent to the state topic.")
        self.saved_users = self._counter(
            "saved_users", "States written to blocks, including states moved out of old blocks."
        )
        self.state_blocks = self._gauge("state_blocks", "Blocks of the served partitions.")
        self.unsaved_users = self._gauge("unsaved_users", "Users whose state changed since its last flush.")
        self.evicted = self._counter(
            "evicted_users",
            "Users whose state was evicted, by reason (a setting): ttl, max_users or max_bytes.",
            reason=(TTL, MAX_USERS, MAX_BYTES),
        )
        self.deleted = self._counter(
            "deleted_users", "Users whose state was deleted because of a deletion request."
        )
        self.users_moved = self._counter(
            "users_moved", "Users new to a partition who have a state in another partition of this worker."
        )

    def _add_recovery(self) -> None:
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
        self.paused = self._counter(
            "paused_seconds",
            "Time for which the process did not run at all, in pauses of more than 3 s: it was suspended, or "
            "got no CPU.",
        )

    def _counter(self, name: str, documentation: str, **labels: Iterable[str]) -> Counter:
        """Return a new counter, at 0 for all combinations of the values of its labels."""
        counter = Counter(f"nextclick_{name}", documentation, [*labels], registry=self.registry)
        for values in product(*labels.values()) if labels else ():
            counter.labels(*values)
        return counter

    def _gauge(self, name: str, documentation: str) -> Gauge:
        return Gauge(f"nextclick_{name}", documentation, registry=self.registry)

    def _histogram(self, name: str, documentation: str, buckets: Sequence[float]) -> Histogram:
        return Histogram(f"nextclick_{name}", documentation, buckets=buckets, registry=self.registry)

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Add the duration of the context to the time of `stage`, which is one of `_STAGES`."""
        started = self._steady()
        yield
        self._stages[stage].inc(self._steady() - started)

    def observe_batch(self, batch: Answered) -> None:
        """Count the clicks, bought items and lists of a batch."""
        clicks, lists = batch.clicks, batch.lists
        count = int(np.count_nonzero(clicks.kinds & STEP))
        self._clicks.inc(count)
        self._bought_items.inc(int(np.count_nonzero(clicks.kinds & EXCLUDE)))
        for (reason, release), number in TallyCounter((one.reason, one.release) for one in lists).items():
            role = "champion" if release == batch.champion else "candidate"
            self._recommendations.labels(reason, role).inc(number)
        self._without_list.labels(TOO_OLD).inc(batch.too_old)
        self._without_list.labels(SUPERSEDED).inc(count - len(lists) - batch.too_old)
        answered = clicks.record_timestamps_ms[np.array([one.click for one in lists], np.intp)]
        self._latency.publish(answered, batch.now_ms)

    def observe_requests(self, lists: Sequence[Recommendations], *, too_old: int) -> None:
        """Count requests of the clicks topic: those that got `lists`, and those that were too old."""
        for reason, number in TallyCounter(one.reason for one in lists).items():
            self._requests.labels(reason).inc(number)
        self._requests.labels(TOO_OLD).inc(too_old)

    def observe_records(
        self,
        *,
        clicked: int,
        requested: int,
        skipped: Mapping[Skipped, int],
        bad: Collection[Reason],
        trimmed: int,
    ) -> None:
        """Count the records of a batch by outcome: click, request, skipped or dead letter.

        `clicked`: number of records with clicks. `requested`: number of records with requests alone.
        `skipped`: number of valid records without a click, by reason. `bad`: reason of each dead letter.
        `trimmed`: number of ids from which spaces were removed.
        """
        became = {
            "clicks": clicked,
            "requests": requested,
            "skipped": sum(skipped.values()),
            "dead_letter": len(bad),
        }
        for name, number in became.items():
            self._records.labels(name).inc(number)
        for reason, number in TallyCounter(bad).items():
            self._dead_letters.labels(reason).inc(number)
        for why, number in skipped.items():
            self._skipped.labels(why).inc(number)
        self._ids_trimmed.inc(trimmed)

    def observe_quality(self, tallies: Mapping[int, Tally], known: Collection[int]) -> None:
        """Add committed `tallies`, by release; remove the metrics of other releases not in `known`."""
        gone = self._judged.difference(known, tallies)
        self._judged = self._judged.union(tallies) - gone
        for name, counter in self._quality.items():
            for number, tally in tallies.items():
                counter.labels(str(number)).inc(getattr(tally, name))
            for number in gone:
                counter.remove(str(number))

    def observe_serving(self, champion: int, candidate: int, share: float, *, recall: float = 1.0) -> None:
        """Record which releases are in service, by number; `candidate` is 0 if there is no candidate.

        `recall`: that of the champion's ranking against exact ranking.
        """
        self._recall.set(recall)
        self._release.set(champion)
        self._candidate.set(candidate)
        self._candidate_share.set(share)
        for number in filter(None, (champion, candidate)):
            self._judged.add(number)
            for counter in self._quality.values():
                counter.labels(str(number))

    def observe_refusal(self, reason: str) -> None:
        """Count a release that was refused."""
        self._releases_refused.labels(reason).inc()

    def observe_checkpoint(self, seconds: float, offsets: Mapping[int, int]) -> None:
        """Count a committed checkpoint with the `offsets` of its partitions."""
        self._checkpoints.labels("committed").inc()
        self._checkpoint_seconds.observe(seconds)
        now = self._wall()
        self._last_commit.set(now)
        self._latency.commit(round(now * 1000))
        self.progress.commit(offsets)

    def observe_failed_checkpoint(self) -> None:
        """Count a failed checkpoint. The number of unread records is unknown until the next look."""
        self._checkpoints.labels("failed").inc()
        self._latency.abort()
        self.progress.forget()

    def observe_failure(self, reason: Failure) -> None:
        """Count an attempt that failed and is repeated."""
        self._failures.labels(reason).inc()
