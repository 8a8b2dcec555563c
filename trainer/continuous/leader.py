"""Who of several trainers trains: one at a time, as Kafka decides it.

All of them join the consumer group `<releases>.trainer`, subscribed to the topic of releases. It has one
partition: who is given it leads, the others stand by. What the leader publishes has the group's metadata and
an offset of that partition in its transaction (KIP-447): one that was frozen, and leads no more, is refused
by the broker, whatever it believes. Nothing of the topic is read through this membership.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any, Final, Self

from worker.errors import CheckpointFailed, Retriable
from worker.kafka.interface import Connection, GroupMember
from worker.topics import needs
from worker.topics.releases import PARTITION

STANDING_BY: Final = "another trainer leads: standing by"

_POLL_MS: Final = 1_000
_PAUSE_SECONDS: Final = 1.0
_CLOSE_SECONDS: Final = 3.0

_HEARTBEATS: Final = 10
"""So many in a session timeout: with the client's default of 3 s a short one would pass between two."""


class Term:
    """The time from being given the partition to losing it: what is published in it counts."""

    def __init__(self, members: GroupMember) -> None:
        self._members = members
        self._member = members.metadata.member_id
        self._ended = threading.Event()

    @property
    def over(self) -> bool:
        """Whether it is known that another trainer may lead."""
        return self._ended.is_set()

    def end(self) -> None:
        """Note that the partition is gone."""
        self._ended.set()

    def metadata(self) -> Any:
        """The group metadata to publish under. Raises CheckpointFailed where the term is over."""
        # Read first, looked at after: a partition that is revoked ends the term before the group moves on,
        # and whoever was thrown out comes back as another member.
        found = self._members.metadata
        if self.over or found.member_id != self._member:
            self.end()
            raise CheckpointFailed(
                "another trainer leads now, or did meanwhile: what this one made is not published"
            )
        return found


class Leader:
    """One of several trainers. `standing` makes it so; `wait` says since when it leads."""

    def __init__(self, connection: Connection, *, releases: str, session_timeout_ms: int) -> None:
        self._connection = connection
        self._members = connection.member(
            topic=releases,
            group=f"{releases}.trainer",
            client_id="nextclick-trainer",
            session_timeout_ms=session_timeout_ms,
            heartbeat_interval_ms=session_timeout_ms // _HEARTBEATS,
            static_member=None,
        )
        self._term: Term | None = None
        self._news = threading.Condition()
        self._closed = threading.Event()
        self._error: Exception | None = None
        self.state = "joining the group of trainers"
        """Why this trainer does not lead, where it does not."""

    @contextmanager
    def standing(self) -> Iterator[Self]:
        """Be a member of the group while the context is open, in a thread of its own.

        However long a training takes, the group hears of this trainer; who ends leaves the group, so that
        another takes over at once.
        """
        thread = threading.Thread(target=self._follow, name="nextclick-leader", daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._closed.set()
            thread.join(_CLOSE_SECONDS)
            self._members.close(seconds=_CLOSE_SECONDS)

    def wait(self, seconds: float) -> Term | None:
        """The current term, waited for so long; None where another leads, or it is not known who does.

        Raises NotAllowed, SettingError, TopicError where this trainer never will.
        """
        with self._news:
            self._news.wait_for(lambda: self.leads or self._error, timeout=seconds)
            if self._error:
                raise self._error
            return self._term if self.leads else None

    @property
    def leads(self) -> bool:
        """Whether this trainer leads, as far as it knows."""
        return self._term is not None and not self._term.over

    def _follow(self) -> None:
        joined = False
        while not self._closed.is_set():
            try:
                if not joined:
                    needs.counts(self._connection, [self._members.topic])
                    self._members.join(self._on_revoked)
                    joined = True
                self._members.poll(_POLL_MS)
                self._notice()
            except Retriable as error:
                self.state = str(error)
                self._closed.wait(_PAUSE_SECONDS)
            except Exception as error:  # noqa: BLE001  # handed to whoever waits, whatever it is
                self._end_term()
                self._tell(error)
                return

    def _notice(self) -> None:
        """Act on what the group decided."""
        lost, holds = self._members.take_lost(), PARTITION in self._members.assigned()
        if lost or not holds:
            self._end_term()
        if holds and not self.leads:
            self._term = Term(self._members)
            self._tell()
        elif not holds and self._members.joined:
            self.state = STANDING_BY

    def _on_revoked(self, partitions: Collection[int]) -> None:
        self._end_term()

    def _end_term(self) -> None:
        if self._term:
            self._term.end()

    def _tell(self, error: Exception | None = None) -> None:
        with self._news:
            self._error = error
            self._news.notify_all()
