"""Requests for lists, of real workers on a real Kafka."""

from __future__ import annotations

import time
from typing import Any

import orjson

from deploy.kafka.ports import free_port
from tests.broker.client import Record
from tests.broker.conftest import WorkerFactory
from tests.broker.deployment import HURRIED, Deployment
from tests.broker.process import WorkerProcess
from tests.builders import ITEMS
from tests.waiting import eventually


def _get(process: WorkerProcess, path: str) -> tuple[int, Any]:
    status, body = process.http(path)
    return status, orjson.loads(body) if status else body


def _advertised() -> dict[str, Any]:
    port = free_port()
    return {"port": port, "advertised": f"http://127.0.0.1:{port}"}


def test_any_worker_answers_right_after_a_click(deployment: Deployment, worker: WorkerFactory) -> None:
    """With all that the click taught, whoever serves its partition, and after one of them was killed."""
    deployment.publish_successor()
    processes = [
        worker(deployment.settings(worker_id, kafka=HURRIED, http=_advertised())) for worker_id in ("a", "b")
    ]
    eventually(
        lambda: [one.metric("nextclick_assigned_partitions") for one in processes] == [2, 2],
        what="an even share",
    )
    for number in range(40):
        user, item = f"user-{number % 8}", ITEMS[number % 11]
        document = {"user_id": user, "item_id": item}
        (click,) = deployment.send([Record(orjson.dumps(document), partition=number % 4)])
        path = f"/v1/recommendations/{user}?k=1&after={click.partition}/{click.offset}"
        for process in processes:
            status, found = _get(process, path)

            assert (status, found["items"]) == (200, [ITEMS[number % 11 + 1]])
            assert found["seen"] == {"partition": click.partition, "offset": click.offset}

    for process in processes:
        assert _get(process, "/v1/recommendations/nobody?k=2")[1]["reason"] == "cold"

    processes[0].kill9()
    status, found = _get(processes[1], "/v1/recommendations/nobody")

    assert status == 503 or found["reason"] == "cold"

    def recovered() -> bool:
        answers = [_get(processes[1], f"/v1/recommendations/user-{user}?k=1") for user in range(8)]
        return all(status == 200 and found["reason"] == "model" for status, found in answers)

    eventually(recovered, 60, what="the other's users")


def test_an_idle_worker_answers_at_once(deployment: Deployment, worker: WorkerFactory) -> None:
    """It is not kept waiting by a poll for clicks: that would take a quarter of a second."""
    deployment.publish_successor()
    process = worker(deployment.settings())
    deployment.send_clicks(10)
    deployment.answers(at_least=10)
    began = time.monotonic()
    for _ in range(100):
        assert _get(process, "/v1/recommendations/user-3")[0] == 200
        assert _get(process, f"/v1/similar/{ITEMS[3]}")[0] == 200

    assert time.monotonic() - began < 200 * 0.05
