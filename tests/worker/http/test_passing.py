"""The memory of owners and of users' partitions."""

from __future__ import annotations

import asyncio
import socket
import threading

from worker.http import passing
from worker.http.passing import NOBODY_SECONDS, OWNERS_SECONDS, Owners, Passing, Reply


class _Group:
    """A group whose owners are looked up; the addresses lead nowhere."""

    def __init__(self) -> None:
        self.now, self.looked = 0.0, 0
        self.owners: Owners = {0: "http://127.0.0.1:1"}
        self.passing = Passing(self._look_up, own="", seconds=5, steady=lambda: self.now)

    def _look_up(self) -> Owners:
        self.looked += 1
        return self.owners


def test_owners_are_looked_up_again_if_the_one_that_is_known_fails() -> None:
    """But not for each of many failures, nor for a user whose owner is not known."""
    group, looked = _Group(), list[int]()

    async def ask() -> None:
        for now, partition in ((0.0, None), (0.4, 0), (0.6, None), (0.6, 0), (0.7, 0), (1.2, 0)):
            group.now = now
            await group.passing.ask("ada", "/", {}, partition=partition)
            looked.append(group.looked)

    asyncio.run(ask())

    assert looked == [1, 1, 1, 2, 2, 3]


def test_owners_are_looked_up_after_a_while() -> None:
    """Until then the old ones are asked; and if Kafka does not answer, after that as well."""
    group = _Group()

    async def ask() -> None:
        await group.passing.ask("ada", "/", {})
        group.now, group.owners = OWNERS_SECONDS, {}
        for _ in range(2):
            assert await group.passing.ask("ada", "/", {}) == [Reply(0, b"")]

            assert group.passing._looking is not None
            await group.passing._looking

    asyncio.run(ask())

    assert group.looked == 2


def test_a_request_is_not_kept_waiting_by_kafka() -> None:
    """It has one time limit; all requests share one look-up, which goes on after that."""
    over, looked = threading.Event(), list[int]()

    def look_up() -> Owners:
        looked.append(1)
        over.wait()
        return {}

    async def ask() -> list[list[Reply]]:
        passing = Passing(look_up, own="", seconds=0.05)
        try:
            return [*await asyncio.gather(*(passing.ask("ada", "/", {}) for _ in range(3)))]
        finally:
            over.set()

    assert asyncio.run(ask()) == [[], [], []]
    assert looked == [1]


def test_a_user_without_a_state_is_remembered_for_a_moment() -> None:
    """Then the state may have come."""
    group = _Group()
    group.passing.remember_nobody("eve")

    assert (group.passing.nobody("eve"), group.passing.nobody("ada")) == (True, False)

    group.now = NOBODY_SECONDS

    assert not group.passing.nobody("eve")


def test_what_is_remembered_of_users_does_not_pile_up() -> None:
    """The longest unused are forgotten."""
    homes = dict[str, int]()
    for number in range(passing._REMEMBERED + 10):
        passing._remember(homes, f"user-{number}", 0)
    passing._remember(homes, "user-11", 1)
    passing._remember(homes, "new", 0)

    assert len(homes) == passing._REMEMBERED
    assert homes["user-11"] == 1
    assert "user-10" not in homes


def test_a_reply_that_is_no_object_has_an_empty_one() -> None:
    """Something else may listen at an address."""
    assert Reply(200, b"<html>").document == Reply(200, b"[1]").document == Reply(0, b"").document == {}
    assert Reply(200, b'{"a": 1}').document == {"a": 1}


def test_a_worker_that_does_not_answer_in_time_has_no_reply() -> None:
    """Nor does one that ends the connection in the middle of its answer."""

    async def break_off(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{")
        writer.close()
        await writer.wait_closed()

    async def ask() -> list[Reply]:
        server = await asyncio.start_server(break_off, "127.0.0.1", 0)
        async with server:
            with socket.create_server(("127.0.0.1", 0)) as silent:
                ports = [one.getsockname()[1] for one in (server.sockets[0], silent)]
                owners = {number: f"http://127.0.0.1:{port}" for number, port in enumerate(ports)}
                return await Passing(lambda: owners, own="", seconds=0.2).ask("ada", "/", {})

    assert asyncio.run(ask()) == [Reply(0, b""), Reply(0, b"")]
