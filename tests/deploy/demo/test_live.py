from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Self

import pytest

from deploy.demo import live
from deploy.demo.data import Click
from deploy.demo.errors import DemoError
from deploy.demo.life import Life
from deploy.demo.live import EXPERIMENT_AFTER, HOLD_AFTER, REFRESH_AFTER, LiveClicks
from deploy.demo.refresh import Step
from deploy.demo.scoreboard import Answer, Scoreboard
from deploy.demo.view import Now

CLICKS = [Click(f"user-{number % 3}", str(number), number) for number in range(30)]


class AnsweringSender:
    """In place of Kafka and worker: every click is answered at once, by release 1."""

    def __init__(self, scoreboard: Scoreboard) -> None:
        self._scoreboard = scoreboard
        self.sent: list[Click] = []

    def send(self, click: Click) -> None:
        """Answer it."""
        self.sent.append(click)
        self._scoreboard.recommended(Answer(click.user_id, click.item_id, (), 1))

    def flush(self) -> None:
        """There is nothing on its way."""


class SilentSender(AnsweringSender):
    """In place of a worker that hangs."""

    def send(self, click: Click) -> None:
        """Take it, that is all."""
        self.sent.append(click)


class Watching:
    """A view that keeps what it was told last."""

    now: Now

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def show(self, now: Callable[[], Now]) -> None:
        """Keep it."""
        self.now = now()

    def note(self, text: str) -> None:
        """Nobody reads it."""


def board() -> Scoreboard:
    """One that knows release 1."""
    scoreboard = Scoreboard([], time.monotonic)
    scoreboard.learned(1, [])
    return scoreboard


def test_all_clicks_are_sent_in_their_order() -> None:
    """And the view sees the end of the refresh."""
    scoreboard, view = board(), Watching()
    sender = AnsweringSender(scoreboard)
    with Life() as life:
        LiveClicks(life, sender, scoreboard, CLICKS, iter([])).run(view)

    assert sender.sent == CLICKS
    assert view.now.doing == "the second release serves"


def test_the_refresh_begins_after_a_share_of_the_clicks_and_holds_the_last_ones_back() -> None:
    """However long the training takes, clicks are left for the release that it makes."""
    scoreboard = board()
    sender = AnsweringSender(scoreboard)
    at_step: list[int] = []

    def refresh() -> Iterator[Step]:
        for _ in range(100):
            at_step.append(len(sender.sent))
            yield Step("learning", learning=True)
        yield Step("restarting")

    with Life() as life:
        LiveClicks(life, sender, scoreboard, CLICKS, refresh()).run(Watching())

    assert at_step[0] >= REFRESH_AFTER * len(CLICKS)
    assert HOLD_AFTER * len(CLICKS) <= at_step[-1] < len(CLICKS)
    assert sender.sent == CLICKS


def test_clicks_are_kept_for_the_experiment() -> None:
    """However slow the machine is before it, the last quarter is left for the A/B test."""
    scoreboard = board()
    sender = AnsweringSender(scoreboard)
    at_step: list[int] = []

    def refresh() -> Iterator[Step]:
        for _ in range(100):
            at_step.append(len(sender.sent))
            yield Step("rolling back", preparing=True)
        yield Step("A/B test")

    with Life() as life:
        LiveClicks(life, sender, scoreboard, CLICKS, refresh()).run(Watching())

    assert EXPERIMENT_AFTER * len(CLICKS) <= at_step[-1] < len(CLICKS)
    assert sender.sent == CLICKS


def test_no_answer_for_long_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """The demo does not go on as if nothing were."""
    monkeypatch.setattr(live, "SILENCE_SECONDS", 0.05)
    scoreboard = board()
    with Life() as life, pytest.raises(DemoError, match="no recommendation arrived"):
        LiveClicks(life, SilentSender(scoreboard), scoreboard, CLICKS * 10, iter([])).run(Watching())


def test_steps_go_on_when_all_clicks_are_sent() -> None:
    """The replay ends with the later of both, and nobody misses answers to clicks that are not sent."""
    scoreboard, view, steps = board(), Watching(), list[int]()

    def refresh() -> Iterator[Step]:
        for number in range(200):
            steps.append(number)
            yield Step("trying a candidate")

    with Life() as life:
        LiveClicks(life, AnsweringSender(scoreboard), scoreboard, CLICKS, refresh()).run(view)

    assert len(steps) == 200
