"""A group of workers under whatever may happen to them: a state machine on the Kafka in memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from functools import cache
from typing import Final, Literal, NamedTuple

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from structlog.testing import capture_logs

from tests.builders import ITEMS, tiny_release_parts
from tests.oracle import Owner, PlacedClick
from tests.records import Record
from tests.verdict import Input, Verdict, judge_answers, judge_letters, judge_states
from tests.worker.desk import Desk, records
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
BAD: Final = (None, b"", b"garbage", b'{"user_id": "a"}')

names = st.sampled_from(WORKERS)
partitions = st.integers(0, MOST_PARTITIONS - 1)
clicks = st.tuples(partitions, st.sampled_from(USERS), st.sampled_from([*ITEMS[:6], "unknown"]))
calls = st.sampled_from(["send", "commit", "commit", "commit", "poll", "renew"])
Call = Literal["send", "commit", "poll", "renew"]


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
        self.desk = FleetDesk(partitions=PARTITIONS, release=release(0))
        self.releases = [0]
        self.deleted_records: list[Record] = []
        self.void: dict[Owner, int] = {}
        """The offset below which no click of a user counts: it was asked so, and a worker heard of it."""

    @initialize(first=st.sampled_from([("a",), ("a", "b"), ()]))
    def begin(self, first: tuple[str, ...]) -> None:
        """Let some workers serve."""
        for name in first:
            self.desk.start(name)
        self.desk.step(5)

    # What comes in

    @rule(its=st.lists(clicks, min_size=1, max_size=6), rounds=st.integers(0, 2))
    def click(self, its: list[tuple[int, str, str]], rounds: int) -> None:
        """Users click; the workers may go on."""
        for partition, user, item in its:
            self.desk.click(user, item, partition=partition % self.desk.partitions)
        self.desk.step(rounds)

    @rule(partition=partitions, value=st.sampled_from(BAD))
    def send_garbage(self, partition: int, value: bytes | None) -> None:
        """Somebody sends what is no click."""
        self.desk.send(value, partition=partition % self.desk.partitions)

    @rule(user=st.sampled_from(USERS), at=st.sampled_from([(0, 1), (0,), (1,)]))
    def forget(self, user: str, at: tuple[int, ...]) -> None:
        """Somebody asks for the deletion of a user."""
        if not self.desk.away:
            self.desk.forget(user, at)

    @precondition(lambda self: len(self.releases) < 4 and not self.desk.away)
    @rule(seed=st.integers(1, 3))
    def publish(self, seed: int) -> None:
        """A trainer publishes other weights."""
        self.desk.publish(*release(seed))
        self.releases.append(seed)

    # What workers do

    @rule(rounds=st.integers(1, 8))
    def step(self, rounds: int) -> None:
        """All go on."""
        self.desk.step(rounds)

    @rule(name=names, rounds=st.integers(1, 8))
    def step_one(self, name: str, rounds: int) -> None:
        """One goes on, also one that is slow to be served."""
        for _ in range(rounds):
            if name in self.desk.workers and name not in self.desk.frozen:
                self.desk.advance(0.05)
                self.desk.round(name)

    @rule(name=names)
    def start(self, name: str) -> None:
        """One is started."""
        if name not in self.desk.workers:
            try:
                self.desk.start(name)
            except Crashed:
                del self.desk.workers[name]

    @rule(name=names)
    def stop(self, name: str) -> None:
        """One is stopped."""
        if name in self.desk.workers and name not in self.desk.frozen:
            with suppress(Crashed):
                self.desk.stop(name)

    # What happens to them

    @rule(name=names, again=st.booleans())
    def kill(self, name: str, again: bool) -> None:
        """One is killed, and perhaps started again."""
        if name in self.desk.workers:
            self.desk.kill(name)
            if again:
                self.start(name)

    @rule(name=names)
    def freeze_or_thaw(self, name: str) -> None:
        """One stands still, or wakes."""
        if name in self.desk.frozen:
            self.desk.thaw(name)
        elif name in self.desk.workers:
            self.desk.freeze(name)

    @rule(name=names, call=calls, after=st.booleans(), skip=st.integers(0, 3), crash=st.booleans())
    def fail(self, name: str, call: Call, after: bool, skip: int, crash: bool) -> None:
        """A call of one of them fails, or is its last; before it takes effect, or after."""
        if name in self.desk.workers:
            connection = self.desk.workers[name].connection
            strike = self.desk.cluster.crash_at if crash else self.desk.cluster.fail
            strike(call, after=after, skip=skip, connection=connection)

    @rule(seconds=st.sampled_from([0.5, 5, 15]))
    def lose_the_cluster(self, seconds: float) -> None:
        """No broker answers for some seconds."""
        self.desk.down(seconds)

    @rule(held=st.booleans())
    def hold_marks(self, held: bool) -> None:
        """Commits are answered before they are visible, or no longer so."""
        (self.desk.cluster.hold_marks if held else self.desk.cluster.write_marks)()

    @rule(seconds=st.sampled_from([1, 4, 11, 400]))
    def wait(self, seconds: float) -> None:
        """Nobody goes round for some time."""
        self.desk.advance(seconds)

    @rule(partition=partitions)
    def delete_records(self, partition: int) -> None:
        """Retention deletes the clicks of which all is saved."""
        saved, topic = self.desk.saved().get(partition, 0), self.desk.topics.clicks
        if saved:
            there = records(self.desk.cluster.read(topic))
            self.deleted_records += [
                one for one in there if one.partition == partition and (one.offset or 0) < saved
            ]
            self.desk.cluster.delete_before(topic, partition, saved)

    @rule()
    def compact(self) -> None:
        """The broker removes what is superseded in the state topic."""
        self.note_deletions()
        self.desk.cluster.compact(self.desk.topics.state)

    @precondition(lambda self: self.desk.partitions < MOST_PARTITIONS)
    @rule()
    def add_a_partition(self) -> None:
        """The clicks get one partition more."""
        self.desk.add_partitions(self.desk.partitions + 1)

    # What is known

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
            (partition, offset) for partition, end in self.desk.committed().items() for offset in range(end)
        }

        assert sorted(committed - done.keys()) == []
        assert [at for at, times in done.items() if times > 1] == []

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
        left = [one for one in given.clicks if one.offset >= self.void.get(owner(one), 0)]
        newest = verify(*release(self.releases[-1]), number=len(self.releases))
        judge_states(verdict, replace(given, clicks=left), newest, kept)

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
TestFleet.settings = settings(max_examples=60, stateful_step_count=25)
