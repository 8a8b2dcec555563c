"""Requests for lists over HTTP, from the worker that has the state or from another one."""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.client import HTTPConnection
from typing import Any

import pytest

from tests.worker.http.asking import Server
from worker.core.asking import Query
from worker.http.lists import SWITCH_SECONDS
from worker.http.passing import Passing
from worker.http.questions import Answer, ForUser, Question, Similar

TOKEN = "a-token-of-the-test"


class Worker:
    """A worker that serves one partition: it knows one user."""

    def __init__(self, life: ExitStack, number: int, workers: list[Worker], *, of: int) -> None:
        self.number, self.partitions = number, of
        self.serves = [number]
        self.server = Server()
        self.server.passing = Passing(
            lambda: {worker.number: worker.address for worker in workers if worker.serves},
            own=f"own-{number}",
            seconds=5,
        )
        life.enter_context(self.server.listening(token=TOKEN))
        self.asked = life.enter_context(self.server.answering(self.answer))

    @property
    def address(self) -> str:
        """Its URL."""
        return f"http://127.0.0.1:{self.server.port}"

    def answer(self, question: Question) -> Answer:
        """Answer as the loop does."""
        assert isinstance(question, ForUser)
        if question.unknown:
            return 200, {"items": ["popular"], "seen": None}
        at = question.after[0] if question.after else int(question.user_id.removeprefix("user-"))
        if at not in self.serves:
            return 404, {"serves": self.serves, "partitions": self.partitions, "not_ready": ""}
        if question.after and question.after[1] > 9:
            return 409, {"error": "not yet", "position": 10}
        return 200, {"items": [f"of {self.number}"], "seen": {"partition": at, "offset": 9}}

    def get(self, path: str, **headers: str) -> tuple[int, Any]:
        """Status and document."""
        status, _, body = self.server.get(path, Authorization=f"Bearer {TOKEN}", **headers)
        return status, json.loads(body)


@contextmanager
def _group(count: int, *, partitions: int | None = None) -> Iterator[list[Worker]]:
    workers = list[Worker]()
    with ExitStack() as life:
        for number in range(count):
            workers.append(Worker(life, number, workers, of=partitions or count))
        yield workers


def test_a_request_is_a_question_to_the_loop(server: Server) -> None:
    """With all its parameters; the id is that of the path."""
    with server.answering((200, {"items": []})) as asked:
        server.get("/v1/recommendations/a%2Fb?k=3&only=x&after=2/7&explain=1")
        server.get("/v1/recommendations/ada")
        status, kind, body = server.get("/v1/similar/lamp%20a?k=4&without=y,z")

    assert (status, kind, json.loads(body)) == (200, "application/json", {"items": []})
    assert asked == [
        ForUser("a/b", Query(3, only=("x",)), after=(2, 7), explain=True),
        ForUser("ada", Query(20)),
        Similar("lamp a", Query(4, without=("y", "z"))),
    ]


@pytest.mark.parametrize("path", ["/v1/recommendations/ada?k=0", "/v1/similar/lamp?after=1/2"])
def test_a_bad_parameter_is_400(server: Server, path: str) -> None:
    """With the reason; nobody is asked."""
    with server.answering((200, {})) as asked:
        status, _, body = server.get(path)

    assert (status, asked) == (400, [])
    assert "must be" in json.loads(body)["error"] or "unknown" in json.loads(body)["error"]


@pytest.mark.parametrize("path", ["/v1/recommendations/ada", "/v1/similar/lamp"])
def test_lists_need_the_token(path: str) -> None:
    """As the states of users do."""
    server = Server()
    with server.listening(token=TOKEN), server.answering((200, {})):
        assert server.get(path)[0] == 401
        assert server.get(path, Authorization=f"Bearer {TOKEN}")[0] == 200


def test_a_connection_has_many_requests_for_lists(server: Server) -> None:
    """Opening one for each would take longer than the answer; a request for something else ends it."""
    connection = HTTPConnection(server.host, server.port, timeout=10)
    with server.answering((200, {"items": []})):
        for _ in range(30):
            connection.request("GET", "/v1/recommendations/ada")
            response = connection.getresponse()
            assert (response.status, json.loads(response.read())) == (200, {"items": []})
            assert response.headers["Connection"] is None
        opened = connection.sock
        connection.request("GET", "/livez")
        response = connection.getresponse()
        response.read()

    assert response.headers["Connection"] == "close"
    assert opened is not None
    connection.close()


def test_threads_take_turns_more_often_once_a_list_was_asked_for(server: Server) -> None:
    """Only then: nothing else needs it."""
    sys.setswitchinterval(0.005)
    with server.answering((200, {})):
        server.get("/v1/users/ada")
        before = sys.getswitchinterval()
        server.get("/v1/recommendations/ada")

    assert (before, sys.getswitchinterval()) == pytest.approx((0.005, SWITCH_SECONDS))


