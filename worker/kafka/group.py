"""A consumer group member over kafka-python: cooperative (KIP-429), optionally static (KIP-345).

Two rules in this module are needed for exactly-once processing.

a. *Fencing depends on the generation that is sent.* A member that was removed from the group reports
   generation -1, which the broker does not check: its commit would succeed. So a commit uses the newest
   generation seen under the same member id. Rejected: the generation of the last poll, because a commit
   during a cooperative rebalance is then refused, and its work is repeated.
b. *Revoked partitions are committed inside the rebalance listener*, before the group reassigns them.
   Rejected: a commit after `poll` returns, when the next owner may have started. *Lost* partitions are only
   recorded, because the client may report them at any time and from another thread.

kafka-python 3.0.12 has bugs; a comment at each workaround describes the bug. `make chaos` found two of them,
which `tests/broker/test_join.py` covers. First, a member may learn only from the response to its join request
that it was removed. Second, a partition that was paused while fetched records were waiting may never be read
again.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import closing, suppress
from typing import Any

from kafka import ConsumerRebalanceListener
from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor

from worker.errors import NextclickError
from worker.kafka.admin import KafkaAdmin
from worker.kafka.client import METADATA_MAX_AGE_MS, Endpoint
from worker.kafka.fetcher import Woken, wake
from worker.kafka.interface import (
    ANSWER_MS,
    FETCH_MAX_WAIT_MS,
    MAX_BATCH,
    Backlog,
    Record,
    TopicPartition,
)


class KafkaGroupMember:
    """Implements `worker.kafka.interface.GroupMember`."""

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
        address: str = "",
    ) -> None:
        self._endpoint = endpoint
        self.topic = topic
        self._group = group
        self._client: Any = None
        self._held: set[TopicPartition] = set()
        """The partitions on hold: they are not read, and their positions in the client are meaningless."""
        self._assignor = _Assignor(self._claimed, address)
        self._replaces = static_member is not None
        """Whether to check for unassigned partitions, as this member may have replaced a static member."""
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

        An assigned partition is read only after `begin` sets its offset.

        `on_revoked` is called with the partitions that are being revoked, inside `poll`, on the client's
        thread, before the group reassigns them (rule b). It must commit pending work.
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
        """Whether this member has received its assignment, which may be empty."""
        return self._client.group_metadata().generation_id >= 0 and not self._joining

    @property
    def _joining(self) -> bool:
        return self._client._coordinator._join_task is not None  # noqa: SLF001  # there is no public way

    @property
    def ids(self) -> frozenset[str]:
        """The ids that the group may know this member by: while it joins again, an old and a new one."""
        return frozenset([self._metadata.member_id, self._client.group_metadata().member_id])

    @property
    def metadata(self) -> Any:
        """The group metadata for commits; after the group has removed this member, commits are refused.

        Rule a: after a removal, the client reports a negative generation, which the broker does not check.
        After the member has joined again, the client reports a new member id and generation, under which
        earlier work must not be committed. So the metadata changes only while the member id stays the same;
        then the newest generation is correct, and the only one that the broker accepts in a rebalance.
        """
        fresh = self._client.group_metadata()
        if fresh.generation_id >= 0 and fresh.member_id == self._metadata.member_id:
            self._metadata = fresh
        return self._metadata

    def poll(self, timeout_ms: int, at_most: int = MAX_BATCH) -> list[Record]:
        """Return the next records, grouped by partition and in order within each.

        The list is empty if none arrive within `timeout_ms`, or before `wake`.
        """
        if self._replaces and self.joined:
            self._replaces = False
            if self._left_behind():
                self._assignor.ask_for_a_rebalance()
                self._client._coordinator.request_rejoin()  # noqa: SLF001  # there is no public way
        polled: Mapping[TopicPartition, Sequence[Record]] = {}
        with self._endpoint.errors("poll"), suppress(Woken):
            polled = self._client.poll(timeout_ms=timeout_ms, max_records=at_most)
        self._keep_joining()
        metadata = self._client.group_metadata()
        if metadata.generation_id >= 0:
            self._metadata = metadata
        return [record for records in polled.values() for record in records]

    def wake(self) -> None:
        """End the wait of `poll`, or of the next one. May be called by any thread, at any time."""
        if self._client is not None:
            wake(self._client)

    def _left_behind(self) -> bool:
        """Return whether some partitions are unassigned, or True if the broker does not answer.

        After revoking partitions, a member requests the rebalance that reassigns them (KIP-429). If a static
        member ends before that, its replacement causes no rebalance (KIP-345), so nobody gets the partitions.
        """
        try:
            with closing(KafkaAdmin(self._endpoint)) as kafka:
                partitions = kafka.describe([self.topic])[self.topic].partitions
                members = kafka.members(self._group, topic=self.topic)
        except NextclickError:
            return True
        return len({number for member in members for number in member.partitions}) < partitions

    def _keep_joining(self) -> None:
        """Make the next poll finish a join that this poll started but did not finish.

        If `poll` ends during a join that a changed topic has caused, kafka-python 3.0.12 never finishes the
        join: heartbeats stay off, and no partitions are assigned any more.
        """
        if self._joining:
            self._client._coordinator.request_rejoin()  # noqa: SLF001  # there is no public way

    def assigned(self) -> set[int]:
        """Return the partitions that the group assigned to this member."""
        return {partition.partition for partition in self._assignment()}

    def _assignment(self) -> set[TopicPartition]:
        return self._client.assignment() if self._client else set()

    def _claimed(self) -> set[TopicPartition]:
        """Return the partitions to claim in a join request: none after this member was removed.

        Runs on the client's thread. kafka-python 3.0.12 does not notice the removal in the response to a join
        request: it would join again as a new member, claim its lost partitions, and continue at its old
        positions.
        """
        claimed, coordinator = self._assignment(), self._client and self._client._coordinator  # noqa: SLF001  # there is no public way
        if claimed and coordinator._generation.is_lost():  # noqa: SLF001  # ditto
            self._listener.on_partitions_lost(claimed)
            coordinator._subscription.assign_from_subscribed([])  # noqa: SLF001  # ditto
            return set()
        return claimed

    @property
    def lost(self) -> bool:
        """Whether, since the last `take_lost`, partitions were lost without a chance to commit their work."""
        return bool(self._listener.lost)

    def take_lost(self) -> set[int]:
        """Return and clear the partitions that were lost since the last call."""
        lost, self._listener.lost = self._listener.lost, set()
        return lost

    def hold(self, partitions: Collection[int]) -> None:
        """Stop reading some assigned partitions until `begin`."""
        self._hold(at for at in self._assignment() if at.partition in partitions)

    def begin(self, partition: int, offset: int) -> None:
        """Read an assigned partition from `offset`, or from its first record if the offset was deleted."""
        at = TopicPartition(self.topic, partition)
        if at in self._assignment():
            self._client.seek(at, offset)
            # kafka-python 3.0.12 sets aside fetched records of a paused partition, and fetches no more while
            # they exist. It takes them back only if no other records were ever queued, so perhaps never.
            for aside in self._aside():
                aside.pop(at, None)
            self._client.resume(at)
            self._held.discard(at)

    def _aside(self) -> tuple[dict[TopicPartition, Any], ...]:
        fetcher = self._client._fetcher  # noqa: SLF001  # there is no public way
        return fetcher._paused_partition_records, fetcher._paused_completed_fetches  # noqa: SLF001  # ditto

    def position(self, partition: int) -> int:
        """Return the next offset to read in an assigned partition; 0 if unknown."""
        at = TopicPartition(self.topic, partition)
        if at not in self._assignment():
            return 0
        with self._endpoint.errors("ask for the position"):
            return self._client.position(at, timeout_ms=0) or 0

    def _hold(self, partitions: Iterable[TopicPartition]) -> None:
        for at in partitions:
            # With an explicit position, the client does not wait for the committed offset, which is unstable
            # while the predecessor's transaction is open.
            self._held.add(at)
            self._client.seek(at, 0)
            self._client.pause(at)

    def backlogs(self) -> dict[int, Backlog]:
        """Return the unread records of each partition that is being read. Raises KafkaAway.

        This asks the broker, so it detects an outage even while the worker is idle.
        """
        assigned = self._client.assignment()
        read = assigned - self._held
        with self._endpoint.errors("ask for the end of the clicks"):
            ends = self._client.end_offsets(assigned, timeout_ms=ANSWER_MS)
            begins = self._client.beginning_offsets(read, timeout_ms=ANSWER_MS) if read else {}
            positions = {at: self._client.position(at, timeout_ms=0) for at in read}
        # Until the next fetch, a position may be that of a deleted record.
        return {
            at.partition: Backlog(max(0, ends[at] - max(position, begins[at])), ends[at])
            for at, position in positions.items()
            if position is not None
        }

    def close(self, *, seconds: float) -> None:
        """Leave the group, so that other members take over the partitions. Does nothing before `join`."""
        if self._client is not None:
            with self._endpoint.errors("leave the consumer group"):
                self._client.close(autocommit=False, timeout_ms=int(seconds * 1000))


class _Assignor(CooperativeStickyAssignor):  # type: ignore[misc]  # kafka-python has no types
    """An assignor that claims exactly the partitions that this member has.

    kafka-python 3.0.12 claims its last assignment even after losing it. The leader then waits for the member
    to revoke these partitions, which it never does, so nobody gets them.
    """

    def __init__(self, claimed: Callable[[], Collection[TopicPartition]], address: str) -> None:
        super().__init__()
        self._claimed = claimed
        self._said = address.encode()

    def ask_for_a_rebalance(self) -> None:
        """Change the data of the next join request, so that the group starts a rebalance."""
        self._said += b" "

    def metadata(self, topics: Collection[str]) -> Any:
        """Return this member's data for a join request (KIP-429)."""
        self.member_assignment = self._claimed()
        said = super().metadata(topics)
        said.user_data = self._said
        return said


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]  # kafka-python has no types
    """A rebalance listener: holds assigned partitions, reports revoked ones, and records lost ones."""

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
        # May be called at any time from another thread, so only record the loss.
        self.lost = self.lost | {partition.partition for partition in lost}
