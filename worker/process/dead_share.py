"""Notices when most of what comes in are dead letters: the field mapping is probably wrong."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import Final

import structlog

from worker.core.diagnosis import fault, field_list
from worker.core.event import Fields
from worker.core.reasons import Reason
from worker.http.readiness import Readiness

log = structlog.get_logger("worker")

WINDOW: Final = 1_000
"""The number of last records, in whole batches at least as many, of which half may be dead letters."""

FEWEST: Final = 20
"""The number of records before which nothing is said."""

SECONDS: Final = 60.0
"""The interval between two warnings."""


class DeadShare:
    """Counts the last records; warns, and has /readyz?verbose say so, while most are dead letters."""

    def __init__(self, fields: Fields, *, readiness: Readiness, steady: Callable[[], float]) -> None:
        self._fields = fields
        self._readiness = readiness
        self._steady = steady
        self._batches: deque[tuple[int, Counter[Reason]]] = deque()
        """Per batch: the number of its records, and of its dead letters by reason."""
        self._records = 0
        self._dead: Counter[Reason] = Counter()
        self._newest: dict[Reason, tuple[bytes | None, bytes | None]] = {}
        """By reason: value and key of the newest dead letter."""
        self._due = 0.0

    def note(self, records: int, bad: Sequence[tuple[bytes | None, bytes | None, Reason]]) -> None:
        """Count a batch of `records`, of which `bad` (value, key, reason) are dead letters."""
        dead = Counter(reason for _, _, reason in bad)
        self._batches.append((records, dead))
        self._records += records
        self._dead += dead
        for value, key, reason in bad:
            self._newest[reason] = value, key
        while self._records - self._batches[0][0] >= WINDOW:
            old, gone = self._batches.popleft()
            self._records -= old
            self._dead -= gone
        if self._records < FEWEST or 2 * self._dead.total() <= self._records:
            self._readiness.notice = ""
        else:
            self._say(warn=self._steady() >= self._due)

    def _say(self, *, warn: bool) -> None:
        reason, count = self._dead.most_common(1)[0]
        value, key = self._newest[reason]
        why, names = fault(value, key, reason, self._fields), field_list(value)
        total = self._dead.total()
        self._readiness.notice = (
            f"{total:,} of the last {self._records:,} records went to the dead letters; {count:,} {why}"
            + (f"; the newest has {names}" if names else "")
        )
        if not warn:
            return
        self._due = self._steady() + SECONDS
        log.warning(
            "most records are no clicks: is the section [click] right?",
            dead_letters=total,
            of=self._records,
            reason=reason.value,
            why=why,
            fields=names,
        )
