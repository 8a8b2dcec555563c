"""The dead letters of the items topic, as part of a checkpoint.

Every worker reads every record, so every worker refuses a bad one, counts it and logs it. But only the worker
that serves partition 0 of the clicks writes the dead letter. The others keep it for a while, because
partition 0 may be moving to them. So around a move, a letter may be written twice. No worker writes letters
for records that it read before it had caught up: it cannot know whether another worker has written them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Final

from worker.topics.clicks import Invalid
from worker.topics.dead_letters import DeadLetterWriter

WRITERS_PARTITION: Final = 0
"""The partition of the clicks whose worker writes the letters."""

_KEPT: Final = 1_000
"""Maximum number of letters that are kept."""

_KEPT_SECONDS: Final = 60.0
"""The time for which they are kept; a worker that is killed is replaced within 25 s."""


class ItemLetters:
    """The dead letters that wait for a checkpoint. `steady` returns monotonic seconds."""

    def __init__(self, writer: DeadLetterWriter, *, steady: Callable[[], float]) -> None:
        self._writer = writer
        self._steady = steady
        self._waiting: deque[tuple[float, Invalid]] = deque()
        self._sent = 0
        """The number of the first letters that are in the open transaction."""

    def add(self, bad: Sequence[Invalid]) -> None:
        """Add letters, unless too many are waiting."""
        room = _KEPT - len(self._waiting)
        self._waiting.extend((self._steady(), one) for one in bad[:room])

    def due(self) -> bool:
        """Forget old letters; return whether there are any that are not in the open transaction."""
        oldest = self._steady() - _KEPT_SECONDS
        while not self._sent and self._waiting and self._waiting[0][0] < oldest:
            self._waiting.popleft()
        return len(self._waiting) > self._sent

    def write(self) -> None:
        """Add the letters to the open transaction. Raises the errors of `Transactions.send`."""
        self._writer.publish(one for _, one in islice(self._waiting, self._sent, None))
        self._sent = len(self._waiting)

    def committed(self) -> None:
        """Forget the letters of the committed transaction."""
        for _ in range(self._sent):
            self._waiting.popleft()
        self._sent = 0

    def failed(self) -> None:
        """Keep the letters of a transaction that failed, for the next one."""
        self._sent = 0
