"""A group of workers under whatever may happen to them: a state machine on the Kafka in memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from functools import cache
from typing import Final, Literal, NamedTuple

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from structlog.testing import capture_logs

from tests.builders import ITEMS, tiny_release_parts
from tests.examples import examples
from tests.oracle import Owner, PlacedClick
from tests.records import Record
from tests.verdict import Input, Verdict, judge_answers, judge_letters, judge_states
from tests.worker.desk import ROUND_SECONDS, Desk, records
from worker.core import blocks
from worker.core.manifest import Manifest
from worker.core.release import verify
from worker.errors import SharedIdentity
from worker.kafka.memory import Crashed
from worker.topics.states import FORGET, parse_forget

WORKERS: Final = ("a", "b", "c")
USERS: Final = "abcde"
PARTITIONS: Final = 2
MOST_PARTITIONS: Final = 4
FLUSH_SECONDS: Final = 2.0
FLUSH_ROUNDS: Final = int(FLUSH_SECONDS / ROUND_SECONDS) + 5
BAD: Final = (None, b"", b"garbage", b'{"user_id": "a"}')

which = st.integers(0, 2)
few = st.integers(0, 8)
skips = st.sampled_from([0, 1, 2, 3, 5, 8])
calls = st.sampled_from(["send", "send", "commit", "end", "poll", "renew"])
Call = Literal["send", "commit", "end", "poll", "renew"]


@cache
def release(seed: int) -> tuple[Manifest, bytes]:
    """Manifest and blob of the release of a seed."""
    return tiny_release_parts(seed=seed)


class FleetDesk(Desk):
    """Workers that somebody starts again when they end because a frozen one shared their identity."""

    def round(self, worker_id: str) -> None:
        """Let one worker go round once."""
        try:
            super().round(worker_id)
        except SharedIdentity:
            self.kill(worker_id)
            self.start(worker_id)


class Fleet(RuleBasedStateMachine):
    """Up to three workers, and all that a broker, an orchestrator and users do to them."""

    def __init__(self) -> None:
        super().__init__()
        self.life = ExitStack()
        self.life.enter_context(capture_logs())
        self.rows, blocks.MAX_ROWS = blocks.MAX_ROWS, 2  # type: ignore[misc]  # a constant for all but this
        self.desk = FleetDesk(
            partitions=PARTITIONS,
            release=release(0),
            commit_interval=0.5,
            state={"flush_interval": FLUSH_SECONDS},
        )
        self.sent = 0
        """How many records were sent to the clicks."""
        self.releases = [0]
        self.deleted_records: list[Record] = []
        self.void: dict[Owner, int] = {}
        """The offset below which no click of a user counts: it was asked so, and a worker heard of it."""

    @initialize(first=st.sampled_from(["a", "ab"]))
    def begin(self, first: str) -> None:
        """Let some workers serve."""
        for name in first:
            self.desk.start(name)
            self.go(7)

    # What goes on all the time

    def go(self, rounds: int, only: str = "", *, per_round: int = 2) -> None:
        """Let all workers go round, or one of them; users click meanwhile, and some records are no clicks."""
        for _ in range(rounds):
            for _ in range(per_round):
                self.send_next()
            self.desk.advance(ROUND_SECONDS)
            for name in [only] if only else [*self.desk.workers]:
                if name in self.desk.workers and name not in self.desk.frozen:
                    self.desk.round(name)

    def send_next(self) -> None:
        """Send the next record of a row that is always the same."""
        number, self.sent = self.sent, self.sent + 1
        # All are busy for a while; then one is for some transactions, and the others are quiet.
        spread = number // 80 if number // 40 % 2 else number * 5 // 3
        partition = spread % self.desk.partitions
        if number % 7 == 3:
            self.desk.send(BAD[number % len(BAD)], partition=partition)
        else:
            self.desk.click(USERS[number * 3 // 2 % len(USERS)], ITEMS[number % 9], partition=partition)

    @rule(rounds=st.integers(1, 15))
    def go_on(self, rounds: int) -> None:
        """Nothing happens."""
        self.go(rounds)

    @rule(which=which, rounds=st.integers(1, 10))
    def go_alone(self, which: int, rounds: int) -> None:
        """One goes on, and the others are slow."""
        self.go(rounds, only=self.running(which))

    @precondition(lambda self: self.running())
    @rule(which=which, skip=skips)
    def rest(self, which: int, skip: int) -> None:
        """Nobody clicks until all is flushed; a send of one flush fails."""
        connection = self.desk.workers[self.running(which)].connection
        self.desk.cluster.fail("send", skip=skip, connection=connection)
        self.go(FLUSH_ROUNDS, per_round=0)

    # What people do

    @rule(user=st.sampled_from(USERS), at=st.sampled_from([(0, 1), (0,), (1,)]), rounds=few)
    def forget(self, user: str, at: tuple[int, ...], rounds: int) -> None:
        """Somebody asks for the deletion of a user."""
        if not self.desk.away:
            self.desk.forget(user, at)
        self.go(rounds)

    @precondition(lambda self: len(self.releases) < 4 and not self.desk.away)
    @rule(seed=st.integers(1, 3), rounds=few)
    def publish(self, seed: int, rounds: int) -> None:
        """A trainer publishes other weights."""
        self.desk.publish(*release(seed))
        self.releases.append(seed)
        self.go(rounds)

    @precondition(lambda self: self.desk.partitions < MOST_PARTITIONS)
    @rule(rounds=few)
    def add_a_partition(self, rounds: int) -> None:
        """The clicks get one partition more."""
        self.desk.add_partitions(self.desk.partitions + 1)
        self.go(rounds)

    # What an orchestrator does

    @rule(rounds=few)
    def scale(self, rounds: int) -> None:
        """One more is started in the midst of the others' work; where all run, one is stopped."""
        self.go(1)
        absent = [name for name in WORKERS if name not in self.desk.workers]
        if absent:
            self.desk.start(absent[0])
        elif self.running():
            self.stop_one(self.running())
        self.go(2 + rounds)

    @precondition(lambda self: self.running())
    @rule(which=which, rounds=few)
    def stop(self, which: int, rounds: int) -> None:
        """One is stopped."""
        self.stop_one(self.running(which))
        self.go(rounds)

    def stop_one(self, name: str) -> None:
        """End a worker as SIGTERM does; a fault may strike its last checkpoint."""
        with suppress(Crashed):
            self.desk.stop(name)

    @precondition(lambda self: self.desk.workers)
    @rule(which=which, again=st.booleans(), rounds=few)
    def kill(self, which: int, again: bool, rounds: int) -> None:
        """One is killed, and perhaps started again."""
        name = [*self.desk.workers][which % len(self.desk.workers)]
        self.desk.kill(name)
        if again:
            self.desk.start(name)
        self.go(rounds)

    # What machines do

    @precondition(lambda self: self.running())
    @rule(which=which, seconds=st.sampled_from([0, 1, 11]), rounds=few)
    def freeze(self, which: int, seconds: float, rounds: int) -> None:
        """One stands still while the others go on; it wakes after a rule `thaw`."""
        self.desk.freeze(self.running(which))
        self.desk.advance(seconds)
        self.go(rounds)

    @precondition(lambda self: self.desk.frozen)
    @rule(rounds=few)
    def thaw(self, rounds: int) -> None:
        """All that stand still wake, some of them no members any more."""
        self.desk.frozen.clear()
        self.go(rounds)

    @precondition(lambda self: self.running())
    @rule(which=which, call=calls, after=st.booleans(), skip=skips, rounds=few)
    def fail(self, which: int, call: Call, after: bool, skip: int, rounds: int) -> None:
        """A call of one of them fails; before it takes effect, or after."""
        connection = self.desk.workers[self.running(which)].connection
        after = after and call in {"send", "commit"}
        self.desk.cluster.fail(call, after=after, skip=skip, connection=connection)
        self.go(4 + rounds)

    @precondition(lambda self: self.running())
    @rule(which=which, call=calls, after=st.booleans(), skip=skips, rounds=few)
    def crash(self, which: int, call: Call, after: bool, skip: int, rounds: int) -> None:
        """A call is the last of one of them."""
        connection = self.desk.workers[self.running(which)].connection
        after = after and call in {"send", "commit"}
        self.desk.cluster.crash_at(call, after=after, skip=skip, connection=connection)
        self.go(4 + rounds)

    @rule(held=st.booleans(), rounds=few)
    def hold_marks(self, held: bool, rounds: int) -> None:
        """Commits are answered before they are visible, or no longer so."""
        (self.desk.cluster.hold_marks if held else self.desk.cluster.write_marks)()
        self.go(rounds)

    @rule(seconds=st.sampled_from([0.5, 5, 15]), rounds=few)
    def lose_the_cluster(self, seconds: float, rounds: int) -> None:
        """No broker answers for some seconds."""
        self.desk.down(seconds)
        self.go(rounds)

    @rule(seconds=st.sampled_from([1, 11, 400]))
    def wait(self, seconds: float) -> None:
        """Nobody goes round for some time."""
        self.desk.advance(seconds)

    @rule(partition=st.integers(0, MOST_PARTITIONS - 1))
    def delete_records(self, partition: int) -> None:
        """Retention deletes the clicks of which all is saved; superseded states are removed."""
        saved, topic = self.desk.saved().get(partition, 0), self.desk.topics.clicks
        there = records(self.desk.cluster.read(topic))
        self.deleted_records += [
            one for one in there if one.partition == partition and (one.offset or 0) < saved
        ]
        if saved:
            self.desk.cluster.delete_before(topic, partition, saved)
        self.note_deletions()
        self.desk.cluster.compact(self.desk.topics.state)

    # What is known

    def running(self, which: int = 0) -> str:
        """One of the workers that go round; empty where there is none."""
        names = [name for name in self.desk.workers if name not in self.desk.frozen]
        return names[which % len(names)] if names else ""

    def given(self) -> Input:
        """All records that ever stood in the clicks."""
        topic = self.desk.topics.clicks
        return Input.of(topic, [*self.deleted_records, *records(self.desk.cluster.read(topic))])

    def note_deletions(self) -> None:
        """Note the deletion requests as workers heard them, before compaction removes them."""
        for (partition, user), value in requests(self.desk):
            if value is not None and (heard := parse_forget(user, value)).heard:
                at = Owner(partition, user)
                self.void[at] = max(self.void.get(at, 0), heard.before)

    def requests_left(self) -> list[Owner]:
        """Whose deletion requests are not fulfilled yet."""
        latest = dict(requests(self.desk))
        return [at for at, value in latest.items() if value is not None]

    # What must hold

    @invariant()
    def no_offset_passes_what_was_answered(self) -> None:
        """Each record below a committed offset has its answer or its dead letter, and no more than one."""
        answers = [one.header("id").rsplit("/", 2)[1:] for one in records(self.desk.answers())]
        letters = [
            [one.header("nextclick.partition"), one.header("nextclick.offset")]
            for one in records(self.desk.letters())
        ]
        done = Counter((int(partition), int(offset)) for partition, offset in [*answers, *letters])
        committed = {
            (partition, offset)
            for partition, end in self.desk.committed().items()
            if self.all_is_visible(partition)
            for offset in range(end)
        }

        assert sorted(committed - done.keys()) == []
        assert [at for at, times in done.items() if times > 1] == []

    def all_is_visible(self, partition: int) -> bool:
        """Whether no open transaction hides from a committed reader what others committed after it."""
        topics = self.desk.topics
        logs = [self.desk.cluster.log(topics.recommendations, partition)]
        logs += [self.desk.cluster.log(topics.dead_letters)]
        return all(log.stable == log.end for log in logs)

    def teardown(self) -> None:
        """All faults end and the workers settle: it is as if nothing had happened to any of them."""
        try:
            self.end_faults()
            self.settle()
            for partition, user in sorted({owner(one) for one in self.given().clicks}):
                self.desk.click(user, partition=partition)
            self.settle()
            self.desk.until(lambda: not self.requests_left(), "all deletion requests to be fulfilled")
            for name in [*self.desk.workers]:
                self.desk.stop(name)
            self.judge()
        finally:
            self.life.close()
            blocks.MAX_ROWS = self.rows  # type: ignore[misc]  # see above

    def end_faults(self) -> None:
        """From now on nothing happens any more."""
        desk = self.desk
        desk.cluster.end_faults()
        desk.advance(20)
        desk.frozen.clear()
        if not desk.workers:
            desk.start("a")

    def settle(self) -> None:
        """All is answered under the newest release."""
        self.desk.settle()
        newest = len(self.releases)
        self.desk.until(
            lambda: {one.metric("nextclick_release") for one in self.desk.workers.values()} == {newest},
            "the newest release",
        )

    def judge(self) -> None:
        """Compare what a committed reader finds with one process that nothing happened to."""
        verdict, given, kept = Verdict(), self.given(), records(self.desk.states())
        judge_answers(verdict, given, records(self.desk.answers()))
        judge_letters(verdict, given, records(self.desk.letters()))
        self.note_deletions()
        left = [one for one in given.events if one.offset >= self.void.get(owner(one), 0)]
        newest = verify(*release(self.releases[-1]), number=len(self.releases))
        judge_states(verdict, replace(given, events=left), newest, kept)

        assert verdict.problems == []
        assert [copy for copy in copies(kept) if copy.offset < self.void.get(copy.owner, 0)] == []


class Copy(NamedTuple):
    """A state of a user in a block that counts."""

    owner: Owner
    offset: int


def owner(one: PlacedClick) -> Owner:
    """Whose click it is."""
    return Owner(one.partition, one.click.user_id)


def requests(desk: Desk) -> list[tuple[Owner, bytes | None]]:
    """The deletion requests in the state topic, in order, and their tombstones."""
    keys = [(one, (one.key or b"").decode()) for one in desk.states()]
    return [
        (Owner(one.partition, key.removeprefix(FORGET)), one.value)
        for one, key in keys
        if key.startswith(FORGET)
    ]


def copies(kept: Sequence[Record]) -> list[Copy]:
    """All states in blocks that count, newest or not."""
    latest = {(one.partition or 0, one.key or b""): one.value for one in kept}
    return [
        Copy(Owner(partition, user), offset)
        for (partition, key), value in latest.items()
        if value is not None and key.startswith(b"block/")
        for saved in [blocks.decode(value)]
        for user, offset in zip(saved.user_ids, saved.states.offset.tolist(), strict=True)
    ]


TestFleet = Fleet.TestCase
TestFleet.settings = examples(0.6, steps=0.6)
