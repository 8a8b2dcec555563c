"""Releases come and go while a worker serves: nothing is lost, nothing doubled, nobody is forgotten."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Final

import pytest

from tests.broken import RELEASES
from tests.broker.client import Record
from tests.broker.conftest import WorkerFactory
from tests.broker.deployment import HURRIED, Deployment
from tests.broker.process import WorkerProcess
from tests.broker.remembered import USERS, assert_remembered, clicks, publish
from tests.builders import tiny_release_parts
from tests.waiting import eventually
from worker.core.release import Pointer, numbers, to_records
from worker.core.serving import chosen
from worker.errors import ReleaseRefused
from worker.kafka.connection import KafkaConnection
from worker.topics import releases

USER_IDS: Final = [f"user-{number}" for number in range(50)]


def is_later(answer: Record, sent: Sequence[Record]) -> bool:
    """Whether an answer is to one of the last 200 clicks."""
    last = {(click.partition, click.offset) for click in sent[-200:]}
    return (answer.json["event"]["partition"], answer.json["event"]["offset"]) in last


def serves(process: WorkerProcess, number: int) -> Callable[[], bool]:
    """Whether the worker serves under that release."""
    return lambda: process.metric("nextclick_release") == number


def test_a_release_is_taken_up_under_load(deployment: Deployment, worker: WorkerFactory) -> None:
    """Every click is answered once, in order, and from some click of its partition on under the new one."""
    publish(deployment)
    process = worker(deployment.settings())
    sent, adopted = deployment.send_clicks(100), threading.Event()

    def load() -> None:
        while not adopted.is_set():
            sent.extend(deployment.send_clicks(100, first=len(sent)))

    loading = threading.Thread(target=load)
    loading.start()
    publish(deployment, seed=5, hidden_size=12, cell="lstm")
    eventually(serves(process, 2), what="the new release to serve")
    adopted.set()
    loading.join()
    sent += deployment.send_clicks(100, first=len(sent))

    deployment.assert_answered_once(sent)
    found = deployment.answers(at_least=len(sent))
    for partition in range(deployment.partitions):
        numbers = [answer.json["release"] for answer in found if answer.partition == partition]
        assert numbers == sorted(numbers)
        assert set(numbers) == {1, 2}


def test_users_are_known_under_a_release_taken_up_live(deployment: Deployment, worker: WorkerFactory) -> None:
    """Those who click at once and those who are rebuilt in the background, whatever the size of states."""
    publish(deployment)
    process = worker(deployment.settings())
    sent = deployment.send(clicks(400))
    deployment.answers(at_least=400)
    reference = publish(deployment, hidden_size=12, cell="lstm", seed=3)
    eventually(serves(process, 2), what="the new release to serve")
    eventually(lambda: process.metric("nextclick_rebuild_left_users") == 0, what="all to be rebuilt")

    asked = deployment.send(clicks(USERS, first=400))

    assert_remembered(deployment, reference, sent, asked)
    assert process.metric("nextclick_rebuilt_users_total") == USERS


def test_what_is_refused_changes_nothing(deployment: Deployment, worker: WorkerFactory) -> None:
    """The old release serves on, the worker stays ready and says what it refused and why, once."""
    publish(deployment)
    process = worker(deployment.settings())
    manifest, blob = tiny_release_parts(seed=9)
    broken = [*to_records(2, manifest, blob[:-1] + b"?"), ("@champion", Pointer(2).value())]
    deployment.client.send(deployment.releases, [Record(value, key=key.encode()) for key, value in broken])
    eventually(lambda: "release 2 was refused" in process.http("/readyz")[1], what="the refusal")

    status, text = process.http("/readyz")
    deployment.assert_answered_once(deployment.send_clicks(40))
    assert status == 200
    assert "SHA-256" in text
    assert {answer.json["release"] for answer in deployment.answers(at_least=40)} == {1}
    assert process.metric("nextclick_releases_refused_total", reason="checksum") == 1

    publish(deployment, seed=9)
    eventually(serves(process, 3), what="the next good one to serve")

    assert process.http("/readyz") == (200, "ready\n")


def test_a_rollback_is_a_pointer_going_back(deployment: Deployment, worker: WorkerFactory) -> None:
    """The former release serves again, and knows what was clicked under the other one."""
    reference = publish(deployment)
    process = worker(deployment.settings())
    first = deployment.send(clicks(200))
    deployment.answers(at_least=200)
    publish(deployment, seed=5)
    eventually(serves(process, 2), what="the new release to serve")
    second = deployment.send(clicks(200, first=200))
    deployment.answers(at_least=400)

    back = {releases.CHAMPION: Pointer(1)}
    releases.point(
        KafkaConnection(deployment.bootstrap), deployment.releases, back, expected={"@champion": 2}
    )
    eventually(serves(process, 1), what="the former release to serve")
    asked = deployment.send(clicks(USERS, first=400))

    assert_remembered(deployment, reference, [*first, *second], asked)


def test_a_candidate_serves_its_share(deployment: Deployment, worker: WorkerFactory) -> None:
    """Its users and nobody else's, until it is promoted; not one click is lost or doubled on the way."""
    connection, topic = KafkaConnection(deployment.bootstrap), deployment.releases
    publish(deployment)
    process = worker(deployment.settings())
    parts = tiny_release_parts(seed=5, hidden_size=12)
    releases.publish(connection, topic, *parts, pointer=releases.CANDIDATE, share=0.4)
    eventually(lambda: process.metric("nextclick_candidate") == 2, what="the candidate to be tried")
    sent = deployment.send_clicks(200, users=50)
    tried = {user for number, user in enumerate(USER_IDS) if chosen(USER_IDS, number=2, share=0.4)[number]}

    for answer in deployment.answers(at_least=200):
        assert answer.json["release"] == (2 if answer.json["user_id"] in tried else 1)
    assert process.metric("nextclick_recommendations_total", role="candidate") == 4 * len(tried)

    promotion = {releases.CHAMPION: Pointer(2), releases.CANDIDATE: None}
    releases.point(connection, topic, promotion, expected={releases.CANDIDATE: 2})
    eventually(serves(process, 2), what="the candidate to be champion")
    sent += deployment.send_clicks(200, first=200, users=50)

    deployment.assert_answered_once(sent)
    assert [answer.json["release"] for answer in deployment.answers() if is_later(answer, sent)] == [2] * 200
    assert process.metric("nextclick_candidate") == 0


