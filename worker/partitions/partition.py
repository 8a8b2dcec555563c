"""A partition of the clicks, from its assignment by the group until it is dropped.

::

    ASSIGNED    assigned to this worker; nothing has been read yet
    LOADING     its blocks are being read
    WAITING     all blocks are loaded; the release that served when they were saved is not known here yet
    REPLAYING   clicks that the blocks lack are applied again, without publishing
    SERVED      clicks are applied, ranked and answered; changed states are flushed

A partition is dropped when the group revokes it, or when an operation that involves it fails; after a
failure, it starts again as ASSIGNED.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

from worker.core.flush import Flush, Ledger
from worker.topics.states import Forget, Replay


class Status(enum.Enum):
    """The stages of a partition on the way to being served."""

    ASSIGNED = enum.auto()
    LOADING = enum.auto()
    WAITING = enum.auto()
    REPLAYING = enum.auto()
    SERVED = enum.auto()


class Stage(enum.IntEnum):
    """The stages of a deletion request."""

    ASKED = 0
    SEARCHED = 1
    """The blocks are being searched."""
    FOUND = 2
    """The blocks that hold copies are known."""
    WRITTEN = 3
    """The flush under way replaces the blocks that hold copies."""
    CLEAN = 4
    """No block has a copy; a replay may still include the user's clicks."""


@dataclass(slots=True)
class DeletionRequest:
    """A user's deletion request and its progress."""

    request: Forget
    written: bool
    """Whether the acknowledged request is in the state topic or in the open transaction."""
    stage: Stage = Stage.ASKED


@dataclass(slots=True)
class RecoveryProgress:
    """The progress of loading and replaying, and the times when the partition was assigned and loaded."""

    assigned_at: float
    loaded_at: float = 0.0
    loaded: float = 0.0
    """The share of the blocks that is loaded, from 0 to 1."""
    bytes: int = 0
    replayed: int = 0
    """The number of clicks replayed."""
    refused: dict[str, str] = field(default_factory=dict)
    """By key: why the value cannot be used. A later record with the same key may replace it."""


@dataclass(slots=True)
class FlushProgress:
    """A flush under way."""

    flush: Flush
    began: float
    position: int
    """The partition's position when the flush began: recovery from the flushed blocks replays from this
    offset.
    """
    blocks: int
    """The approximate number of blocks of the flush."""
    written: int = 0


@dataclass(slots=True)
class Partition:
    """The state of one partition, except for its user rows."""

    number: int
    token: int
    """The token of the current reading of its state partition: events of earlier readings have other tokens.
    """
    progress: RecoveryProgress
    status: Status = Status.ASSIGNED
    ledger: Ledger = field(default_factory=Ledger)
    """The blocks of the partition."""
    saved: Replay | None = None
    """The latest `replay` record; None if nothing was ever saved."""
    requests: dict[str, DeletionRequest] = field(default_factory=dict)
    uncommitted: set[int] = field(default_factory=set)
    """Blocks that were sent and are not committed yet."""
    condemned: set[int] = field(default_factory=set)
    """Blocks with data to be deleted: the next flush drops them."""
    unwritten: bool = False
    """Whether the state topic has no records of the partition, so that the next flush must write everything.
    """
    replay_from: int = 0
    """The first offset to read."""
    serve_from: int = 0
    """The first offset to answer; clicks before it are replayed."""
    position: int = 0
    """The next offset to apply."""
    committed: int = 0
    """The committed offset."""
    read_ms: int = 0
    """The timestamp of the last record that was answered; 0 if none was."""
    flushing: FlushProgress | None = None
    flush_due: float = 0.0

    @property
    def served(self) -> bool:
        """Whether the clicks of the partition are answered."""
        return self.status is Status.SERVED

    @property
    def earliest(self) -> int:
        """The lowest offset that the next record can have; 0 before the replay, when no record is read."""
        if self.status is Status.SERVED:
            return self.position
        return self.replay_from if self.status is Status.REPLAYING else 0

    @property
    def saved_until(self) -> int:
        """The offset below which all clicks are in saved states."""
        return self.serve_from if self.saved is None else self.saved.offset

    def left_seconds(self, now: float) -> float:
        """Return the estimated time until the partition is served, in seconds."""
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
        """Set the stage of the deletion requests of `user_ids`."""
        for user_id in user_ids:
            self.requests[user_id].stage = stage
