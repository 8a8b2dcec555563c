"""The dead letters of the topics of items and rules, as part of a checkpoint.

Every worker reads every record, so every worker refuses a bad one, counts it and logs it. But only the worker
that serves partition 0 of the clicks writes the dead letter. The others keep it for a while, because
partition 0 may be moving to them. So around a move, a letter may be written twice; and if nobody serves
partition 0 for longer, or too many letters wait, a letter is missing, which is logged. No worker writes
letters for records that it read before it had caught up: it cannot know whether another worker has written
them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Final

import structlog

from worker.topics.clicks import Invalid
from worker.topics.dead_letters import DeadLetterWriter

log = structlog.get_logger("worker")

WRITERS_PARTITION: Final = 0
"""The partition of the clicks whose worker writes the letters."""

_KEPT: Final = 1_000
_KEPT_BYTES: Final = 16 << 20
_KEPT_SECONDS: Final = 60.0
"""The bounds of the letters that are kept: number and size, and age where this worker does not write them: a
worker that is killed is replaced within 25 s.
"""


class ItemLetters:
    """The dead letters that wait for a checkpoint. `steady` returns monotonic seconds."""

    def __init__(self, writer: DeadLetterWriter, *, steady: Callable[[], float]) -> None:
        self._writer = writer
        self._steady = steady
        self._waiting: deque[tuple[float, Invalid]] = deque()
        self._waiting_bytes = 0
        self._writes = False
        """Whether this worker served the writers' partition at the last checkpoint."""
        self._sent = 0
        """The number of the first letters that are in the open transaction."""

    def add(self, bad: Sequence[Invalid]) -> None:
        """Add letters, unless too many are waiting."""
        dropped = 0
        for one in bad:
            size = len(one.record.value or b"")
            if len(self._waiting) >= _KEPT or self._waiting_bytes + size > _KEPT_BYTES:
                dropped += 1
                continue
            self._waiting.append((self._steady(), one))
            self._waiting_bytes += size
        if dropped and self._writes:
            log.warning(
                "bad records of items or rules without a dead letter: too many at once", count=dropped
            )

    def due(self, *, writes: bool) -> bool:
        """Return whether there are letters to add to the open transaction.

        `writes`: whether this worker serves the writers' partition. Otherwise, or if it did not before, it
        forgets the letters that are old: another worker has written them.
        """
        if not (writes and self._writes):
            self._forget_old()
        self._writes = writes
        return writes and len(self._waiting) > self._sent

    def write(self) -> None:
        """Add the letters to the open transaction. Raises the errors of `Transactions.send`."""
        self._writer.publish(one for _, one in islice(self._waiting, self._sent, None))
        self._sent = len(self._waiting)

    def committed(self) -> None:
        """Forget the letters of the committed transaction."""
        for _ in range(self._sent):
            self._forget_first()
        self._sent = 0

    def failed(self) -> None:
        """Keep the letters of a transaction that failed, for the next one."""
        self._sent = 0

    def _forget_old(self) -> None:
        oldest = self._steady() - _KEPT_SECONDS
        while not self._sent and self._waiting and self._waiting[0][0] < oldest:
            self._forget_first()

    def _forget_first(self) -> None:
        _, one = self._waiting.popleft()
        self._waiting_bytes -= len(one.record.value or b"")
