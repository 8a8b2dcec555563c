"""The coordinator of a consumer group, and the group's committed offsets.

KIP-62 (sessions), KIP-345 (static members), KIP-429 (cooperative rebalances), KIP-447 (fenced offsets).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from kafka import errors as kafka_errors

from worker.kafka.memory.log import Transaction

MAX_POLL_MS: Final = 300_000
"""The client's max.poll.interval.ms: a member that does not poll for this long leaves the group (KIP-62)."""


@dataclass(eq=False, slots=True)
class Session:
    """A member, as known to its group."""

    member_id: str
    client_id: str
    topic: str
    instance: str | None
    timeout_ms: int
    process: object
    """The connection that sends the member's heartbeats."""
    polled_ms: int
    silent_since: int | None = None
    """The time of the last heartbeat of a member that is frozen or crashed; None for other members."""
    joined: bool = False
    """Whether the member has requested to join the next generation."""
    claims: frozenset[int] = frozenset()
    """The partitions claimed in the join request."""
    assigned: frozenset[int] = frozenset()
    """The partitions assigned in the current generation."""
    address: str = ""

    def expired(self, now_ms: int) -> bool:
        """Return whether the member has sent no heartbeat, or has not polled, for too long."""
        silent = self.silent_since is not None and now_ms - self.silent_since >= self.timeout_ms
        return silent or now_ms - self.polled_ms >= MAX_POLL_MS


@dataclass(slots=True)
class Group:
    """A consumer group that shares the partitions of one topic, and its committed offsets.

    A generation starts once every member has requested to join it; each member does so when it polls.
    """

    name: str
    generation: int = 0
    rebalancing: bool = False
    partitions: int = 0
    """Number of partitions shared in the current generation."""
    members: dict[str, Session] = field(default_factory=dict)
    offsets: dict[tuple[str, int], int] = field(default_factory=dict)
    pending: dict[tuple[str, int], set[Transaction]] = field(default_factory=dict)
    """By partition, the open transactions that may commit an offset."""

    def static(self, instance: str) -> Session | None:
        """Return the static member with this instance id (KIP-345)."""
        return next((one for one in self.members.values() if one.instance == instance), None)

    def enter(self, session: Session) -> None:
        """Add a member. A returning static member takes its old place without a rebalance."""
        if any(one.topic != session.topic for one in self.members.values()):
            raise ValueError(
                f"group {self.name} already consumes another topic; an in-memory group can consume only one"
            )
        old = self.static(session.instance) if session.instance else None
        if old is None:
            self.members[session.member_id] = session
            self.ask(session, ())
            return
        # Keep the order of members, which decides the assignment.
        self.members = {
            (session if one is old else one).member_id: session if one is old else one
            for one in self.members.values()
        }
        session.assigned = old.assigned
        if self.rebalancing:
            self.ask(session, ())

    def ask(self, session: Session, claims: Collection[int]) -> None:
        """Register a join request for the next generation, with the member's current partitions."""
        self._begin()
        session.joined, session.claims = True, frozenset(claims)

    def remove(self, member_id: str) -> None:
        """Remove a member that left, or whose session timed out."""
        del self.members[member_id]
        if self.members:
            self._begin()
        else:
            self.rebalancing = False
            self.generation += 1

    def expire(self, now_ms: int) -> None:
        """Remove every expired member."""
        for one in [one for one in self.members.values() if one.expired(now_ms)]:
            self.remove(one.member_id)

    def make(self, partitions: int) -> None:
        """Start the next generation if every member has requested to join it."""
        if not self.rebalancing or not all(one.joined for one in self.members.values()):
            return
        self.generation += 1
        self.rebalancing = False
        self.partitions = partitions
        for one, shares in _shared(list(self.members.values()), partitions).items():
            one.joined, one.assigned = False, frozenset(shares)

    def check(self, metadata: Any) -> None:
        """Raise an error unless a transaction may commit offsets under `metadata` (KIP-447).

        A negative generation without a member id is not checked, because old clients send no generation.
        """
        if isinstance(metadata, str) or (metadata.generation_id < 0 and not self.members):
            return
        if metadata.generation_id < 0 and not metadata.member_id and metadata.group_instance_id is None:
            return
        if metadata.group_instance_id is not None:
            known = self.static(metadata.group_instance_id)
            if known is not None and known.member_id != metadata.member_id:
                raise kafka_errors.FencedInstanceIdError
        if metadata.member_id not in self.members:
            raise kafka_errors.UnknownMemberIdError
        if metadata.generation_id != self.generation:
            raise kafka_errors.IllegalGenerationError

    def _begin(self) -> None:
        if not self.rebalancing:
            self.rebalancing = True
            for one in self.members.values():
                one.joined = False


def _shared(members: list[Session], partitions: int) -> Mapping[Session, set[int]]:
    """Assign partitions evenly and with few moves, except partitions that another member still claims.

    A member that must give up partitions first revokes them and joins again; the next generation assigns
    these partitions to other members (KIP-429).
    """
    claimed = {partition: one for one in members for partition in one.claims if partition < partitions}
    owned = {one: sorted(p for p, owner in claimed.items() if owner is one) for one in members}
    each, more = divmod(partitions, len(members))
    ranked = sorted(members, key=lambda one: -len(owned[one]))
    quota = {one: each + (place < more) for place, one in enumerate(ranked)}
    shares = {one: set(owned[one][: quota[one]]) for one in members}
    taken = set().union(*shares.values())
    for partition in (p for p in range(partitions) if p not in taken):
        to = min(members, key=lambda one: len(shares[one]) - quota[one])
        shares[to].add(partition)
    return {one: {p for p in its if p not in claimed or claimed[p] is one} for one, its in shares.items()}
