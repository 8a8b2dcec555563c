"""A partition of the clicks, from the moment the group assigns it until it goes.

::

    ASSIGNED    the group gave it to this worker; nothing of it is known yet
    LOADING     its blocks are being read back
    WAITING     all are loaded; the release in force when they were saved has not arrived here
    REPLAYING   clicks that the blocks lack are applied again, without publishing
    SERVED      clicks are applied, ranked and answered; changed states are flushed

It goes when the group revokes it, or when something fails that it had a part in: then all of it is dropped,
and it begins again as ASSIGNED.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

from worker.core.flush import Flush, Ledger
from worker.topics.states import Forget, Replay


class Status(enum.Enum):
    """The stages of a partition on its way to being served."""

    ASSIGNED = enum.auto()
    LOADING = enum.auto()
    WAITING = enum.auto()
    REPLAYING = enum.auto()
    SERVED = enum.auto()


class Stage(enum.IntEnum):
    """The stages of a deletion request."""

    ASKED = 0
    SEARCHED = 1
    """The blocks are being looked through."""
    FOUND = 2
    """The blocks with copies are known."""
    WRITTEN = 3
    """The flush under way replaces them."""
    CLEAN = 4
    """No block holds a copy; a replay may still pass the user's clicks."""


@dataclass(slots=True)
class DeletionRequest:
    """One user's deletion request, as the owner of the partition handles it."""

    request: Forget
    written: bool
    """Whether the state topic, or the transaction, has it as this owner heard it."""
    stage: Stage = Stage.ASKED


@dataclass(slots=True)
class RecoveryProgress:
    """The progress of loading and replaying, and when each began."""

    assigned_at: float
    loaded_at: float = 0.0
    loaded: float = 0.0
    """The part of the blocks that is loaded, from 0 to 1."""
    bytes: int = 0
    replayed: int = 0
    """The number of clicks applied again."""
    refused: dict[str, str] = field(default_factory=dict)
    """By key, why its value cannot be used; a later record under the same key may replace it."""


@dataclass(slots=True)
class FlushProgress:
    """A flush under way."""

    flush: Flush
    began: float
    position: int
    """The partition's position when it began: another owner of its blocks replays from there."""
    blocks: int
    """About how many blocks it has."""
    written: int = 0


@dataclass(slots=True)
class Partition:
    """All that is known of one partition but the rows of its users."""

    number: int
    token: int
    """Of the current reading of its states: events of an earlier one carry another."""
    progress: RecoveryProgress
    status: Status = Status.ASSIGNED
    ledger: Ledger = field(default_factory=Ledger)
    """The blocks that it has."""
    saved: Replay | None = None
    """The latest `replay` record; None where nothing was ever saved."""
    requests: dict[str, DeletionRequest] = field(default_factory=dict)
    uncommitted: set[int] = field(default_factory=set)
    """Blocks that were sent and not committed yet."""
    condemned: set[int] = field(default_factory=set)
    """Blocks that hold what was asked to be deleted: the next flush drops them."""
    unwritten: bool = False
    """Whether the state topic has nothing of it: the next flush writes all."""
    replay_from: int = 0
    """The first offset that is read."""
    serve_from: int = 0
    """The first offset that is answered: clicks before it are replayed."""
    position: int = 0
    """The next offset to be applied."""
    flushing: FlushProgress | None = None
    flush_due: float = 0.0

    @property
    def served(self) -> bool:
        """Whether its clicks are answered."""
        return self.status is Status.SERVED

    @property
    def saved_until(self) -> int:
        """The offset up to which its states are saved."""
        return self.serve_from if self.saved is None else self.saved.offset

    def left_seconds(self, now: float) -> float:
        """Return about how long it will take until it is served, judging by what was done so far."""
        seconds = now - self.progress.assigned_at
        done = self.progress.loaded
        if self.status is Status.REPLAYING:
            clicks = self.serve_from - self.replay_from
            done = (self.position - self.replay_from) / clicks if clicks else 1.0
        return seconds * (1 - done) / done if done else 0.0

    def at(self, stage: Stage) -> list[str]:
        """Return the users whose deletion requests are at `stage`."""
        return [user_id for user_id, one in self.requests.items() if one.stage == stage]

    def move(self, user_ids: list[str], stage: Stage) -> None:
        """Note that the deletion requests of some users are at `stage` now."""
        for user_id in user_ids:
            self.requests[user_id].stage = stage
