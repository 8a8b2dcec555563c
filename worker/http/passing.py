"""Passing requests on: from any worker to the worker that serves the user's partition.

The members of the group publish their addresses (`http.advertised`), and the group says which partitions each
has. The partition of a user depends on the producer's partitioner, which a worker cannot know. So the first
request for a user asks all other workers at once. The answer says the partition, and later requests for the
user go to its owner alone. A request is passed on once.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, NamedTuple, TypeVar

import orjson
from tornado.httpclient import AsyncHTTPClient, HTTPError, HTTPRequest
from tornado.simple_httpclient import SimpleAsyncHTTPClient

PASSED: Final = "Nextclick-Passed"
"""The header of a request that another worker has passed on."""

OWNERS_SECONDS: Final = 5.0
"""The time for which the owners of partitions are believed, unless an owner says otherwise."""

CONNECT_SECONDS: Final = 0.5
"""Time limit for a connection to another worker."""

_REPLY_PART: Final = 0.9
"""The part of the time limit after which another worker's reply is not waited for."""

NOBODY_SECONDS: Final = 2.0
"""The time for which a user without a state is believed to have none."""

_AGAIN_SECONDS: Final = 0.5
"""The minimum time between two questions about owners."""

_REMEMBERED: Final = 1 << 16
"""Maximum number of users whose partition is remembered, and of users without a state: about 10 MB each."""

_CLIENTS: Final = 128
"""Maximum number of requests that are passed on at the same time."""

Owners = Mapping[int, str]
"""By partition: the address of the worker that serves it."""


_Value = TypeVar("_Value", int, float)


class Reply(NamedTuple):
    """The reply of another worker; status 0 if there was none in time."""

    status: int
    body: bytes

    @property
    def document(self) -> dict[str, Any]:
        """The reply as a JSON object; empty if it is none."""
        try:
            found = orjson.loads(self.body)
        except orjson.JSONDecodeError:
            return {}
        return found if isinstance(found, dict) else {}


class Passing:
    """Asks the owners of partitions. `look_up` returns them; it may block, and is called in a thread.

    `own`: the address of this worker. `seconds`: the time limit of `ask`. For one event loop.
    """

    def __init__(
        self,
        look_up: Callable[[], Owners],
        *,
        own: str,
        seconds: float,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        self._look_up = look_up
        self._own = own
        self._seconds = seconds
        self._steady = steady
        self._owners: Owners = {}
        self._looked_at = -OWNERS_SECONDS
        self._looking: asyncio.Task[None] | None = None
        self._homes: dict[str, int] = {}
        """By user: the partition that had the user's state."""
        self._nobodies: dict[str, float] = {}
        """By user without a state: until when that is believed."""
        self._client: AsyncHTTPClient | None = None

    async def ask(
        self, user_id: str, path: str, headers: Mapping[str, str], *, partition: int | None = None
    ) -> list[Reply]:
        """Return the replies of the other workers that may serve a user, or `partition`, to GET `path`.

        Returns none if the time is over.
        """
        try:
            replies = await asyncio.wait_for(self._ask(user_id, path, headers, partition), self._seconds)
        except TimeoutError:
            return []
        for reply in replies:
            seen = reply.document.get("seen") if reply.status == 200 else None
            if isinstance(seen, dict) and isinstance(seen.get("partition"), int):
                _remember(self._homes, user_id, seen["partition"])
        return replies

    def nobody(self, user_id: str) -> bool:
        """Return whether no worker had a state of the user a moment ago."""
        return self._steady() < self._nobodies.get(user_id, -math.inf)

    def remember_nobody(self, user_id: str) -> None:
        """Believe for `NOBODY_SECONDS` that no worker has a state of the user."""
        _remember(self._nobodies, user_id, self._steady() + NOBODY_SECONDS)

    async def _ask(
        self, user_id: str, path: str, headers: Mapping[str, str], partition: int | None
    ) -> list[Reply]:
        owners = await self._known()
        home = self._homes.get(user_id) if partition is None else partition
        if home is None:
            return await self._get(owners.values(), path, headers)
        replies = await self._get([owners.get(home, "")], path, headers)
        if any(reply.status in (200, 409) for reply in replies):
            return replies
        # The partition may have moved, or the user.
        owners = await self._current()
        addresses = owners.values() if partition is None else [owners.get(partition, "")]
        return await self._get(addresses, path, headers)

    async def _known(self) -> Owners:
        """Return the owners of partitions; if they are old, they are looked up for later requests."""
        if self._steady() - self._looked_at >= OWNERS_SECONDS:
            looking = self._look()
            if not self._owners:
                await asyncio.shield(looking)
        return self._owners

    async def _current(self) -> Owners:
        """Return the owners of partitions, looked up now, unless that was just done."""
        if self._steady() - self._looked_at >= _AGAIN_SECONDS:
            await asyncio.shield(self._look())
        return self._owners

    def _look(self) -> asyncio.Task[None]:
        """Return the look-up of the owners that is under way, or begin one."""
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look_them_up())
        return self._looking

    async def _look_them_up(self) -> None:
        # Without an answer from Kafka, the owners are the same for all that is known.
        self._owners = await asyncio.to_thread(self._look_up) or self._owners
        self._looked_at = self._steady()

    async def _get(self, addresses: Iterable[str], path: str, headers: Mapping[str, str]) -> list[Reply]:
        others = sorted({*addresses} - {"", self._own})
        return [*await asyncio.gather(*(self._get_one(address + path, headers) for address in others))]

    async def _get_one(self, url: str, headers: Mapping[str, str]) -> Reply:
        if self._client is None:
            # Not the client that the event loop shares: it would make only ten requests at a time.
            self._client = SimpleAsyncHTTPClient(force_instance=True, max_clients=_CLIENTS)
        request = HTTPRequest(
            url,
            headers={**headers, PASSED: "1"},
            connect_timeout=CONNECT_SECONDS,
            request_timeout=self._seconds * _REPLY_PART,
            follow_redirects=False,
        )
        try:
            response = await self._client.fetch(request, raise_error=False)
        except (HTTPError, OSError, ValueError):
            # Even without `raise_error`, the client raises its own errors, such as a time-out.
            return Reply(0, b"")
        return Reply(response.code, response.body or b"")


def _remember(users: dict[str, _Value], user_id: str, value: _Value) -> None:
    """Put a user last; forget the first one if there are too many."""
    users.pop(user_id, None)
    users[user_id] = value
    if len(users) > _REMEMBERED:
        del users[next(iter(users))]
