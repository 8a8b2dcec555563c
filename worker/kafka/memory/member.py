"""A consumer group member of the in-memory cluster."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from kafka import errors as kafka_errors
from kafka.structs import ConsumerGroupMetadata

from worker.kafka.client import Endpoint
from worker.kafka.interface import MAX_BATCH, Backlog, Record, TopicPartition
from worker.kafka.memory.broker import Broker, Process
from worker.kafka.memory.cursor import Cursor
from worker.kafka.memory.groups import Group, Session


class MemoryGroupMember:
    """Implements `worker.kafka.interface.GroupMember`.

    The member sends heartbeats automatically, like a consumer's background thread (KIP-62), unless its
    process is frozen or has crashed. It joins and rebalances only in `poll`, on the caller's thread.
    """

    def __init__(
        self,
        process: Process,
        endpoint: Endpoint,
        *,
        topic: str,
        group: str,
        client_id: str,
        session_timeout_ms: int,
        static_member: str | None,
        address: str = "",
    ) -> None:
        self.topic = topic
        self._process = process
        self._endpoint = endpoint
        self._group = group
        self._client_id = client_id
        self._timeout_ms = session_timeout_ms
        self._static = static_member
        self._address = address
        self._on_revoked: Callable[[Collection[int]], None] = _ignore
        self._subscribed = False
        self._member_id = ""
        self._generation = -1
        self._joining = False
        self._replaces = static_member is not None
        self._metadata = self._current()
        self._cursor = Cursor(committed=True)
        self._lost: set[int] = set()

    @property
    def session(self) -> Session | None:
        """The member as known to the group; None if it is not in the group."""
        return self._process.broker.group(self._group).members.get(self._member_id)

    def join(self, on_revoked: Callable[[Collection[int]], None]) -> None:
        """Subscribe; the member joins the group with its first poll."""
        with self._process.broker.lock, self._endpoint.errors("join the consumer group"):
            broker = self._process.live()
            self._process.strike("join")
            broker.reach()
        self._on_revoked, self._subscribed = on_revoked, True

    @property
    def joined(self) -> bool:
        """Whether this member has received its assignment, which may be empty."""
        return self._generation >= 0 and not self._joining

    @property
    def ids(self) -> frozenset[str]:
        """The ids that the group may know this member by: while it joins again, an old and a new one."""
        return frozenset([self._metadata.member_id, self._member_id])

    @property
    def metadata(self) -> Any:
        """The group metadata for commits; after the group has removed this member, commits are refused."""
        self._process.live()
        fresh = self._current()
        if fresh.generation_id >= 0 and fresh.member_id == self._metadata.member_id:
            self._metadata = fresh
        return self._metadata

    def poll(self, timeout_ms: int, at_most: int = MAX_BATCH) -> list[Record]:
        """Return the next records, grouped by partition and in order within each, without waiting."""
        if not self._subscribed:
            raise ValueError("poll must be called after join")
        with self._endpoint.errors("poll"):
            with self._process.broker.lock:
                broker = self._process.live()
                self._process.strike("poll")
                if broker.away:
                    return []
                revoked = self._follow(broker)
            if revoked:
                self._give_up(revoked)
            with self._process.broker.lock:
                self._process.live()
                polled = self._cursor.read(self._process, at_most)
        self._keep_metadata()
        return [record for records in polled.values() for record in records]

    def wake(self) -> None:
        """Do nothing: a poll does not wait."""

    def assigned(self) -> set[int]:
        """Return the partitions that the group assigned to this member."""
        return {at.partition for at in self._cursor.assigned}

    @property
    def lost(self) -> bool:
        """Whether, since the last `take_lost`, partitions were lost without a chance to commit their work."""
        return bool(self._lost)

    def take_lost(self) -> set[int]:
        """Return and clear the partitions that were lost since the last call."""
        lost, self._lost = self._lost, set()
        return lost

    def hold(self, partitions: Collection[int]) -> None:
        """Stop reading some assigned partitions until `begin`."""
        for at in [at for at in self._cursor.assigned if at.partition in partitions]:
            self._cursor.seek(at, 0)
            self._cursor.pause([at])

    def begin(self, partition: int, offset: int) -> None:
        """Read an assigned partition from `offset`, or from its first record if the offset was deleted."""
        at = TopicPartition(self.topic, partition)
        if at in self._cursor.assigned:
            self._cursor.seek(at, offset)
            self._cursor.resume(at)

    def position(self, partition: int) -> int:
        """Return the next offset to read in an assigned partition; 0 if unknown."""
        at = TopicPartition(self.topic, partition)
        return self._cursor.position(at) if at in self._cursor.assigned else 0

    def backlogs(self) -> dict[int, Backlog]:
        """Return the unread records of each partition that is being read; asks the broker."""
        with self._process.broker.lock, self._endpoint.errors("ask for the end of the clicks"):
            broker = self._process.live()
            broker.reach()
            self._process.rights.require("topic", self.topic, "DESCRIBE")
            logs = {at: broker.log(*at) for at in self._cursor.read_now}
            return {
                at.partition: Backlog(
                    max(0, log.stable - max(self._cursor.position(at), log.start)), log.stable
                )
                for at, log in logs.items()
            }

    def close(self, *, seconds: float) -> None:
        """Leave the group, so that other members take over the partitions. Does nothing before `join`.

        A static member stays in its group until its session times out (KIP-345).
        """
        if not self._subscribed or not self._process.alive:
            return
        self._subscribed = False
        assigned = self.assigned()
        with self._endpoint.errors("leave the consumer group"):
            try:
                if assigned and self.session is not None:
                    self._tell(assigned)
            finally:
                self._leave()

    def _current(self) -> ConsumerGroupMetadata:
        return ConsumerGroupMetadata(self._group, self._generation, self._member_id, self._static)

    def _keep_metadata(self) -> None:
        if self._generation >= 0:
            self._metadata = self._current()

    def _follow(self, broker: Broker) -> set[int]:
        """Update the assignment; return the partitions that this member must give up."""
        group, partitions = broker.group(self._group), broker.partitions(self.topic)
        session = self.session
        if session is None and self._static and self._member_id and group.static(self._static):
            # Another member has replaced this one (KIP-345); this member's commits are refused.
            return set()
        if session is None:
            session = self._enter(broker, group)
        elif not session.joined and (group.rebalancing or self._wants_more(group, partitions)):
            group.ask(session, self.assigned())
        session.polled_ms, session.silent_since = broker.now_ms, None
        group.make(partitions)
        self._joining = group.rebalancing
        if group.rebalancing or self._generation == group.generation:
            return set()
        return self._take(group, session)

    def _enter(self, broker: Broker, group: Group) -> Session:
        """Join as a new member without partitions."""
        self._process.rights.require("group", self._group, "READ")
        self._lost |= self.assigned()
        self._cursor.assign(())
        self._member_id, self._generation = broker.new_name(self._client_id), -1
        session = Session(
            self._member_id,
            self._client_id,
            self.topic,
            self._static,
            self._timeout_ms,
            self._process,
            broker.now_ms,
            address=self._address,
        )
        group.enter(session)
        return session

    def _wants_more(self, group: Group, partitions: int) -> bool:
        """Return whether the topic has new or unassigned partitions.

        If a static member ends while it is giving up partitions, its replacement causes no rebalance by
        joining, so the replacement must request a rebalance.
        """
        left_behind = False
        if self._replaces and self.joined:
            self._replaces = False
            given = sum(len(one.assigned) for one in group.members.values())
            left_behind = given < partitions
        return left_behind or group.partitions != partitions

    def _take(self, group: Group, session: Session) -> set[int]:
        """Update the assigned partitions to the new generation; return the partitions that are revoked."""
        self._generation = group.generation
        before = self.assigned()
        self._cursor.assign([TopicPartition(self.topic, number) for number in sorted(session.assigned)])
        self.hold(session.assigned - before)
        return before - session.assigned

    def _give_up(self, revoked: set[int]) -> None:
        """Call the revocation listener, then request the generation that reassigns the partitions."""
        try:
            self._tell(revoked)
        finally:
            with self._process.broker.lock:
                session = self.session
                if session is not None and self._process.alive:
                    self._process.broker.group(self._group).ask(session, self.assigned())
                    self._joining = True

    def _tell(self, revoked: set[int]) -> None:
        try:
            self._on_revoked(revoked)
        except Exception as error:
            raise kafka_errors.KafkaError("User rebalance callback throws an error") from error

    def _leave(self) -> None:
        with self._process.broker.lock:
            self._cursor.assign(())
            broker, session = self._process.broker, self.session
            if session is not None and self._process.alive:
                if self._static or broker.away:
                    broker.silence([session])
                else:
                    broker.group(self._group).remove(session.member_id)


def _ignore(partitions: Collection[int]) -> None:
    """Do nothing: the listener before `join`."""
