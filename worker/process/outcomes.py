"""Detection of a worker that is healthy otherwise, but publishes no useful lists.

A warning is logged in three cases: most of the last records are dead letters; or no record was answered,
because all are too old or are not clicks; or all lists are the fallback, because the release knows none of
the clicked items.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import numpy as np
import structlog

from worker.core.batch import Clicks
from worker.core.diagnosis import about, fault, field_list
from worker.core.event import Fields
from worker.core.reasons import Reason
from worker.core.recommender import COLD, Recommendations
from worker.http.readiness import Readiness

log = structlog.get_logger("worker")

WINDOW: Final = 1_000
"""Minimum number of most recent records to consider. As whole batches are considered, there may be more; the
messages give the exact number."""

FEWEST: Final = 20
"""Minimum number of records before the first warning."""

SECONDS: Final = 60.0
"""Minimum interval between warnings, in seconds."""


class _Trouble(NamedTuple):
    """A constant log event, a sentence that explains it, and its values."""

    event: str
    why: str
    facts: Mapping[str, object]
    expected: bool = False
    """Whether this is normal while a worker catches up."""


@dataclass(slots=True)
class _Counts:
    """Numbers of records, and of lists, by outcome."""

    records: int = 0
    skipped: int = 0
    """Valid records without a click: excluded by `click.where`, or deletions."""
    old: int = 0
    """Clicks too old for a list, in batches without any list."""
    ranked: int = 0
    """Lists in batches where the network ranked at least one list."""
    fallback: int = 0
    """Lists in batches where all lists are the fallback."""
    dead: Mapping[Reason, int] = field(default_factory=dict)

    def add(self, other: _Counts, sign: int) -> None:
        """Add the counts of another batch or, with `sign` -1, subtract them."""
        self.records += sign * other.records
        self.skipped += sign * other.skipped
        self.old += sign * other.old
        self.ranked += sign * other.ranked
        self.fallback += sign * other.fallback
        if other.dead:
            reasons = self.dead.keys() | other.dead.keys()
            sums = {one: self.dead.get(one, 0) + sign * other.dead.get(one, 0) for one in reasons}
            self.dead = {one: count for one, count in sums.items() if count}


class Outcomes:
    """Counts the outcomes of the last records; warns (log, /readyz?verbose) if they yield no useful lists."""

    def __init__(
        self, fields: Fields, *, max_age_seconds: float, readiness: Readiness, steady: Callable[[], float]
    ) -> None:
        self._fields = fields
        self._max_age = max_age_seconds
        self._readiness = readiness
        self._steady = steady
        self._batches: deque[_Counts] = deque()
        self._all = _Counts()
        self._batch = _Counts()
        self._newest: dict[Reason, tuple[bytes | None, bytes | None]] = {}
        """Value and key of the newest dead letter, by reason."""
        self._age = 0.0
        """Age, in seconds, of the newest click in the last batch whose clicks were too old."""
        self._unknown = ""
        """The item of the last click that got the fallback."""
        self._due = 0.0

    def answered(self, clicks: Clicks, lists: Sequence[Recommendations], *, now_ms: int) -> None:
        """Count the `lists` that were published for `clicks`."""
        batch = self._batch
        if not lists and self._max_age:
            ages = now_ms - clicks.record_timestamps_ms[clicks.record_timestamps_ms >= 0]
            batch.old += int(np.count_nonzero(ages > self._max_age * 1000))
            self._age = float(ages.min()) / 1000 if len(ages) else 0.0
        elif lists and all(one.reason == COLD for one in lists):
            batch.fallback += len(lists)
            self._unknown = clicks.item_ids[lists[-1].click]
        else:
            batch.ranked += len(lists)

    def note(
        self,
        records: int,
        bad: Sequence[tuple[bytes | None, bytes | None, Reason]],
        *,
        skipped: int = 0,
    ) -> None:
        """Count the `records` of a batch, after `answered` was called for its clicks.

        `bad`: the dead letters of the batch, as (value, key, reason). `skipped`: number of valid records
        without a click.
        """
        batch, self._batch = self._batch, _Counts()
        batch.records, batch.skipped = records, skipped
        if bad:
            dead: dict[Reason, int] = {}
            for value, key, reason in bad:
                dead[reason] = dead.get(reason, 0) + 1
                self._newest[reason] = value, key
            batch.dead = dead
        self._batches.append(batch)
        self._all.add(batch, 1)
        while self._all.records - self._batches[0].records >= WINDOW:
            self._all.add(self._batches.popleft(), -1)
        self._say(self._trouble())

    def _trouble(self) -> _Trouble | None:
        last = self._all
        if last.records < FEWEST:
            return None
        if last.dead and 2 * sum(last.dead.values()) > last.records:
            return self._mostly_dead()
        if not (last.ranked or last.fallback):
            return self._unanswered()
        if not last.ranked and last.fallback >= FEWEST:
            why = (
                f"the last {last.fallback:,} lists are all the fallback (popular items), because the release "
                f"knows none of the clicked items, such as {self._unknown!r}; check that click.item_id names "
                "the ids that it was trained on"
            )
            return _Trouble("the release knows none of the clicked items", why, {"item_id": self._unknown})
        return None

    def _mostly_dead(self) -> _Trouble:
        reason, count, why, names = self._worst()
        total, of = sum(self._all.dead.values()), self._all.records
        sentence = f"{total:,} of the last {of:,} records are dead letters; {count:,} {why}" + (
            f"; the newest has {names}" if names else ""
        )
        facts = {"dead_letters": total, "of": of, "reason": reason.value, "fields": names}
        return _Trouble("most records are not valid clicks; check the section [click]", sentence, facts)

    def _unanswered(self) -> _Trouble | None:
        last, parts = self._all, []
        if last.old:
            limit, age = about(self._max_age), about(self._age)
            text = f"are older than recommend.publish_max_age ({limit}; the newest is {age} old)"
            parts.append(
                (last.old, f"{text} and only update the states, which is normal while a worker catches up")
            )
        if last.skipped:
            parts.append((last.skipped, "do not count as clicks, because of click.where or as deletions"))
        if last.dead:
            _, count, why, _ = self._worst()
            parts.append((sum(last.dead.values()), f"are dead letters: {count:,} {why}"))
        if not parts:
            return None
        causes = "; ".join(f"{count:,} {text}" for count, text in sorted(parts, reverse=True))
        why = f"none of the last {last.records:,} records was answered: {causes}"
        catching_up = bool(last.old) and len(parts) == 1
        return _Trouble("no record is answered", why, {"of": last.records}, expected=catching_up)

    def _worst(self) -> tuple[Reason, int, str, str]:
        """Return the most frequent reason, its count, the fault as text, and the newest record's fields."""
        reason, count = max(self._all.dead.items(), key=lambda one: one[1])
        value, key = self._newest[reason]
        return reason, count, fault(value, key, reason, self._fields), field_list(value)

    def _say(self, trouble: _Trouble | None) -> None:
        self._readiness.notice = trouble.why if trouble else ""
        if trouble and self._steady() >= self._due:
            self._due = self._steady() + SECONDS
            say = log.info if trouble.expected else log.warning
            say(trouble.event, why=trouble.why, **trouble.facts)
