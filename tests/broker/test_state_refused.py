"""Where states, offsets and clicks do not fit together a worker stops, and what it says to do helps.

Here what only a real broker can do; the rest on the cluster in memory: `tests.worker.commands.test_refusals`.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import pytest
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewPartitions

from tests.broker.client import Record
from tests.broker.conftest import CommandRunner, WorkerFactory
from tests.broker.deployment import Deployment
from tests.broker.test_look import SELDOM, click, known, saved
from tests.conftest import create_topic
from tests.waiting import eventually

HOME: Final = 1
"""The partition that has clicks."""


@pytest.fixture
def admin(kafka: str) -> AdminClient:
    """For what a worker would never do."""
    return AdminClient({"bootstrap.servers": kafka, "log_level": 0})


def ada(item_id: str) -> Record:
    """A click of the one user."""
    return click("ada", item_id, partition=HOME)


def delete_group(deployment: Deployment, admin: AdminClient) -> None:
    """Do what Kafka does to a group that was away for a week."""
    admin.delete_consumer_groups([deployment.group])[deployment.group].result(timeout=30)


def make_clicks_anew(deployment: Deployment, admin: AdminClient) -> None:
    """Delete the clicks topic and create it again."""
    admin.delete_topics([deployment.clicks])[deployment.clicks].result(timeout=30)
    eventually(lambda: deployment.clicks not in admin.list_topics(timeout=10).topics, what="the deletion")
    create_topic(admin, deployment.clicks, deployment.partitions, {})


def refusal(deployment: Deployment, worker: WorkerFactory) -> str:
    """What a worker says that refuses to serve."""
    process = worker(deployment.settings(), ready=False)

    assert process.wait() == 2, process.log
    assert "Traceback" not in process.log
    return process.log


def obey(text: str, settings: Mapping[str, Any], command: CommandRunner) -> str:
    """Do the first thing that a refusal says, as it is printed."""
    found = re.search(r"`nextclick-worker (reset [^`]*)`", text)

    assert found, text
    name, *arguments = shlex.split(found[1])
    code, output = command(settings, name, *arguments, "--yes")
    assert code == 0, output
    return found[1]


@dataclass(frozen=True)
class Mishap:
    """Something that must not happen, after a user clicked item 2 and 3, and what follows."""

    happens: Callable[[Deployment, AdminClient], None]
    says: str
    does: str
    remembers: Sequence[str] = ()
    """What is still known of the user."""
    answers: int = 3
    """How many there are in all once the user clicked again."""


MISHAPS: Final = {
    "no committed offset": Mishap(
        delete_group,
        "the group has no committed offset",
        f"reset --partition {HOME} --at saved",
        ("item-2", "item-3"),
    ),
    "clicks made anew": Mishap(
        make_clicks_anew, "was deleted and created again", "reset --at saved", ("item-2", "item-3")
    ),
}


@pytest.mark.parametrize("name", MISHAPS)
def test_what_a_refusal_says_helps(
    deployment: Deployment, worker: WorkerFactory, command: CommandRunner, admin: AdminClient, name: str
) -> None:
    """The worker stops with the reason and a command; after it, as printed, the next worker serves.

    With the states where they are sound, else with empty ones; and from the offset that the command names.
    """
    mishap = MISHAPS[name]
    deployment.publish_successor()
    saved(deployment, worker, ada("item-2"), ada("item-3"))
    mishap.happens(deployment, admin)

    text = refusal(deployment, worker)
    done = obey(text, deployment.settings(), command)
    process = worker(deployment.settings())
    deployment.send([ada("item-5")])
    deployment.answers(at_least=mishap.answers)

    assert mishap.says in text
    assert done == mishap.does
    assert known(process, "ada")[1]["recent_items"] == [*mishap.remembers, "item-5"]
    assert len(deployment.answers()) == mishap.answers


def test_clicks_that_grow_after_their_topics_are_served_at_once(
    deployment: Deployment, worker: WorkerFactory, admin: AdminClient
) -> None:
    """A running worker takes the new partitions up by itself; who moved there starts cold, and is counted."""
    deployment.publish_successor()
    process = worker(deployment.settings(**SELDOM))
    deployment.send([ada("item-2")])
    deployment.answers(at_least=1)

    for topic in (deployment.recommendations, deployment.state, deployment.clicks):
        admin.create_partitions([NewPartitions(topic, 6)])[topic].result(timeout=30)
    eventually(lambda: process.metric("nextclick_assigned_partitions") == 6, 60, "the new partitions")
    deployment.send([click("ada", "item-5", partition=5, timestamp=1_700_000_001_000)])
    deployment.answers(at_least=2)

    assert known(process, "ada")[1]["recent_items"] == ["item-5"]
    eventually(lambda: process.metric("nextclick_users_moved_total") == 1, what="the count")
    process.terminate()
    assert process.wait(15) == 0
