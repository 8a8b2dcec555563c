"""The live part of the demo: clicks at a steady speed, release steps in the meantime, and a display."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Final, Protocol

from deploy.demo.data import Click
from deploy.demo.errors import DemoError
from deploy.demo.life import Life
from deploy.demo.refresh import Step
from deploy.demo.replay import Pace
from deploy.demo.scoreboard import Scoreboard
from deploy.demo.view import Now, View

CLICKS_PER_SECOND: Final = 150.0

REFRESH_AFTER: Final = 0.2
"""Share of the clicks after which the second training starts."""

HOLD_AFTER: Final = 0.7
"""Maximum share of the clicks that are replayed before the second release serves; the remaining clicks
measure the second release."""

EXPERIMENT_AFTER: Final = 0.75
"""Maximum share of the clicks that are replayed before the A/B test, which needs the remaining clicks."""

SILENCE_SECONDS: Final = 30.0
"""Maximum time without a list while clicks are sent, in seconds."""

_LAST_ANSWERS_SECONDS: Final = 3.0


class Sender(Protocol):
    """A sender of clicks, such as `deploy.demo.replay.ClickSender`."""

    def send(self, click: Click) -> None:
        """Send a click."""

    def flush(self) -> None:
        """Wait until all sent clicks are in the topic."""


class LiveClicks:
    """Sends `clicks`. Once a fifth of the clicks are sent, it also runs the steps of `refresh`."""

    def __init__(
        self,
        life: Life,
        sender: Sender,
        scoreboard: Scoreboard,
        clicks: Sequence[Click],
        refresh: Iterator[Step],
    ) -> None:
        self._life = life
        self._sender = sender
        self._scoreboard = scoreboard
        self._clicks = clicks
        self._refresh = refresh
        self._refreshed = False
        self._step = Step("", learning=True)
        self._step_began = 0.0
        self._sent = 0
        self._answers_due = 0.0

    def run(self, view: View) -> None:
        """Send all clicks, and wait for the last lists. Raises DemoError, Interrupted."""
        pace = Pace(CLICKS_PER_SECOND)
        self._scoreboard.begin()
        while not (self._all_sent and self._refreshed):
            self._send(pace.due(held=self._held))
            if not self._refreshed and self._sent >= REFRESH_AFTER * len(self._clicks):
                self._take_step()
            self._check_answers()
            view.show(self._now)
            self._life.pause(0.004)
        self._sender.flush()
        self._wait_for_last_answers()

    @property
    def _held(self) -> bool:
        share = HOLD_AFTER if self._step.learning else EXPERIMENT_AFTER if self._step.preparing else 1.0
        return share < 1.0 and self._sent >= share * len(self._clicks)

    @property
    def _all_sent(self) -> bool:
        return self._sent == len(self._clicks)

    def _send(self, due: int) -> None:
        for click in self._clicks[self._sent : due]:
            self._scoreboard.clicked(click.user_id, click.item_id)
            self._sender.send(click)
            self._sent += 1

    def _take_step(self) -> None:
        step = next(self._refresh, None)
        self._refreshed = step is None
        step = step or Step("the second release serves")
        if step != self._step:
            self._step, self._step_began = step, time.monotonic()

    def _check_answers(self) -> None:
        now = time.monotonic()
        if self._held or self._all_sent or self._scoreboard.silence < SILENCE_SECONDS:
            self._answers_due = now + SILENCE_SECONDS
        if now > self._answers_due:
            raise DemoError(f"no recommendation arrived for {SILENCE_SECONDS:g} s.{self._life.last_words()}")

    def _now(self) -> Now:
        awaited = "second release" if self._step.learning else "A/B test"
        waiting = f"clicks wait for the {awaited}; " if self._held else ""
        return Now(
            self._scoreboard.figures(),
            len(self._clicks),
            waiting + self._step.doing,
            seconds_left=self._seconds_left,
            training=self._step.learning and bool(self._step.doing),
        )

    @property
    def _seconds_left(self) -> float:
        """Estimated seconds left: the larger of the time for the clicks and the time for the steps."""
        of_clicks = (len(self._clicks) - self._sent) / CLICKS_PER_SECOND
        of_step = self._step.seconds_left - (time.monotonic() - self._step_began)
        return max(of_clicks, of_step)

    def _wait_for_last_answers(self) -> None:
        deadline = time.monotonic() + _LAST_ANSWERS_SECONDS
        while self._scoreboard.unanswered and time.monotonic() < deadline:
            self._life.pause()
