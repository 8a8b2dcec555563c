"""The memory of owners and of users' partitions."""

from __future__ import annotations

import asyncio
import socket

from worker.http import passing
from worker.http.passing import OWNERS_SECONDS, Owners, Passing, Reply


class _Group:
    """A group whose owners are looked up; the addresses lead nowhere."""

    def __init__(self) -> None:
        self.now, self.looked = 0.0, 0
        self.passing = Passing(self._look_up, own="", seconds=0.1, steady=lambda: self.now)

    def _look_up(self) -> Owners:
        self.looked += 1
        return {0: "http://127.0.0.1:1"}


def test_owners_are_looked_up_when_they_may_have_changed() -> None:
    """After a while, and after a failure; but not for each of many failures."""
    group = _Group()

    async def ask() -> None:
        await group.passing.ask("ada", "/", {})

    asyncio.run(ask())

    assert group.looked == 1

    group.now = 0.4
    asyncio.run(ask())

    assert group.looked == 1

    group.now = 0.6
    asyncio.run(ask())

    assert group.looked == 2

    group.now = 0.6 + OWNERS_SECONDS
    asyncio.run(ask())

    assert group.looked == 3


def test_the_partitions_of_users_do_not_pile_up() -> None:
    """The longest unused are forgotten."""
    one = Passing(dict, own="", seconds=1)
    for number in range(passing._HOMES + 10):
        one._remember(f"user-{number}", 0)
    one._remember("user-11", 1)
    one._remember("new", 0)

    assert len(one._homes) == passing._HOMES
    assert one._homes["user-11"] == 1
    assert "user-10" not in one._homes


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