def test_a_pointer_moves_only_from_where_it_is_expected(deployment: Deployment) -> None:
    """Who decided on what is no longer so changes nothing; neither does who names what is not there."""
    connection, topic = KafkaConnection(deployment.bootstrap), deployment.releases
    publish(deployment)

    with pytest.raises(ReleaseRefused, match="named release 2 and is no longer there"):
        releases.point(connection, topic, {"@champion": Pointer(1)}, expected={"@candidate": 2})
    with pytest.raises(ReleaseRefused, match="no release 7"):
        releases.point(connection, topic, {"@candidate": Pointer(7)})
    with releases.ReleaseReader(connection, topic=topic).opened() as reader:
        reader.read()
        assert reader.pointer("@champion") == Pointer(1)
        assert reader.pointer("@candidate") is None


def test_old_releases_go(deployment: Deployment) -> None:
    """The latest stay, and those that are named: as champion, as the one before it, as candidate."""
    connection, topic = KafkaConnection(deployment.bootstrap), deployment.releases
    parts = tiny_release_parts()
    for pointer in ("@champion", "@champion", "@candidate", "@none", "@none", "@none"):
        releases.publish(connection, topic, *parts, pointer=pointer, keep=2)

    with releases.ReleaseReader(connection, topic=topic).opened() as reader:
        reader.read()
        assert numbers(reader.held()) == [1, 2, 3, 5, 6]
        assert reader.fetch(3)[1] == parts[1]


@pytest.mark.parametrize("seconds", [0.0, 0.3, 0.8])
def test_a_worker_that_is_killed_while_it_adopts(
    deployment: Deployment, worker: WorkerFactory, seconds: float
) -> None:
    """Whatever it had got to: who comes after it serves the champion, and each click is answered once."""
    publish(deployment)
    settings = deployment.settings(kafka=HURRIED)
    process = worker(settings)
    sent = deployment.send(clicks(200))
    deployment.answers(at_least=200)
    reference = publish(deployment, seed=5, hidden_size=12)
    more = deployment.send(clicks(100, first=200))
    time.sleep(seconds)
    process.kill9()

    restarted = worker(settings)
    asked = deployment.send(clicks(USERS, first=300))

    assert_remembered(deployment, reference, [*sent, *more], asked)
    deployment.assert_answered_once([*sent, *more, *asked])
    assert serves(restarted, 2)()


@pytest.mark.parametrize("kind", ["a chunk is missing", "a weight is NaN", "the format is older"])
def test_the_broken_do_not_serve(deployment: Deployment, worker: WorkerFactory, kind: str) -> None:
    """A handful of the kinds that `tests/broken` knows, in front of a worker that goes on."""
    publish(deployment)
    process = worker(deployment.settings())
    reason, records = RELEASES[kind]
    broken = [*records(2), ("@champion", Pointer(2).value())]
    deployment.client.send(deployment.releases, [Record(value, key=key.encode()) for key, value in broken])
    eventually(
        lambda: process.metric("nextclick_releases_refused_total", reason=reason) == 1, what="a refusal"
    )

    deployment.assert_answered_once(deployment.send_clicks(40))
    assert serves(process, 1)()
    assert process.http("/readyz")[0] == 200
