"""Checks that no other running worker has the same transactional id: at start-up, and when in doubt."""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import closing
from typing import Final

import structlog

from worker.errors import NextclickError, Retriable, SharedIdentity
from worker.http.readiness import Readiness
from worker.kafka.interface import Connection, Member
from worker.process.stop import Stop, StopNow

log = structlog.get_logger("worker")

LOOK_SECONDS: Final = 0.5
"""The interval between checks of the group's members."""

SLACK_SECONDS: Final = 5.0
"""Time allowed for the broker, which may be busy, to remove a member whose session has ended."""


class Identity:
    """A worker's name in its group, which must be unique among the running workers.

    A static member needs no claim: a new member replaces its predecessor at once, and the broker fences the
    predecessor.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        group: str,
        topic: str,
        client_id: str,
        static: bool = False,
        session_seconds: float,
        readiness: Readiness,
        stop: Stop,
        steady: Callable[[], float],
    ) -> None:
        self._connection = connection
        self._group = group
        self._topic = topic
        self._client_id = client_id
        self._static = static
        self._session_seconds = session_seconds
        self._readiness = readiness
        self._stop = stop
        self._steady = steady

    def claim(self) -> None:
        """Wait until no member of the group has this worker's name; a static member does not wait.

        A killed worker remains a member until its session times out. Raises SharedIdentity if a member with
        this name remains after that timeout, StopNow on a stop request, KafkaAway.
        """
        deadline = self._steady() + self._session_seconds + SLACK_SECONDS
        while not self._static and (holder := next(iter(self._named()), None)):
            if self._steady() >= deadline:
                raise SharedIdentity(
                    f"another worker runs as {self._client_id} at {holder.host} (member {holder.member_id}), "
                    "so this worker did not start; give each worker of a group a different worker_id"
                )
            self._readiness.waiting(
                f"group {self._group} already has a member {self._client_id} at {holder.host}; waiting up to "
                f"{self._session_seconds + SLACK_SECONDS:g} s for its session to end, in case it was killed"
            )
            if self._stop.wait(LOOK_SECONDS):
                raise StopNow

    def rival(self, own: Collection[str]) -> str:
        """Return where another running worker has this name; empty if there is none, or nobody answers.

        `own` are the ids that the group may know this worker itself by.
        """
        try:
            others = [one for one in self._named() if one.member_id not in own]
        except Retriable:
            return ""
        return f"at {others[0].host} (member {others[0].member_id})" if others else ""

    def _named(self) -> list[Member]:
        """Return the members of the group that have this worker's name."""
        try:
            with closing(self._connection.admin()) as admin:
                members = admin.members(self._group, topic=self._topic)
        except Retriable:
            raise
        except NextclickError as error:
            log.warning("could not check whether another worker has this worker_id", error=str(error))
            return []
        return [one for one in members if one.client_id == self._client_id]
