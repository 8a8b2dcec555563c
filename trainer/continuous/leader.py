"""Leader election: only one of several trainers trains at a time, and Kafka chooses which.

All trainers join the consumer group `<releases>.trainer` on the releases topic, which has one partition. The
trainer that is assigned the partition leads; the others stand by. The leader publishes in a transaction with
the group's metadata and an offset of the partition (KIP-447). So the broker refuses the transaction of a
former leader that was frozen, even if the former leader still believes that it leads. No records are read
through this membership.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any, Final, Self

from worker.clock import Clock
from worker.errors import CheckpointFailed, Retriable
from worker.kafka.interface import Connection, GroupMember
from worker.topics import needs
from worker.topics.releases import PARTITION, trainers

STANDING_BY: Final = "another trainer leads: standing by"

_POLL_MS: Final = 1_000
_PAUSE_SECONDS: Final = 1.0
_CLOSE_SECONDS: Final = 3.0

_HEARTBEATS: Final = 10
"""Number of heartbeats per session timeout. At the client's default interval of 3 s, a short timeout would
expire between heartbeats."""


class Lease:
    """One term of leadership, from the assignment of the partition to its loss. Publishing requires it."""

    def __init__(self, member: GroupMember) -> None:
        self._member = member
        self._member_id = member.metadata.member_id
        self._ended = threading.Event()

    @property
    def over(self) -> bool:
        """Whether the lease has ended: another trainer may lead now."""
        return self._ended.is_set()

    def end(self) -> None:
        """End the lease, because the partition is lost."""
        self._ended.set()

    def metadata(self) -> Any:
        """Return the group metadata for a transaction. Raises CheckpointFailed if the lease is over."""
        # Read the metadata before checking the lease: a revocation ends the lease before the group's
        # generation changes, and an expelled member rejoins with another member id.
        found = self._member.metadata
        if self.over or found.member_id != self._member_id:
            self.end()
            raise CheckpointFailed(
                "another trainer leads now, or led in the meantime; this trainer's release is not published"
            )
        return found


class Leader:
    """This trainer's part in the election. Inside the context `membership`, `wait` returns the lease.

    With `background`, a thread polls the group, so that the membership lasts through a long training. Without
    `background`, only `wait` polls the group; this is for tests.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        releases: str,
        session_timeout_ms: int,
        clock: Clock,
        background: bool = True,
    ) -> None:
        self._connection = connection
        self._member = connection.member(
            topic=releases,
            group=trainers(releases),
            client_id="nextclick-trainer",
            session_timeout_ms=session_timeout_ms,
            heartbeat_interval_ms=session_timeout_ms // _HEARTBEATS,
        )
        self._clock = clock
        self._background = background
        self._thread = threading.Thread(target=self._follow, name="nextclick-leader", daemon=True)
        self._joined = False
        self._lease: Lease | None = None
        self._news = threading.Condition()
        self._closed = threading.Event()
        self._error: Exception | None = None
        self.state = "joining the group of trainers"
        """The reason why this trainer does not lead, as text for display; not updated while it leads."""

    @contextmanager
    def membership(self) -> Iterator[Self]:
        """Join the group within the context; leave it afterwards, so that another trainer takes over."""
        if self._background:
            self._thread.start()
        try:
            yield self
        finally:
            self._closed.set()
            if self._background:
                self._thread.join(_CLOSE_SECONDS)
            self._member.close(seconds=_CLOSE_SECONDS)

    def wait(self, seconds: float) -> Lease | None:
        """Return the lease, waiting up to `seconds` for it; None if this trainer does not lead by then.

        In that case, `state` has the reason. Raises NotAllowed, SettingError, TopicError if this trainer can
        never lead.
        """
        if self._background:
            with self._news:
                self._news.wait_for(lambda: self.leads or self._error, timeout=seconds)
            if self._error:
                raise self._error
        elif not (self._step(0) and self.leads):
            self._clock.sleep(seconds)
        return self._lease if self.leads else None

    @property
    def leads(self) -> bool:
        """Whether this trainer holds a lease."""
        return self._lease is not None and not self._lease.over

    def _follow(self) -> None:
        """Poll the group until the membership ends, or a permanent error occurs."""
        try:
            while not self._closed.is_set():
                if not self._step(_POLL_MS):
                    self._closed.wait(_PAUSE_SECONDS)
        except Exception as error:  # noqa: BLE001  # handed to the caller of `wait`
            self._notify(error)

    def _step(self, timeout_ms: int) -> bool:
        """Poll the group for its assignment; return False if Kafka could not be reached."""
        try:
            if not self._joined:
                needs.counts(self._connection, [self._member.topic])
                self._member.join(self._on_revoked)
                self._joined = True
            self._member.poll(timeout_ms)
            self._act()
        except Retriable as error:
            self.state = str(error)
            return False
        except Exception:
            self._end_lease()
            raise
        return True

    def _act(self) -> None:
        """Start or end the lease, depending on the partition assignment."""
        lost, holds = self._member.take_lost(), PARTITION in self._member.assigned()
        if lost or not holds:
            self._end_lease()
        if holds and not self.leads:
            self._lease = Lease(self._member)
            self._notify()
        elif not holds and self._member.joined:
            self.state = STANDING_BY

    def _on_revoked(self, partitions: Collection[int]) -> None:
        self._end_lease()

    def _end_lease(self) -> None:
        if self._lease:
            self._lease.end()

    def _notify(self, error: Exception | None = None) -> None:
        with self._news:
            self._error = error
            self._news.notify_all()
