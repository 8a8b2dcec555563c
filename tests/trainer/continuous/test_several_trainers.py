"""Two or three trainers on one topic, with crashes, freezes and lost answers: a Hypothesis state machine."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tests.trainer.desk import PLAN, RELEASES, SESSION_SECONDS, Trainer, TrainerDesk
from trainer.config import Run
from trainer.continuous.plan import RunOutcome
from worker.core.manifest import Manifest
from worker.core.release import Pointer, parse_pointer
from worker.errors import KafkaAway
from worker.kafka.memory import Crashed
from worker.topics.releases import CANDIDATE, CHAMPION, point

MOST: Final = 3
EXPERIMENTS: Final = PLAN.model_copy(update={"policy": "candidate", "replace_candidate": True})

plans = st.sampled_from([PLAN, EXPERIMENTS, EXPERIMENTS.model_copy(update={"replace_candidate": False})])
others = st.integers(0, MOST - 1)
seconds = st.sampled_from([1.0, 10.0, SESSION_SECONDS + 1])
calls = ["renew", "send", "commit", "end"]
faults = st.sampled_from([*((call, False) for call in calls), ("send", True), ("commit", True)])
"""What fails, and whether it took effect before: then its answer is lost."""


class Trainers(RuleBasedStateMachine):
    """Trainers that come, go, freeze and run, and a person who moves pointers."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = TemporaryDirectory()
        self.desk = TrainerDesk(Path(self.folder.name))
        self.desk.send()
        for plan in (PLAN, EXPERIMENTS):
            self.desk.trainer(plan)
        self.desk.settle()
        self.runs = itertools.count(1)

    def teardown(self) -> None:
        """Leave nothing behind."""
        self.folder.cleanup()

    @property
    def alive(self) -> list[Trainer]:
        """The trainers that run."""
        return [one for one in self.desk.trainers if one.awake]

    @precondition(lambda self: len(self.alive) < MOST)
    @rule(plan=plans)
    def start(self, plan: Run) -> None:
        """Start one more trainer."""
        self.desk.trainer(plan)
        self.desk.settle()

    @precondition(lambda self: self.alive)
    @rule(which=others, killed=st.booleans())
    def end(self, which: int, killed: bool) -> None:
        """End a trainer, in order or as kill -9 does."""
        if killed:
            self._kill(self._one(which))
        else:
            self._one(which).stop()

    @rule(seconds=seconds)
    def pass_time(self, seconds: float) -> None:
        """Let time pass."""
        self.desk.sleep(seconds)

    @rule(pointer=st.sampled_from([CHAMPION, CANDIDATE]))
    def publish(self, pointer: str) -> None:
        """Publish by hand."""
        self.desk.publish(pointer)

    @rule(promote=st.booleans())
    def decide(self, promote: bool) -> None:
        """End an experiment by hand."""
        candidate = self.desk.pointers().get(CANDIDATE)
        if candidate:
            pointers = {CHAMPION: Pointer(candidate)} if promote else {}
            point(self.desk.cluster.connect(), RELEASES, {**pointers, CANDIDATE: None})

    @precondition(lambda self: self.alive)
    @rule(which=others)
    def run_without_new_clicks(self, which: int) -> None:
        """Make a run where there may be nothing to learn."""
        self._run(self._one(which), lambda: None)

    @precondition(lambda self: self.alive)
    @rule(which=others, seconds=seconds, takes_over=st.booleans())
    def freeze_one_that_trains(self, which: int, seconds: float, takes_over: bool) -> None:
        """Freeze a trainer in its training, in which another may publish; then it goes on."""
        one = self._one(which)

        def meanwhile() -> None:
            with self.desk.frozen(one, seconds):
                for other in self.alive if takes_over else []:
                    self._run(other, lambda: None)

        self.desk.send(1)
        self._run(one, meanwhile)

    @precondition(lambda self: self.alive)
    @rule(which=others, fault=faults, times=st.integers(1, 4))
    def fail_one_that_publishes(self, which: int, fault: Any, times: int) -> None:
        """Let calls of a trainer fail, or their answers be lost."""
        one, (call, after) = self._one(which), fault
        fail = self.desk.cluster.fail
        self.desk.send(1)
        self._run(one, lambda: fail(call, after=after, times=times, connection=one.connection))

    @precondition(lambda self: self.alive)
    @rule(which=others, fault=faults, skip=st.integers(0, 3))
    def kill_one_that_publishes(self, which: int, fault: Any, skip: int) -> None:
        """Kill a trainer in the midst of a transaction."""
        one, (call, after) = self._one(which), fault
        crash_at = self.desk.cluster.crash_at
        self.desk.send(1)
        self._run(one, lambda: crash_at(call, after=after, skip=skip, connection=one.connection))

    @precondition(lambda self: self.alive)
    @rule(which=others, pointer=st.sampled_from([CHAMPION, CANDIDATE]))
    def publish_while_one_trains(self, which: int, pointer: str) -> None:
        """Publish by hand in the midst of a run."""
        self.desk.send(1)
        self._run(self._one(which), lambda: self.desk.publish(pointer))

    @invariant()
    def no_run_made_two_releases(self) -> None:
        """Every release is whole, and each run has one at most."""
        made = [self._run_of(number) for number in self.desk.releases()]
        runs = [run for run in made if run]
        assert len(runs) == len(set(runs))

    @invariant()
    def pointers_name_releases(self) -> None:
        """The champion is there as soon as a trainer has made a release."""
        releases, pointers = self.desk.releases(), self.desk.pointers()
        assert set(pointers.values()) <= set(releases)

    def _one(self, which: int) -> Trainer:
        return self.alive[which % len(self.alive)]

    def _kill(self, one: Trainer) -> None:
        self.desk.cluster.crash(one.connection)
        one.awake = False

    def _run_of(self, number: int) -> int | None:
        """Return the run that made a release; None where a person did."""
        return Manifest.from_json(self.desk.held()[f"release/{number:04}"]).training.get("run")

    def _run(self, one: Trainer, meanwhile: Callable[[], object]) -> None:
        """Make a run; a release of it is there if it says so, and only while its trainer leads."""
        run = next(self.runs)
        one.strategy.run, one.strategy.meanwhile = run, meanwhile
        outcome = None
        try:
            outcome = one.once()
        except KafkaAway:
            """It is not known who leads."""
        except Crashed:
            self._kill(one)
        one.strategy.meanwhile = lambda: None
        self.desk.cluster._broker.faults.clear()
        published = run in [self._run_of(number) for number in self.desk.releases()]
        if published:
            session = one.member.session
            assert session is not None, "published by a trainer that its group has thrown out"
            assert session.assigned == {0}, "published by a trainer that does not lead"
            pointer = parse_pointer(self.desk.held()[CHAMPION])
            champion = pointer.previous if self._run_of(pointer.release) == run else pointer.release
            assert one.strategy.champions[-1] == champion, "compared with another champion"
        assert outcome is None or published == (outcome is RunOutcome.PUBLISHED)


Trainers.TestCase.settings = settings(
    max_examples=25, stateful_step_count=12, deadline=None, report_multiple_bugs=False
)
# Only a failure takes long: it is made as short as possible.
TestTrainers = pytest.mark.timeout(600)(Trainers.TestCase)
