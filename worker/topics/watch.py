"""The watch on topics while the worker runs: whether each exists, and is still the same topic.

Kafka's clients wait for a deleted topic, or read a recreated topic from its first record, without an error.
Topic ids (KIP-516) show a recreation reliably; with a broker that has no topic ids, a recreation goes
unnoticed.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping
from contextlib import closing
from typing import Final

import structlog

from worker.errors import NextclickError, Retriable, TopicError, TopicGone
from worker.http.readiness import Readiness
from worker.kafka.interface import Admin, Connection, TopicInfo
from worker.topics import needs
from worker.topics.needs import Need

log = structlog.get_logger("worker")

LOOK_SECONDS: Final = 2.0
"""The interval between two checks, in seconds."""

CONFIRM_SECONDS: Final = 0.5
"""The delay before a problem is checked again and reported, in seconds: a broker may just be starting."""


class TopicWatch:
    """Keeps the descriptions of the topics. With `background` a thread checks them; otherwise `look` does.

    `spared`: topics that the worker may lose the right to see after `start`; their readers report the loss.
    """

    def __init__(
        self,
        connection: Connection,
        wanted: list[Need],
        *,
        readiness: Readiness,
        steady: Callable[[], float],
        spared: Collection[str] = (),
        background: bool = True,
    ) -> None:
        self._connection = connection
        self._spared = spared
        self._wanted = wanted
        self._readiness = readiness
        self._steady = steady
        self._background = background
        self._lock = threading.Lock()
        self._known: dict[str, TopicInfo] = {}
        self._ids: dict[str, str] = {}
        """The id of each topic before it was created again, until `take_created_again` has returned it."""
        self._again: set[str] = set()
        """The topics that were created again and that `take_created_again` has not returned yet."""
        self._suspected = ""
        self._due = 0.0
        self._running = False
        self._closed = threading.Event()
        self._admin: Admin | None = None
        self._error: Exception | None = None
        """The bug that ended the thread."""

    def require(self) -> None:
        """Check the topics now. Raises KafkaAway, and NotAllowed for a hidden topic.

        For a wrong topic, raises TopicError before `start` and TopicGone after `start`.
        """
        try:
            with closing(self._connection.admin()) as admin:
                described = admin.describe([need.topic for need in self._wanted])
                wanted = self._needed(described)
                meant = needs.suggestion(admin, described, wanted)
                needs.refuse(described, wanted, meant, serving=self._running)
            self._note(described)
        except TopicError as error:
            if not self._running:
                raise
            raise TopicGone("; ".join(str(error).splitlines())) from None
        self._readiness.trouble = self._suspected = ""

    def cause(self, error: Retriable | TopicError) -> Retriable:
        """Return the reason why a call failed: TopicGone if a topic is or was missing; otherwise `error`.

        Clients report a missing topic in many ways. Raises `error` instead if it is any other TopicError.
        """
        try:
            self.require()
        except TopicGone as gone:
            return gone
        except Retriable as away:
            return error if isinstance(error, Retriable) else away
        with self._lock:
            again = ", ".join(sorted(self._again))
        if again:
            return TopicGone(f"deleted and created again: topic {again}")
        if isinstance(error, Retriable):
            return error
        raise error

    def partitions(self, topic: str) -> int:
        """Return the number of partitions that a topic had when it last existed."""
        return self._known[topic].partitions

    def id(self, topic: str) -> str:
        """Return the id of a topic; empty if the broker does not report ids.

        The id changes only in `take_created_again`, so no record combines the id of a new topic with offsets
        of the old topic.
        """
        return self._ids[topic]

    @property
    def trouble(self) -> str:
        """The problems of topics that are missing or too small, as sentences; empty without problems."""
        return self._readiness.trouble

    def take_created_again(self) -> set[str]:
        """Return the topics that were created again since the last call; `id` then returns their new ids."""
        with self._lock:
            found, self._again = self._again, set()
            self._ids |= {topic: self._known[topic].id for topic in found}
        return found

    def start(self) -> None:
        """Start the watch."""
        self._running = True
        if self._background:
            threading.Thread(target=self._run, name="nextclick-topics", daemon=True).start()

    def look(self) -> None:
        """Check the topics if a check is due and no thread does it. Raises the error that ended a thread."""
        if self._error is not None:
            raise self._error
        if not self._background and self._steady() >= self._due:
            self._due = self._steady() + self._step()

    def close(self) -> None:
        """Stop the thread without waiting for its end."""
        self._closed.set()
        if not self._background:
            self._drop()

    def _run(self) -> None:
        try:
            while not self._closed.wait(self._step()):
                pass
        except Exception as error:  # noqa: BLE001  # the loop raises it; here it would be lost
            self._error = error
        self._drop()

    def _step(self) -> float:
        """Check once; return the seconds until the next check."""
        try:
            if self._admin is None:
                self._admin = self._connection.admin()
            described = self._admin.describe([need.topic for need in self._wanted])
        except NextclickError:
            # An outage is reported elsewhere, and says nothing about topics.
            self._drop()
            return LOOK_SECONDS
        self._note(described)
        found = "; ".join(needs.wrong(described, self._needed(described), serving=True))
        confirmed, self._suspected = found == self._suspected, found
        if found and not confirmed:
            return CONFIRM_SECONDS
        if found and found != self.trouble:
            log.error("a topic is hidden, missing or too small", problem=found)
        self._readiness.trouble = found
        return LOOK_SECONDS

    def _needed(self, described: Mapping[str, TopicInfo]) -> list[Need]:
        """Return the topics that must be as they should be, the clicks topic first."""

        def is_spared(topic: str) -> bool:
            return self._running and topic in self._spared and not described[topic].visible

        return [need for need in self._wanted if not is_spared(need.topic)]

    def _note(self, described: dict[str, TopicInfo]) -> None:
        with self._lock:
            for topic, one in described.items():
                before = self._known.get(topic)
                if one.partitions:
                    self._known[topic] = one
                if before and before.id and one.id and one.id != before.id:
                    self._again.add(topic)
                if one.partitions and topic not in self._again:
                    self._ids[topic] = one.id

    def _drop(self) -> None:
        admin, self._admin = self._admin, None
        if admin is not None:
            admin.close()
