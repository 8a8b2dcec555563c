"""Retraining runs at a desk: on a cluster in this process, with a strategy whose releases are prepared."""

from __future__ import annotations

import pytest
from prometheus_client import generate_latest

from tests.trainer.desk import PLAN, RELEASES, SESSION_SECONDS, WRONG, TrainerDesk
from trainer.config import Run
from trainer.continuous.leader import STANDING_BY
from trainer.continuous.plan import COLLECTED, RunOutcome
from trainer.errors import TrainingDiverged
from worker.core.manifest import Manifest
from worker.core.release import Pointer
from worker.errors import KafkaAway, NotAllowed
from worker.kafka.memory import Crashed
from worker.topics.releases import CANDIDATE, CHAMPION, point

EXPERIMENTS = PLAN.model_copy(update={"policy": "candidate", "share": 0.2})


def test_the_first_release_is_champion_and_the_next_begins_with_it(desk: TrainerDesk) -> None:
    """A run without new clicks trains nothing, also where another trainer made the champion."""
    desk.send()
    trainer = desk.trainer()

    assert trainer.once() is RunOutcome.PUBLISHED
    assert trainer.training.published == 1
    assert trainer.once() is RunOutcome.IDLE
    assert trainer.training.published is None
    desk.send(4)
    assert trainer.once() is RunOutcome.PUBLISHED
    trainer.stop()
    assert desk.trainer().once() is RunOutcome.IDLE
    assert trainer.strategy.champions == [None, 1]
    assert trainer.lines[-1] == f"release 2 is @champion in {RELEASES}"
    assert desk.pointers() == {CHAMPION: 2}
    assert Manifest.from_json(desk.held()["release/0002"]).training[COLLECTED] == {"0": 70, "1": 70}


def test_a_candidate_is_left_alone_while_its_experiment_runs(desk: TrainerDesk) -> None:
    """New clicks are collected meanwhile; when the experiment is over they are learned."""
    trainer = desk.trainer(EXPERIMENTS)
    outcomes = []
    for _ in range(3):
        desk.send()
        outcomes.append(trainer.once())

    assert outcomes == [RunOutcome.PUBLISHED, RunOutcome.PUBLISHED, RunOutcome.EXPERIMENT]
    assert trainer.lines[-1] == "release 2 is in an A/B test; no new release is trained"
    assert desk.pointers() == {CHAMPION: 1, CANDIDATE: 2}
    assert desk.held()[CANDIDATE] == Pointer(2, 0.2).value()
    point(desk.cluster.connect(), RELEASES, {CANDIDATE: None}, expected={CANDIDATE: 2})
    assert trainer.once() is RunOutcome.PUBLISHED
    assert desk.pointers() == {CHAMPION: 1, CANDIDATE: 3}


def test_a_candidate_may_be_replaced_where_the_plan_says_so(desk: TrainerDesk) -> None:
    """Its experiment ends without a decision."""
    trainer = desk.trainer(EXPERIMENTS.model_copy(update={"replace_candidate": True}))
    for _ in range(3):
        desk.send()
        assert trainer.once() is RunOutcome.PUBLISHED

    assert desk.pointers() == {CHAMPION: 1, CANDIDATE: 3}


def test_the_gate_refuses_what_is_worse_than_the_champion(desk: TrainerDesk) -> None:
    """Nothing is published, and the same clicks are not learned again."""
    desk.publish()
    desk.send(100)
    trainer = desk.trainer(PLAN.model_copy(update={"held_out": 4 * 3600}))
    trainer.strategy.items = WRONG

    assert trainer.once() is RunOutcome.REFUSED
    assert trainer.lines[-1] == "release 1 remains champion"
    assert trainer.once() is RunOutcome.IDLE
    assert desk.releases() == [1]


def test_without_clicks_there_is_no_release(desk: TrainerDesk) -> None:
    """That is no success, and no fault."""
    trainer = desk.trainer()

    assert trainer.once() is RunOutcome.TOO_FEW
    assert trainer.lines[-1].startswith("no release: ")
    assert desk.releases() == []


@pytest.mark.parametrize("key", ["release/0001/0001", "release/0001"])
def test_a_champion_that_cannot_be_used_is_replaced(desk: TrainerDesk, key: str) -> None:
    """Whether its weights or its manifest are broken: the successor is trained from the start."""
    desk.publish()
    desk.cluster.produce(RELEASES, b"broken", key=key.encode())
    desk.send()
    trainer = desk.trainer(EXPERIMENTS)

    assert trainer.once() is RunOutcome.PUBLISHED
    assert trainer.strategy.champions == [None]
    assert any(line.startswith("@champion cannot be used: ") for line in trainer.lines)
    assert desk.pointers() == {CHAMPION: 2}


