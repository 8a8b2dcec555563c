"""Detection of a worker that is healthy otherwise, but publishes no useful lists.

A warning is logged if most of the last records are dead letters; if no record was answered, because all are
too old or are not clicks; or if all lists are the fallback, because the release knows none of the clicked
items. Another warning is logged if the times of clicks have several units, or if no click has the configured
time field.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, NamedTuple, TypeVar

import numpy as np
import structlog

from worker.core.batch import Clicks
from worker.core.diagnosis import about, fault, field_list, mixture
from worker.core.event import Decoder, Fields
from worker.core.event_types import STEP
from worker.core.formats import Parse, parse_plain
from worker.core.paths import Headers
from worker.core.reasons import Reason
from worker.core.recommender import COLD, Recommendations
from worker.core.times import NO_TIME
from worker.errors import NextclickError
from worker.http.readiness import Readiness

log = structlog.get_logger("worker")

WINDOW: Final = 1_000
"""Minimum number of most recent records to consider. As whole batches are considered, there may be more; the
messages give the exact number."""

FEWEST: Final = 20
"""Minimum number of records before the first warning."""

SECONDS: Final = 60.0
"""Minimum interval between warnings, in seconds."""


_K = TypeVar("_K")


class Letter(NamedTuple):
    """A record that became a dead letter, and the reason."""

    reason: Reason
    value: bytes | None
    key: bytes | None
    headers: Headers


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
    """Valid records of which no event counts: by `click.where` or `events.step`, or deletions."""
    old: int = 0
    """Clicks too old for a list, in batches without any list."""
    replied: int = 0
    """Lists for requests."""
    late: int = 0
    """Requests too old for a list."""
    ranked: int = 0
    """Lists in batches where the network ranked at least one list."""
    fallback: int = 0
    """Lists in batches where all lists are the fallback."""
    dead: Mapping[Reason, int] = field(default_factory=dict)
    times: Mapping[str, int] = field(default_factory=dict)
    """Clicks by the kind of their times."""

    def add(self, other: _Counts, sign: int) -> None:
        """Add the counts of another batch or, with `sign` -1, subtract them."""
        self.records += sign * other.records
        self.skipped += sign * other.skipped
        self.old += sign * other.old
        self.replied += sign * other.replied
        self.late += sign * other.late
        self.ranked += sign * other.ranked
        self.fallback += sign * other.fallback
        self.dead = _sums(self.dead, other.dead, sign)
        self.times = _sums(self.times, other.times, sign)


def _sums(counts: Mapping[_K, int], others: Mapping[_K, int], sign: int) -> Mapping[_K, int]:
    if not others:
        return counts
    sums = {one: counts.get(one, 0) + sign * others.get(one, 0) for one in counts.keys() | others.keys()}
    return {one: count for one, count in sums.items() if count}


class Outcomes:
    """Counts the outcomes of the last records; warns (log, /readyz?verbose) if they yield no useful lists."""

    def __init__(
        self, decoder: Decoder, *, max_age_seconds: float, readiness: Readiness, steady: Callable[[], float]
    ) -> None:
        self._decoder = decoder
        self._max_age = max_age_seconds
        self._readiness = readiness
        self._steady = steady
        self._batches: deque[_Counts] = deque()
        self._all = _Counts()
        self._batch = _Counts()
        self._newest: dict[Reason, Letter] = {}
        """The newest dead letter, by reason."""
        self._examples: dict[str, Any] = {}
        """A time, by kind."""
        self._age = 0.0
        """Age, in seconds, of the newest click in the last batch whose clicks were too old."""
        self._unknown = ""
        """The item of the last click that got the fallback."""
        self._due = 0.0

    def answered(self, clicks: Clicks, lists: Sequence[Recommendations], *, now_ms: int) -> None:
        """Count the `lists` that were published for `clicks`."""
        batch = self._batch
        if not lists and self._max_age:
            times_ms = clicks.record_timestamps_ms[(clicks.kinds & STEP) != 0]
            ages = now_ms - times_ms[times_ms >= 0]
            batch.old += int(np.count_nonzero(ages > self._max_age * 1000))
            self._age = float(ages.min()) / 1000 if len(ages) else 0.0
        elif lists and all(one.reason == COLD for one in lists):
            batch.fallback += len(lists)
            self._unknown = clicks.item_ids[lists[-1].click]
        else:
            batch.ranked += len(lists)

    def replied(self, lists: int, *, too_old: int) -> None:
        """Count the lists that were published for requests, and the requests that were too old for one."""
        self._batch.replied, self._batch.late = lists, too_old

    def note(
        self,
        records: int,
        bad: Sequence[Letter],
        *,
        skipped: int = 0,
        times: Mapping[str, tuple[int, Any]] = MappingProxyType({}),
    ) -> None:
        """Count the `records` of a batch, after `answered` and `replied` for its clicks and requests.

        `bad`: the dead letters of the batch. `skipped`: the number of valid records without a click. `times`:
        the number of clicks by the kind of their times, each with an example or None.
        """
        batch, self._batch = self._batch, _Counts()
        batch.records, batch.skipped = records, skipped
        if bad:
            batch.dead = Counter(one.reason for one in bad)
            self._newest |= {one.reason: one for one in bad}
        batch.times = {kind: count for kind, (count, _) in times.items()}
        self._examples |= {kind: one for kind, (_, one) in times.items() if one is not None}
        self._batches.append(batch)
        self._all.add(batch, 1)
        while self._all.records - self._batches[0].records >= WINDOW:
            self._all.add(self._batches.popleft(), -1)
        self._say([one for one in (self._trouble(), self._time_trouble()) if one])

    def _trouble(self) -> _Trouble | None:
        last = self._all
        if last.records < FEWEST:
            return None
        if last.dead and 2 * sum(last.dead.values()) > last.records:
            return self._mostly_dead()
        if not (last.ranked or last.fallback or last.replied):
            return self._unanswered()
        if not last.ranked and last.fallback >= FEWEST:
            why = (
                f"the last {last.fallback:,} lists are all the fallback (popular items), because the release "
                f"knows none of the clicked items, such as {self._unknown!r}; check that click.item_id names "
                "the ids that it was trained on"
            )
            return _Trouble("the release knows none of the clicked items", why, {"item_id": self._unknown})
        return None

    def _time_trouble(self) -> _Trouble | None:
        counts, name = self._all.times, self._decoder.fields.timestamp
        clicks = sum(counts.values())
        if clicks < FEWEST:
            return None
        if kinds := mixture({kind: (count, self._examples.get(kind)) for kind, count in counts.items()}):
            why = (
                f"the times of the last {clicks:,} clicks have different units or types: {kinds}; each is "
                "read in its own unit; correct the sender, click.timestamp or click.timestamp_unit"
            )
            return _Trouble("the times of clicks have different units or types", why, {})
        if counts.keys() == {NO_TIME} and name != Fields().timestamp:
            why = (
                f"none of the last {clicks:,} clicks has the field {name} (click.timestamp); the times of "
                "the records are used; correct click.timestamp, or leave it out"
            )
            return _Trouble("no click has the field of click.timestamp", why, {"field": name})
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
        if last.late:
            text = f"are requests older than recommend.publish_max_age ({about(self._max_age)})"
            parts.append((last.late, text))
        if last.skipped:
            text = "do not count as clicks, because of click.where or events.step, or as deletions"
            parts.append((last.skipped, text))
        if last.dead:
            _, count, why, _ = self._worst()
            parts.append((sum(last.dead.values()), f"are dead letters: {count:,} {why}"))
        if not parts:
            return None
        causes = "; ".join(f"{count:,} {text}" for count, text in sorted(parts, reverse=True))
        why = f"none of the last {last.records:,} records was answered: {causes}"
        catching_up = not (last.skipped or last.dead)
        return _Trouble("no record is answered", why, {"of": last.records}, expected=catching_up)

    def _worst(self) -> tuple[Reason, int, str, str]:
        """Return the most frequent reason, its count, the fault as text, and the newest record's fields."""
        reason, count = max(self._all.dead.items(), key=lambda one: one[1])
        letter = self._newest[reason]
        try:
            return reason, count, *self._described(letter, self._decoder.parse)
        except NextclickError:
            # The schema registry is unreachable.
            return reason, count, *self._described(letter, parse_plain)

    def _described(self, letter: Letter, parse: Parse) -> tuple[str, str]:
        """Return the fault of a record as text, and its fields. Raises the errors of `parse`."""
        reason, value, key, headers = letter
        why = fault(value, key, reason, self._decoder.fields, parse=parse, headers=headers)
        return why, field_list(value, parse, headers)

    def _say(self, troubles: Sequence[_Trouble]) -> None:
        self._readiness.notice = "\n".join(trouble.why for trouble in troubles)
        if not troubles or self._steady() < self._due:
            return
        self._due = self._steady() + SECONDS
        for trouble in troubles:
            say = log.info if trouble.expected else log.warning
            say(trouble.event, why=trouble.why, **trouble.facts)
