"""A release comes while workers on a real Kafka serve: nothing is lost, nothing doubled, nobody is forgotten.

The rest of it on the cluster in memory: `tests.worker.releases`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from tests.broker.conftest import WorkerFactory
from tests.broker.deployment import HURRIED, Deployment
from tests.broker.process import WorkerProcess
from tests.broker.remembered import assert_remembered, publish
from tests.remembered import USERS, clicks
from tests.waiting import eventually


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


def test_a_worker_that_is_killed_while_it_adopts(deployment: Deployment, worker: WorkerFactory) -> None:
    """Who comes after it serves the champion, and each click is answered once."""
    publish(deployment)
    settings = deployment.settings(kafka=HURRIED)
    process = worker(settings)
    sent = deployment.send(clicks(200))
    deployment.answers(at_least=200)
    reference = publish(deployment, seed=5, hidden_size=12)
    more = deployment.send(clicks(100, first=200))
    process.kill9()

    restarted = worker(settings)
    asked = deployment.send(clicks(USERS, first=300))

    assert_remembered(deployment, reference, [*sent, *more], asked)
    deployment.assert_answered_once([*sent, *more, *asked])
    assert serves(restarted, 2)()