def test_a_release_for_a_topic_that_changed_meanwhile_is_refused(desk: TrainerDesk) -> None:
    """Whether a person made a candidate or moved the champion; the next run is about what is there then."""
    desk.publish()
    desk.send()
    trainer = desk.trainer(EXPERIMENTS)
    trainer.strategy.meanwhile = lambda: desk.publish(CANDIDATE)
    assert [trainer.once(), trainer.once()] == [RunOutcome.FAILED, RunOutcome.EXPERIMENT]
    point(desk.cluster.connect(), RELEASES, {CANDIDATE: None})
    trainer.strategy.meanwhile = lambda: desk.publish(CHAMPION)

    assert [trainer.once(), trainer.once()] == [RunOutcome.FAILED, RunOutcome.PUBLISHED]
    assert trainer.strategy.champions == [1, 1, 3]
    assert "@champion named release 1 and now names release 3" in "\n".join(trainer.lines)
    assert desk.pointers() == {CHAMPION: 3, CANDIDATE: 4}


def test_publishing_is_tried_again(desk: TrainerDesk) -> None:
    """For some 20 s: a training of hours is not thrown away for a hiccup."""
    desk.send()
    trainer = desk.trainer()
    desk.cluster.fail("commit", times=3)
    began = desk.cluster.steady()

    assert trainer.once() is RunOutcome.PUBLISHED
    assert desk.cluster.steady() - began == 1 + 4 + 16
    assert [line for line in trainer.lines if line.endswith("retrying in 4 s")]
    assert desk.releases() == [1]


def test_a_run_that_could_not_publish_is_made_again(desk: TrainerDesk) -> None:
    """With the same clicks."""
    desk.send()
    trainer = desk.trainer()
    desk.cluster.fail("commit", times=4)

    assert [trainer.once(), trainer.once()] == [RunOutcome.FAILED, RunOutcome.PUBLISHED]
    assert len(trainer.strategy.champions) == 2
    assert desk.releases() == [1]


@pytest.mark.parametrize(
    "plan", [PLAN, EXPERIMENTS, EXPERIMENTS.model_copy(update={"replace_candidate": True})]
)
def test_a_release_whose_commit_got_no_answer_is_published_once(desk: TrainerDesk, plan: Run) -> None:
    """The next attempt finds it, whatever the plan lets a release replace."""
    desk.publish()
    desk.send()
    trainer = desk.trainer(plan)
    desk.cluster.fail("commit", after=True)

    assert trainer.once() is RunOutcome.PUBLISHED
    assert desk.releases() == [1, 2]
    assert trainer.lines[-1].startswith("release 2 is @")


def test_an_outage_costs_the_run(desk: TrainerDesk) -> None:
    """Before the training, or after it; the next run publishes."""
    desk.send()
    trainer = desk.trainer()
    desk.settle()
    desk.cluster.down()
    assert trainer.once() is RunOutcome.FAILED
    desk.cluster.up()
    trainer.strategy.meanwhile = desk.cluster.down

    assert trainer.once() is RunOutcome.FAILED
    desk.cluster.up()
    assert trainer.once() is RunOutcome.PUBLISHED


def test_a_training_that_diverged_waits_for_new_clicks(desk: TrainerDesk) -> None:
    """The same clicks would diverge again; the run counts as one that failed for that."""

    def diverge() -> None:
        raise TrainingDiverged("the training diverged in epoch 1 of 3")

    desk.send()
    trainer = desk.trainer()
    trainer.strategy.meanwhile = diverge

    assert [trainer.once(), trainer.once()] == [RunOutcome.DIVERGED, RunOutcome.IDLE]
    assert "no release: the training diverged in epoch 1 of 3" in trainer.lines
    desk.send(4)
    assert trainer.once() is RunOutcome.PUBLISHED
    assert b'nextclick_trainer_runs_total{outcome="diverged"} 1.0' in generate_latest(
        trainer.metrics.registry
    )


def test_of_two_trainers_one_trains(desk: TrainerDesk) -> None:
    """The other one stands by, and takes over when the first ends."""
    desk.send()
    leading, other = desk.trainer(), desk.trainer()
    desk.settle()

    assert other.once() is RunOutcome.DEPOSED
    assert other.lines == ["another trainer leads; nothing to do"]
    assert leading.once() is RunOutcome.PUBLISHED
    leading.stop()
    desk.send(4)
    assert other.once() is RunOutcome.PUBLISHED
    assert other.strategy.champions == [1]


