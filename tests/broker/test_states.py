"""User states survive on a real broker: a worker that is killed, and partitions that move."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.broker.conftest import WorkerFactory
from tests.broker.deployment import HURRIED, SLOW_COMMIT, Deployment
from tests.broker.remembered import assert_remembered, publish
from tests.remembered import USERS, clicks
from tests.waiting import eventually


def test_what_was_clicked_before_a_crash_counts(deployment: Deployment, worker: WorkerFactory) -> None:
    """kill -9 with answers sent and not committed, and some of the states saved.

    Another worker has all of it within seconds: from blocks, from replay, and from clicks that are answered
    again; no click is twice in a state, and none has two committed answers.
    """
    reference = publish(deployment)
    hurried: dict[str, Mapping[str, Any]] = {"kafka": HURRIED, "state": {"flush_interval": 0.4}}
    process = worker(deployment.settings("a", commit_interval=SLOW_COMMIT, **hurried))
    sent = deployment.send(clicks(400))
    deployment.answers(at_least=400)
    sent += deployment.send(clicks(100, first=400))
    deployment.answers(isolation="read_uncommitted", at_least=500)
    process.kill9()

    replacing = worker(deployment.settings("b", **hurried))
    asked = deployment.send(clicks(USERS, first=500))

    assert_remembered(deployment, reference, sent, asked)
    deployment.assert_answered_once([*sent, *asked])
    assert replacing.metric("nextclick_users") == USERS


def test_states_move_with_their_partitions(deployment: Deployment, worker: WorkerFactory) -> None:
    """A worker commits and saves what it has before it gives partitions up (rule b).

    So nothing is answered a second time, not even uncommitted, and who gets them replays nothing; after
    SIGTERM the others have all of them long before a session timeout.
    """
    reference = publish(deployment)
    slow: dict[str, Any] = {
        "commit_interval": SLOW_COMMIT,
        "state": {"flush_interval": 3_600},
    }
    first = worker(deployment.settings("a", **slow))
    sent = deployment.send(clicks(400))
    deployment.answers(isolation="read_uncommitted", at_least=400)

    second = worker(deployment.settings("b", **slow))
    eventually(lambda: second.metric("nextclick_assigned_partitions") == 2, what="two partitions to move")
    failures = first.metric("nextclick_checkpoints_total", outcome="failed")
    first.terminate()
    code = first.wait(10)
    eventually(lambda: second.metric("nextclick_assigned_partitions") == 4, 10, "the others to follow")
    asked = deployment.send(clicks(USERS, first=400))

    assert_remembered(deployment, reference, sent, asked)
    assert (code, failures) == (0, 0)
    assert len(deployment.answers(isolation="read_uncommitted")) == len(sent) + len(asked)
    assert second.metric("nextclick_replayed_clicks_total") == 0
    assert second.metric("nextclick_users") == USERS
