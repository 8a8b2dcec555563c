"""More clicks than can be read in time, on a machine of any speed: sized by the speed that was measured."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Final

from tests.benchmarks.clicks import USERS, Draw, clicks

GUESS: Final = 20_000.0
"""Clicks per second, before anything is measured. It need not be right: what is outrun is run again."""

MARGIN: Final = 1.5

Send = Callable[[str, Iterator[tuple[bytes, bytes]]], None]
"""Sends records to a topic, and returns when they are acknowledged."""


class Pace:
    """The speed of the fastest reader so far."""

    def __init__(self) -> None:
        self._guessed = True
        self.clicks_per_second = GUESS

    def saw(self, clicks_per_second: float) -> None:
        """Note a speed that was measured. It takes the place of a guess, or of a slower one."""
        fastest = 0.0 if self._guessed else self.clicks_per_second
        self.clicks_per_second = max(fastest, clicks_per_second)
        self._guessed = False

    def outrun(self) -> None:
        """Note that a reader came to the end of its clicks: guess that it is twice as fast."""
        self.clicks_per_second *= 2
        self._guessed = True

    def clicks(self, seconds: float) -> int:
        """Return a number of clicks that takes any reader longer than that."""
        return math.ceil(MARGIN * self.clicks_per_second * seconds)

    def patience_seconds(self, clicks: int) -> float:
        """Return how long a reader of that many clicks may take before something must be wrong."""
        return 60 + 10 * clicks / self.clicks_per_second


class Backlog:
    """A topic with clicks of Zipf users that are sent before they are read, never meanwhile."""

    def __init__(
        self, send: Send, topic: str, *, items: int, users: int = USERS, draw: Draw = clicks
    ) -> None:
        self.topic = topic
        self.number = 0
        """How many clicks were sent so far."""
        self._send, self._items, self._users, self._draw = send, items, users, draw
        self._fills = 0

    def fill(self, unread: int, *, read: int = 0) -> None:
        """Send what is missing for `unread` clicks behind the first `read` of them."""
        missing = read + unread - self.number
        if missing > 0:
            self._send(self.topic, self._draw(self._items, missing, users=self._users, seed=self._fills))
            self._fills += 1
            self.number += missing