@pytest.mark.parametrize("replace_candidate", [False, True])
def test_a_trainer_that_was_frozen_publishes_nothing(desk: TrainerDesk, replace_candidate: bool) -> None:
    """It made its release, but another trainer leads now: the broker refuses it, whatever it believes."""
    desk.publish()
    desk.send()
    plan = EXPERIMENTS.model_copy(update={"replace_candidate": replace_candidate})
    sleeping, other = desk.trainer(plan), desk.trainer(plan)
    desk.settle()

    def meanwhile() -> None:
        with desk.frozen(sleeping):
            assert other.leader.leads

    sleeping.strategy.meanwhile = meanwhile
    assert sleeping.once() is RunOutcome.DEPOSED
    assert sleeping.lines[-1].startswith("no release: another trainer leads now")
    assert desk.releases() == [1]
    assert sleeping.once() is RunOutcome.DEPOSED
    assert other.once() is RunOutcome.PUBLISHED
    assert desk.pointers() == {CHAMPION: 1, CANDIDATE: 2}


@pytest.mark.parametrize("skip", range(4))
def test_killed_while_it_publishes_a_trainer_leaves_a_release_whole_or_absent(
    desk: TrainerDesk, skip: int
) -> None:
    """At any record of the transaction, before its commit or after it; another one goes on."""
    desk.publish()
    desk.send()
    killed, other = desk.trainer(), desk.trainer()
    desk.settle()
    desk.cluster.crash_at("send" if skip < 3 else "commit", skip=skip % 3, after=skip == 3)

    with pytest.raises(Crashed):
        killed.once()
    published = skip == 3
    assert desk.releases() == ([1, 2] if published else [1])
    killed.awake = False
    desk.sleep(SESSION_SECONDS + 1)
    assert other.once() is (RunOutcome.IDLE if published else RunOutcome.PUBLISHED)
    assert desk.releases() == [1, 2]
    assert desk.pointers() == {CHAMPION: 2}


class Enough(BaseException):
    """Raised by a test to end what goes on for ever."""


def test_runs_follow_each_other_in_the_interval_of_the_plan(desk: TrainerDesk) -> None:
    """From begin to begin, and after a failure in a minute."""
    trainer, began = desk.trainer(), []

    def meanwhile() -> None:
        began.append(desk.cluster.steady())
        if len(began) == 4:
            raise Enough
        if len(began) == 2:
            desk.cluster.fail("commit", times=4)
        desk.send(4)
        desk.cluster.advance(100)
        trainer.strategy.meanwhile = meanwhile

    desk.send()
    trainer.strategy.meanwhile = meanwhile
    with pytest.raises(Enough):
        trainer.training.run_forever()

    took = 100 + 1 + 4 + 16
    assert began == [0, 3_600, 3_600 + took + 60, 2 * 3_600 + took + 60]
    assert b'nextclick_trainer_runs_total{outcome="failed"} 1.0' in generate_latest(trainer.metrics.registry)


def test_an_error_of_the_membership_ends_the_trainer_while_it_waits(desk: TrainerDesk) -> None:
    """It is not put off until the next run is due."""
    desk.send()
    trainer = desk.trainer()
    trainer.strategy.meanwhile = lambda: desk.cluster.fail("poll", NotAllowed("no right to read the group"))

    with pytest.raises(NotAllowed):
        trainer.training.run_forever()
    assert desk.releases() == [1]
    assert desk.cluster.steady() == 0


def test_a_trainer_says_once_why_it_does_not_lead(desk: TrainerDesk) -> None:
    """And waits for its turn."""
    _, other = desk.trainer(), desk.trainer()
    desk.settle()
    desk.cluster.fail("poll", KafkaAway("no broker answers"), times=2, connection=other.connection)
    desk.cluster.fail("poll", NotAllowed("enough"), skip=5, connection=other.connection)

    with pytest.raises(NotAllowed):
        other.training.run_forever()
    assert other.lines == ["no broker answers", STANDING_BY]


def test_a_single_run_waits_in_vain_where_kafka_is_away(desk: TrainerDesk) -> None:
    """It says that it is not known which trainer leads."""
    desk.cluster.down()
    trainer = desk.trainer()

    with pytest.raises(KafkaAway, match="it is not known which trainer leads"):
        trainer.once()
