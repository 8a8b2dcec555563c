"""A membership in a consumer group over kafka-python: cooperative (KIP-429), static if asked (KIP-345).

Two rules hold the exactly-once guarantee here.

a. *Fencing is only as good as the generation sent.* A member that was thrown out reports generation -1,
   which the broker does not check: its commit would pass. So a commit goes under the newest generation that
   was seen while the member id was the same. Rejected: the generation of the last poll. A commit in the
   midst of a cooperative rebalance is then refused, and all its work is done twice.
b. *Revoked partitions are committed inside the rebalance listener*, before the group moves on. Rejected:
   after `poll` returns, when the next owner may have begun. *Lost* partitions are only noted, as that call
   may come at any time and from another thread.

kafka-python 3.0.12 has bugs; a comment at each workaround describes its bug. `make chaos` found two
of them, held by `tests/broker/test_join.py`: a member that learns only from the answer to its join that it
was thrown out, and records that were fetched of a partition before it was paused.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from contextlib import closing
from typing import Any

from kafka import ConsumerRebalanceListener
from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor

from worker.errors import NextclickError
from worker.kafka.admin import KafkaAdmin
from worker.kafka.client import METADATA_MAX_AGE_MS, Endpoint
from worker.kafka.interface import ANSWER_MS, FETCH_MAX_WAIT_MS, MAX_BATCH, Record, TopicPartition


class KafkaGroupMember:
    """As `worker.kafka.interface.GroupMember`."""

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        topic: str,
        group: str,
        client_id: str,
        session_timeout_ms: int,
        heartbeat_interval_ms: int,
        fetch_max_wait_ms: int = FETCH_MAX_WAIT_MS,
        static_member: str | None,
    ) -> None:
        self._endpoint = endpoint
        self.topic = topic
        self._group = group
        self._client: Any = None
        self._held: set[TopicPartition] = set()
        """The partitions that are not read: their positions mean nothing."""
        self._assignor = _Assignor(self._claimed)
        self._replaces = static_member is not None
        """Whether it may have replaced a member that ended, and has not looked what that one left behind."""
        self._client_id = client_id
        self._settings: dict[str, Any] = {
            "group_instance_id": static_member,
            "session_timeout_ms": session_timeout_ms,
            "heartbeat_interval_ms": heartbeat_interval_ms,
            "fetch_max_wait_ms": fetch_max_wait_ms,
            "metadata_max_age_ms": METADATA_MAX_AGE_MS,
        }

    def join(self, on_revoked: Callable[[Collection[int]], None]) -> None:
        """Connect and subscribe. Raises KafkaAway, NotAllowed.

        Assigned partitions are not read before `begin` says from where.

        `on_revoked` is called with the partitions that are about to go, inside `poll`, on the client's
        thread, before the group moves on (rule b): it must commit what is pending.
        """
        with self._endpoint.errors("join the consumer group"):
            self._client = self._endpoint.consumer(
                self._client_id,
                group=self._group,
                partition_assignment_strategy=[self._assignor],
                **self._settings,
            )
        self._listener = _Listener(on_revoked, self._hold)
        self._client.subscribe([self.topic], listener=self._listener)
        self._metadata = self._client.group_metadata()

    @property
    def joined(self) -> bool:
        """Whether this member knows its partitions; it may have none."""
        return self._client.group_metadata().generation_id >= 0 and not self._joining

    @property
    def _joining(self) -> bool:
        return self._client._coordinator._join_task is not None  # noqa: SLF001  # there is no public way

    @property
    def metadata(self) -> Any:
        """The group metadata to commit under: stale, and so refused, after this member was thrown out.

        Rule a: after being thrown out the client reports a negative generation, which the broker
        does not check, and after joining again one that is not ours to use for what came before.
        While the member id is the same we never left. Then the newest generation is right; during a
        rebalance the broker takes no other.
        """
        fresh = self._client.group_metadata()
        if fresh.generation_id >= 0 and fresh.member_id == self._metadata.member_id:
            self._metadata = fresh
        return self._metadata

    def poll(self, timeout_ms: int, at_most: int = MAX_BATCH) -> list[Record]:
        """Return the next records, those of one partition together and in order; none after `timeout_ms`."""
        if self._replaces and self.joined:
            self._replaces = False
            if self._left_behind():
                self._assignor.ask_for_a_rebalance()
                self._client._coordinator.request_rejoin()  # noqa: SLF001  # there is no public way
        with self._endpoint.errors("poll"):
            polled = self._client.poll(timeout_ms=timeout_ms, max_records=at_most)
        self._keep_joining()
        metadata = self._client.group_metadata()
        if metadata.generation_id >= 0:
            self._metadata = metadata
        return [record for records in polled.values() for record in records]

    def _left_behind(self) -> bool:
        """Return whether there are partitions that nobody has; True if the broker does not say.

        A member that gives some up asks for the rebalance in which others get them (KIP-429). A static member
        that ends in between is replaced without one (KIP-345): nobody asks before a member comes or goes.
        """
        try:
            with closing(KafkaAdmin(self._endpoint)) as kafka:
                partitions = kafka.describe([self.topic])[self.topic].partitions
                members = kafka.members(self._group, topic=self.topic)
        except NextclickError:
            return True
        return len({number for member in members for number in member.partitions}) < partitions

    def _keep_joining(self) -> None:
        """Let the next poll finish a join that this one began.

        kafka-python 3.0.12 forgets a join that it began because the topic had changed, when `poll` ends
        before the join does: heartbeats stay off, and nothing is assigned any more.
        """
        if self._joining:
            self._client._coordinator.request_rejoin()  # noqa: SLF001  # there is no public way

    def assigned(self) -> set[int]:
        """Return the partitions that the group gave this member."""
        return {partition.partition for partition in self._assignment()}

    def _assignment(self) -> set[TopicPartition]:
        return self._client.assignment() if self._client else set()

    def _claimed(self) -> set[TopicPartition]:
        """Return the partitions to claim with a join: none after this member was thrown out.

        Runs on the client's thread. kafka-python 3.0.12 notices a loss before it asks to join, not where the
        answer says so: it would ask again as a new member, claim what it lost, and read on where others have
        been.
        """
        claimed, coordinator = self._assignment(), self._client and self._client._coordinator  # noqa: SLF001  # there is no public way
        if claimed and coordinator._generation.is_lost():  # noqa: SLF001  # ditto
            self._listener.on_partitions_lost(claimed)
            coordinator._subscription.assign_from_subscribed([])  # noqa: SLF001  # ditto
            return set()
        return claimed

    @property
    def lost(self) -> bool:
        """Whether partitions were lost, without a chance to commit, since `take_lost` was last called."""
        return bool(self._listener.lost)

    def take_lost(self) -> set[int]:
        """Return the partitions that were lost since the last call."""
        lost, self._listener.lost = self._listener.lost, set()
        return lost

    def hold(self, partitions: Collection[int]) -> None:
        """Read no more of some assigned partitions before `begin`."""
        self._hold(at for at in self._assignment() if at.partition in partitions)

    def begin(self, partition: int, offset: int) -> None:
        """Read an assigned partition from `offset` on; from its first record where that is gone."""
        at = TopicPartition(self.topic, partition)
        if at in self._assignment():
            self._client.seek(at, offset)
            # kafka-python 3.0.12 puts aside what it had read of a paused partition, and reads no more of it
            # while that is there. It takes it back only if nothing else was ever in line, so perhaps never.
            for aside in self._aside():
                aside.pop(at, None)
            self._client.resume(at)
            self._held.discard(at)

    def _aside(self) -> tuple[dict[TopicPartition, Any], ...]:
        fetcher = self._client._fetcher  # noqa: SLF001  # there is no public way
        return fetcher._paused_partition_records, fetcher._paused_completed_fetches  # noqa: SLF001  # ditto

    def position(self, partition: int) -> int:
        """Return the next offset of an assigned partition; 0 if it is not known."""
        at = TopicPartition(self.topic, partition)
        if at not in self._assignment():
            return 0
        with self._endpoint.errors("ask for the position"):
            return self._client.position(at, timeout_ms=0) or 0

    def _hold(self, partitions: Iterable[TopicPartition]) -> None:
        for at in partitions:
            # With a position of its own the client does not wait for the committed offset, which may not be
            # stable for as long as the predecessor's transaction is open.
            self._held.add(at)
            self._client.seek(at, 0)
            self._client.pause(at)

    def lag(self) -> dict[int, int]:
        """Return how many records of each partition that is read are still to be read. Raises KafkaAway.

        The broker is asked, so an outage shows here even when there is nothing else to do.
        """
        assigned = self._client.assignment()
        read = assigned - self._held
        with self._endpoint.errors("ask for the end of the clicks"):
            ends = self._client.end_offsets(assigned, timeout_ms=ANSWER_MS)
            begins = self._client.beginning_offsets(read, timeout_ms=ANSWER_MS) if read else {}
            positions = {at: self._client.position(at, timeout_ms=0) for at in read}
        # Until the next fetch a position may be of a record that was deleted.
        return {
            at.partition: max(0, ends[at] - max(position, begins[at]))
            for at, position in positions.items()
            if position is not None
        }

    def close(self, *, seconds: float) -> None:
        """Leave the group, so that others take over at once; does nothing before `join`."""
        if self._client is not None:
            with self._endpoint.errors("leave the consumer group"):
                self._client.close(autocommit=False, timeout_ms=int(seconds * 1000))


class _Assignor(CooperativeStickyAssignor):  # type: ignore[misc]  # kafka-python has no types
    """Claims the partitions that this member has, and no others.

    kafka-python 3.0.12 claims what the group gave last, also after it was lost: the leader then holds
    such partitions back until the claimant gives them up, which it never does, and nobody gets them.
    """

    def __init__(self, claimed: Callable[[], Collection[TopicPartition]]) -> None:
        super().__init__()
        self._claimed = claimed
        self._said = b""

    def ask_for_a_rebalance(self) -> None:
        """Say something new with the next join: then the group begins a rebalance."""
        self._said += b"."

    def metadata(self, topics: Collection[str]) -> Any:
        """Return the data on this member in a join request (KIP-429)."""
        self.member_assignment = self._claimed()
        said = super().metadata(topics)
        said.user_data = self._said
        return said


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]  # kafka-python has no types
    """Holds what is assigned, passes on what is revoked and notes what is lost."""

    def __init__(
        self,
        on_revoked: Callable[[Collection[int]], None],
        hold: Callable[[Iterable[TopicPartition]], None],
    ) -> None:
        self._on_revoked = on_revoked
        self._hold = hold
        self.lost: set[int] = set()

    def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        self._hold(assigned)

    def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        self._on_revoked({partition.partition for partition in revoked})

    def on_partitions_lost(self, lost: Iterable[TopicPartition]) -> None:
        # May come at any time, from another thread: only note it.
        self.lost = self.lost | {partition.partition for partition in lost}
