"""Passing requests on: from any worker to the worker that serves the user's partition.

The members of the group publish their addresses (`http.advertised`), and the group says which partitions each
has. The partition of a user depends on the producer's partitioner, which a worker cannot know. So the first
request for a user asks all other workers at once. The answer says the partition, and later requests for the
user go to its owner alone. A request is passed on once.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final, NamedTuple

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

_AGAIN_SECONDS: Final = 0.5
"""The minimum time between two questions about owners."""

_HOMES: Final = 1 << 16
"""Maximum number of users whose partition is remembered: about 10 MB."""

_CLIENTS: Final = 128
"""Maximum number of requests that are passed on at the same time."""

Owners = Mapping[int, str]
"""By partition: the address of the worker that serves it."""


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

    `own`: the address of this worker. `seconds`: the time limit of a request. For one event loop.
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
        self._looking = asyncio.Lock()
        self._homes: dict[str, int] = {}
        """By user: the partition that had the user's state."""
        self._client: AsyncHTTPClient | None = None

    async def ask(
        self, user_id: str, path: str, headers: Mapping[str, str], *, partition: int | None = None
    ) -> list[Reply]:
        """Return the replies of the other workers that may serve a user, or `partition`, to GET `path`."""
        home = self._homes.get(user_id) if partition is None else partition
        owners = await self._current(OWNERS_SECONDS)
        replies = list[Reply]()
        if home is not None:
            replies = await self._get({owners.get(home, "")}, path, headers)
        if not any(reply.status in (200, 409) for reply in replies):
            # The partition may have moved, or the user.
            owners = await self._current(_AGAIN_SECONDS)
            addresses = set(owners.values()) if partition is None else {owners.get(partition, "")}
            replies = await self._get(addresses, path, headers)
        for reply in replies:
            seen = reply.document.get("seen") if reply.status == 200 else None
            if isinstance(seen, dict) and isinstance(seen.get("partition"), int):
                self._remember(user_id, seen["partition"])
        return replies

    def _remember(self, user_id: str, partition: int) -> None:
        self._homes.pop(user_id, None)
        self._homes[user_id] = partition
        if len(self._homes) > _HOMES:
            del self._homes[next(iter(self._homes))]

    async def _current(self, seconds: float) -> Owners:
        """Return the owners of partitions, at most `seconds` old."""
        async with self._looking:
            if self._steady() - self._looked_at >= seconds:
                self._owners = await asyncio.to_thread(self._look_up)
                self._looked_at = self._steady()
        return self._owners

    async def _get(self, addresses: Collection[str], path: str, headers: Mapping[str, str]) -> list[Reply]:
        others = sorted(address for address in addresses if address and address != self._own)
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