def test_answers_are_timed(server: Server) -> None:
    """By path, whatever their status."""
    with server.answering((200, {})):
        server.get("/v1/recommendations/ada")
        server.get("/v1/recommendations/ada?k=0")
        server.get("/v1/similar/lamp")
        server.get("/v1/users/ada")

    def count(path: str) -> float | None:
        return server.metrics.registry.get_sample_value("nextclick_http_answer_seconds_count", {"path": path})

    assert (count("/v1/recommendations"), count("/v1/similar"), count("/v1/users")) == (2, 1, None)


def test_a_worker_that_does_not_answer_in_time_says_when_to_try_again(server: Server) -> None:
    """503 with Retry-After."""
    connection = HTTPConnection(server.host, server.port, timeout=10)
    connection.request("GET", "/v1/recommendations/ada")
    response = connection.getresponse()

    assert (response.status, response.headers["Retry-After"]) == (503, "1")
    connection.close()


def test_any_worker_answers_for_any_user() -> None:
    """It passes the request on, once, with its parameters and the token."""
    with _group(3) as workers:
        for worker in workers:
            for number in range(3):
                status, document = worker.get(f"/v1/recommendations/user-{number}?k=7")
                assert (status, document["items"]) == (200, [f"of {number}"])

        assert {question.query.k for worker in workers for question in _lists(worker)} == {7}


def _lists(worker: Worker) -> list[ForUser]:
    return [question for question in worker.asked if isinstance(question, ForUser)]


def test_the_owner_of_a_user_is_remembered() -> None:
    """Others are not asked again; and if the partition moves, its new owner is found."""
    with _group(3) as workers:
        workers[0].get("/v1/recommendations/user-1")
        before = len(workers[2].asked)
        workers[0].get("/v1/recommendations/user-1")

        assert len(workers[2].asked) == before
        assert len(workers[1].asked) == 2

        workers[1].serves, workers[2].serves = [], [2, 1]

        assert workers[0].get("/v1/recommendations/user-1") == (
            200,
            {"items": ["of 2"], "seen": {"partition": 1, "offset": 9}},
        )


def test_a_user_whom_no_worker_knows_gets_popular_items() -> None:
    """Only if all partitions were asked about, which is remembered for a moment."""
    with _group(2) as workers:
        for _ in range(3):
            assert workers[0].get("/v1/recommendations/user-7") == (200, {"items": ["popular"], "seen": None})

        assert len(workers[1].asked) == 1

        workers[1].serves = []
        status, document = workers[0].get("/v1/recommendations/user-8")

    assert status == 503
    assert "serves partitions 1 now" in document["error"]


def test_a_click_to_wait_for_names_its_owner() -> None:
    """Only that worker is asked; its refusal is handed on."""
    with _group(3) as workers:
        assert workers[0].get("/v1/recommendations/ada?after=2/9")[0] == 200
        assert workers[0].get("/v1/recommendations/ada?after=2/10") == (
            409,
            {"error": "not yet", "position": 10},
        )
        assert workers[1].asked == []

        status, document = workers[0].get("/v1/recommendations/ada?after=5/1")

    assert (status, "serves partition 5 now" in document["error"]) == (503, True)


def test_a_request_is_passed_on_once() -> None:
    """A worker that was asked by another one asks nobody."""
    with _group(2) as workers:
        status, document = workers[0].get("/v1/recommendations/user-1", **{"Nextclick-Passed": "1"})

        assert (status, document["serves"]) == (404, [0])
        assert workers[1].asked == []


def test_without_addresses_nobody_is_asked() -> None:
    """The client may try again, and reach another worker."""
    server = Server()
    with server.listening(), server.answering((404, {"serves": [0], "partitions": 2, "not_ready": ""})):
        status, _, body = server.get("/v1/recommendations/eve")

    assert (status, "http.advertised" in body) == (503, True)


@pytest.mark.parametrize("gone", [True, False])
def test_a_worker_that_is_gone_or_frozen_is_not_waited_for(gone: bool) -> None:
    """503: at once if its address leads nowhere, in time if nobody answers there."""
    server = Server()
    with socket.create_server(("127.0.0.1", 0)) as frozen:
        address = f"http://127.0.0.1:{1 if gone else frozen.getsockname()[1]}"
        server.passing = Passing(lambda: {1: address}, own="", seconds=5 if gone else 0.2)
        with server.listening(), server.answering((404, {"serves": [0], "partitions": 2, "not_ready": ""})):
            status, _, body = server.get("/v1/recommendations/eve")

    assert (status, "serves partitions 1 now" in body) == (503, True)


@pytest.mark.parametrize("token", [None, "another-token-of-the-test"])
def test_a_worker_with_another_token_is_named_as_the_reason(token: str | None) -> None:
    """A worker that needs no token hands on none: that of a client may be for somebody else."""
    server, other = Server(), Server()
    elsewhere = 404, {"serves": [0], "partitions": 2, "not_ready": ""}
    with other.listening(token=lambda: TOKEN), server.answering(elsewhere):
        server.passing = Passing(lambda: {1: f"http://127.0.0.1:{other.port}"}, own="", seconds=5)
        with server.listening(token=token):
            found, _, body = server.get("/v1/recommendations/eve", Authorization=f"Bearer {token or TOKEN}")

    assert found == 503
    assert "a worker refused the request with 401; set the same http.token" in body
