"""Laws of the cluster in memory under random sequences: producers that crash, members that come and go."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from kafka import errors as kafka_errors

from tests.examples import examples
from worker.errors import CheckpointFailed
from worker.kafka.interface import Reader, Record, TopicPartition, Transactions
from worker.kafka.memory import MemoryCluster, MemoryConnection, MemoryGroupMember

PARTITIONS = 3
PRODUCERS = 3
TIMEOUT_SECONDS = 10

ATS = [TopicPartition("topic", number) for number in range(PARTITIONS)]
PRODUCER = st.integers(0, PRODUCERS - 1)
PARTITION = st.integers(0, PARTITIONS - 1)


@dataclass(eq=False)
class _Sent:
    """A transaction as the model has it."""

    began: float
    values: dict[int, list[bytes]] = field(default_factory=dict)
    state: str = "open"


class _Producers(RuleBasedStateMachine):
    """Several producers under ids of their own send, commit, abort, crash and are fenced.

    A reader of committed records gets those of committed transactions alone, in the order in which they were
    sent, and nothing beyond an open one; each transaction whole or not at all.
    """

    def __init__(self) -> None:
        super().__init__()
        self.cluster = MemoryCluster()
        self.cluster.create("topic", partitions=PARTITIONS)
        self.logs: list[list[tuple[bytes, _Sent]]] = [[] for _ in range(PARTITIONS)]
        """All that was sent, by partition."""
        self.open: list[_Sent | None] = [None] * PRODUCERS
        self.usable = [True] * PRODUCERS
        """Whether its last transaction did not run out of time."""
        self.offsets: dict[int, int] = {}
        self.sends = 0
        self.producers = [self._started(number) for number in range(PRODUCERS)]
        self.reader = self._reader(committed=True)
        self.read: list[list[Record]] = [[] for _ in range(PARTITIONS)]

    def _started(self, number: int) -> Transactions:
        producer = self.cluster.connect().transactions(f"id-{number}", timeout_ms=TIMEOUT_SECONDS * 1000)
        producer.renew()
        return producer

    def _reader(self, *, committed: bool) -> Reader:
        reader = self.cluster.connect().reader("law", committed=committed)
        reader.assign(ATS)
        return reader

    @rule(number=PRODUCER, partition=PARTITION)
    def send(self, number: int, partition: int) -> None:
        self.sends += 1
        value = b"%d" % self.sends
        if not self.usable[number]:
            return
        self.producers[number].send("topic", partition, key=None, value=value)
        sent = self.open[number] = self.open[number] or _Sent(self.cluster.steady())
        sent.values.setdefault(partition, []).append(value)
        self.logs[partition].append((value, sent))

    @rule(number=PRODUCER, offset=st.none() | st.integers(0, 99))
    def commit(self, number: int, offset: int | None) -> None:
        offsets = {} if offset is None else {number: offset}
        sent = self.open[number]
        try:
            self.producers[number].commit("topic", offsets, "group", seconds=1)
        except CheckpointFailed:
            assert not self.usable[number]

            self._renew(number)
            return

        assert self.usable[number] or not offsets

        self.offsets |= offsets
        self.open[number] = None
        if sent is not None:
            sent.state = "committed"

    @rule(number=PRODUCER)
    def renew(self, number: int) -> None:
        self._renew(number)

    @rule(number=PRODUCER)
    def crash_and_start_again(self, number: int) -> None:
        self.producers[number].drop()
        self.producers[number] = self._started(number)
        self._aborted(number)

    @rule(number=PRODUCER, after=st.booleans(), call=st.sampled_from(["end", "commit"]))
    def commit_without_an_answer(self, number: int, after: bool, call: str) -> None:
        sent, usable = self.open[number], self.usable[number]
        self.cluster.fail(call, after=after and call == "commit")  # type: ignore[arg-type]  # names of `Call`
        try:
            self.producers[number].commit("topic", {number: 7}, "group", seconds=1)
        except CheckpointFailed:
            pass
        else:
            raise AssertionError("it had to fail")
        if usable and after and call == "commit":
            self.offsets[number] = 7
            self.open[number] = None
            if sent is not None:
                sent.state = "committed"
        self.cluster._broker.faults.clear()
        self._renew(number)

    @rule(seconds=st.integers(1, TIMEOUT_SECONDS))
    def let_time_pass(self, seconds: int) -> None:
        self.cluster.advance(seconds)
        for number, sent in enumerate(self.open):
            if sent is not None and self.cluster.steady() - sent.began >= TIMEOUT_SECONDS:
                self._aborted(number)
                self.usable[number] = False

    @rule()
    def read_on(self) -> None:
        for at, records in self.reader.poll(0).items():
            self.read[at.partition] += records

    def _renew(self, number: int) -> None:
        self.producers[number].renew()
        self._aborted(number)

    def _aborted(self, number: int) -> None:
        sent, self.open[number] = self.open[number], None
        self.usable[number] = True
        if sent is not None:
            sent.state = "aborted"

    @invariant()
    def committed_records_are_seen_up_to_the_first_open_transaction(self) -> None:
        for partition, log in enumerate(self.logs):
            states = [sent.state for _, sent in log]
            stable = log[: states.index("open")] if "open" in states else log
            wanted = [value for value, sent in stable if sent.state == "committed"]
            seen = [r.value for r in self.cluster.read("topic") if r.partition == partition]

            assert seen == wanted
            assert [r.value for r in self.read[partition]] == wanted[: len(self.read[partition])]

    @invariant()
    def offsets_are_those_of_the_last_commit(self) -> None:
        assert self.cluster.committed("group", "topic") == self.offsets

    def teardown(self) -> None:
        """When nothing is open any more everybody has seen all that was committed, and nothing else."""
        for number in range(PRODUCERS):
            self._renew(number)
        self.read_on()
        self.committed_records_are_seen_up_to_the_first_open_transaction()
        ends = [self.cluster.log("topic", number).end for number in range(PARTITIONS)]
        for reader in (self.reader, self._reader(committed=False)):
            while reader.poll(0):
                pass

            assert [reader.position(at) for at in ATS] == ends


class _Members(RuleBasedStateMachine):
    """Members join, poll, leave, freeze, die and come back; partitions are added.

    No partition has two owners whose commits would be taken, and once all poll each has exactly one.
    """

    def __init__(self) -> None:
        super().__init__()
        self.cluster = MemoryCluster()
        self.cluster.create("topic", partitions=PARTITIONS)
        self.members: list[MemoryGroupMember] = []
        self.connections: list[MemoryConnection] = []

    @precondition(lambda self: len(self.members) < 4)
    @rule(static=st.none() | st.sampled_from(["a", "b"]))
    def join(self, static: str | None) -> None:
        connection = self.cluster.connect()
        member = connection.member(
            topic="topic",
            group="group",
            client_id="client",
            session_timeout_ms=6_000,
            heartbeat_interval_ms=1_000,
            static_member=static,
        )
        member.join(lambda partitions: self._revoked(member, set(partitions)))
        self.members.append(member)
        self.connections.append(connection)

    def _revoked(self, member: MemoryGroupMember, partitions: set[int]) -> None:
        # Its commit must be taken: nobody else has them before.
        if self._takes(member):
            for other in self.members:
                if other is not member and self._takes(other):
                    assert partitions.isdisjoint(other.assigned())

    @precondition(lambda self: self.members)
    @rule(data=st.data())
    def poll(self, data: st.DataObject) -> None:
        member = data.draw(st.sampled_from(self.members))
        had = member.assigned() if member.session is None and not self._shadowed(member) else set()
        member.poll(0)

        assert member.take_lost() == had

    @precondition(lambda self: self.members)
    @rule(data=st.data())
    def freeze(self, data: st.DataObject) -> None:
        self.cluster.freeze(data.draw(st.sampled_from(self.members)))

    @precondition(lambda self: self.members)
    @rule(data=st.data(), politely=st.booleans())
    def end(self, data: st.DataObject, politely: bool) -> None:
        number = data.draw(st.integers(0, len(self.members) - 1))
        member, connection = self.members.pop(number), self.connections.pop(number)
        if politely:
            member.close(seconds=1)
        else:
            self.cluster.crash(connection)

    @rule(seconds=st.integers(1, 6))
    def let_time_pass(self, seconds: int) -> None:
        self.cluster.advance(seconds)

    @precondition(lambda self: self.cluster._broker.partitions("topic") < 6)
    @rule()
    def add_a_partition(self) -> None:
        self.cluster.add_partitions("topic", self.cluster._broker.partitions("topic") + 1)

    def _takes(self, member: MemoryGroupMember) -> bool:
        """Whether the group would take what a member commits now."""
        try:
            self.cluster._broker.group("group").check(member.metadata)
        except kafka_errors.KafkaError:
            return False
        return member.joined

    @invariant()
    def no_partition_has_two_owners_that_may_commit(self) -> None:
        heard = [member for member in self.members if self._takes(member)]
        owned = [partition for member in heard for partition in member.assigned()]

        assert len(owned) == len(set(owned))

    def teardown(self) -> None:
        """Once the dead are gone and all poll, the partitions are shared evenly."""
        self.cluster.advance(6)
        for _ in range(8):
            for member in self.members:
                member.poll(0)
        live = [member for member in self.members if not self._shadowed(member)]
        if not live:
            return
        shares = [member.assigned() for member in live]
        partitions = self.cluster._broker.partitions("topic")

        assert sorted(number for share in shares for number in share) == list(range(partitions))
        assert max(map(len, shares)) - min(map(len, shares)) <= 1
        assert all(member.joined for member in live)

    def _shadowed(self, member: MemoryGroupMember) -> bool:
        """Whether another member is in its place under the same name."""
        static = member._static
        if static is None:
            return False
        known = self.cluster._broker.group("group").static(static)
        return known is not None and known.member_id != member._member_id


TestProducers = _Producers.TestCase
TestMembers = _Members.TestCase
TestProducers.settings = TestMembers.settings = examples()
