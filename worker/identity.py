"""One name, one worker: a newcomer does not take the transactional id of a worker that lives."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from typing import Final

import structlog

from worker.errors import NextclickError, Retriable, SharedIdentity
from worker.http.readiness import Readiness
from worker.kafka.interface import Connection, Member
from worker.process.stop import Stop, StopNow

log = structlog.get_logger("worker")

LOOK_SECONDS: Final = 0.5
"""The interval between two looks at the group."""

SLACK_SECONDS: Final = 2.0
"""The time that a broker may take to throw out a member whose session has ended."""


class Identity:
    """The name under which a worker is in its group.

    A static member takes its predecessor's place at once, and the broker fences the other: not for those.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        group: str,
        topic: str,
        client_id: str,
        session_seconds: float,
        readiness: Readiness,
        stop: Stop,
        steady: Callable[[], float],
    ) -> None:
        self._connection = connection
        self._group = group
        self._topic = topic
        self._client_id = client_id
        self._session_seconds = session_seconds
        self._readiness = readiness
        self._stop = stop
        self._steady = steady

    def claim(self) -> None:
        """Return when no member of the group has this name.

        A worker that was killed is a member until its session ends: that is waited for. Raises
        SharedIdentity where a member outlives that; StopNow; KafkaAway.
        """
        deadline = self._steady() + self._session_seconds + SLACK_SECONDS
        while holder := self._holder():
            if self._steady() >= deadline:
                raise SharedIdentity(
                    f"another worker runs as {self._client_id} at {holder.host} (member {holder.member_id}): "
                    "give every worker of a group a worker_id of its own. This one did not start"
                )
            self._readiness.waiting(
                f"group {self._group} has a member {self._client_id} at {holder.host}: waiting for at most "
                f"{self._session_seconds + SLACK_SECONDS:g} s until its session ends, as after kill -9"
            )
            if self._stop.wait(LOOK_SECONDS):
                raise StopNow

    def _holder(self) -> Member | None:
        try:
            with closing(self._connection.admin()) as admin:
                members = admin.members(self._group, topic=self._topic)
        except Retriable:
            raise
        except NextclickError as error:
            log.warning("whether another worker has this worker_id is not known", error=str(error))
            return None
        return next((one for one in members if one.client_id == self._client_id), None)
