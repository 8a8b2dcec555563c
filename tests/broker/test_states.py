"""User states survive: what was clicked before a crash counts after it, under another release too."""

from __future__ import annotations

from typing import Final

import pytest

from tests.broker.conftest import WorkerFactory
from tests.broker.deployment import HURRIED, Deployment
from tests.broker.process import WorkerProcess
from tests.broker.remembered import assert_remembered, publish
from tests.remembered import USERS, clicks
from tests.waiting import eventually
from worker.topics.states import parse_replay

OFTEN: Final = {"flush_interval_seconds": 0.4}
SELDOM: Final = {"flush_interval_seconds": 3_600}


def flushed(deployment: Deployment, process: WorkerProcess) -> None:
    """Wait until nothing is left that replay would have to bring."""
    eventually(lambda: process.metric("nextclick_lag_records") == 0, what="the lag to be gone")
    ends = {
        record.partition: (record.offset or 0) + 1 for record in deployment.client.read(deployment.clicks)
    }

    def saved() -> bool:
        marks = {
            record.partition: parse_replay(record.value or b"").offset
            for record in deployment.client.read(deployment.state)
            if record.key == b"replay"
        }
        return marks == ends

    eventually(saved, what="a flush of all that was clicked")


@pytest.mark.parametrize("state", [OFTEN, SELDOM], ids=["from blocks", "from replay"])
def test_what_was_clicked_before_a_crash_counts(
    deployment: Deployment, worker: WorkerFactory, state: dict[str, float]
) -> None:
    """kill -9: the states come back from blocks, from replay, or from both, no click twice in them."""
    reference = publish(deployment)
    settings = deployment.settings(kafka=HURRIED, state=state)
    process = worker(settings)
    sent = deployment.send(clicks(400))
    deployment.answers(at_least=400)
    if state is OFTEN:
        flushed(deployment, process)
    process.kill9()

    restarted = worker(settings)
    asked = deployment.send(clicks(USERS, first=400))

    assert_remembered(deployment, reference, sent, asked)
    replayed = restarted.metric("nextclick_replayed_clicks_total")
    assert replayed == (0 if state is OFTEN else 400)
    assert restarted.metric("nextclick_users") == USERS


def test_states_move_with_their_partitions(deployment: Deployment, worker: WorkerFactory) -> None:
    """A worker saves what is changed before it gives partitions up: who gets them replays nothing."""
    reference = publish(deployment)
    first = worker(deployment.settings("a", state=SELDOM))
    sent = deployment.send(clicks(400))
    deployment.answers(at_least=400)

    second = worker(deployment.settings("b", state=SELDOM))
    eventually(lambda: second.metric("nextclick_assigned_partitions") == 2, what="two partitions to move")
    first.terminate()
    code = first.wait(10)
    eventually(lambda: second.metric("nextclick_assigned_partitions") == 4, what="the others to follow")
    asked = deployment.send(clicks(USERS, first=400))

    assert_remembered(deployment, reference, sent, asked)
    assert code == 0
    assert second.metric("nextclick_replayed_clicks_total") == 0
    assert second.metric("nextclick_users") == USERS


def test_users_are_known_under_the_next_release(deployment: Deployment, worker: WorkerFactory) -> None:
    """After a restart with a new champion, of another size: hidden states are made anew from recent items."""
    publish(deployment)
    process = worker(deployment.settings(state=SELDOM))
    sent = deployment.send(clicks(400))
    deployment.answers(at_least=400)
    process.terminate()
    process.wait(10)
    reference = publish(deployment, hidden_size=12, cell="lstm")

    worker(deployment.settings(state=SELDOM))
    asked = deployment.send(clicks(USERS, first=400))

    assert_remembered(deployment, reference, sent, asked)


def test_nothing_is_replayed_into_a_partition_that_never_had_a_click(
    deployment: Deployment, worker: WorkerFactory
) -> None:
    """Only what moved leaves marks; the rest is recovered in no time."""
    publish(deployment)
    settings = deployment.settings(kafka=HURRIED)
    process = worker(settings)
    deployment.send(clicks(1))
    deployment.answers(at_least=1)
    process.kill9()

    restarted = worker(settings)

    assert restarted.metric("nextclick_replayed_clicks_total") == 1
    marks = [record.partition for record in deployment.client.read(deployment.state)]
    assert set(marks) == {0}
