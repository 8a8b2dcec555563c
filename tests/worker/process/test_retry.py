"""What follows a failure that may pass."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.worker.desk import StopByHand
from worker.errors import CheckpointFailed, KafkaAway, NotStable, SharedIdentity
from worker.process.retry import FENCED_TWICE_SECONDS, Retry
from worker.process.stop import StopNow


class Life:
    """A `Retry`, and what it did: how long it waited each time, and which reasons it gave."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.waits: list[float] = []
        self.reasons: list[str] = []
        self.stop = StopByHand(self._wait)
        self.counted: list[str] = []
        self.rival = ""
        self.retry = Retry(
            self.stop,
            steady=lambda: self.now,
            waiting=self.reasons.append,
            count=self.counted.append,
            rival=lambda: self.rival,
        )

    def fails(self, *errors: Exception) -> Callable[[], None]:
        """An action that fails with each of these, and then works."""
        left = [*errors]

        def action() -> None:
            if left:
                raise left.pop(0)

        return action

    def _wait(self, seconds: float) -> None:
        self.now += seconds
        self.waits.append(seconds)


def test_the_first_failure_is_not_waited_for() -> None:
    """The second and later ones are, the longer the more there were."""
    life = Life()
    for _ in range(9):
        life.retry.failed(KafkaAway("away"))
        life.retry.back_off()

    assert life.waits == [0.0, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 5.0, 5.0]
    assert life.reasons == ["away"] * 9


def test_a_success_begins_from_the_start() -> None:
    """What fails next fails for the first time."""
    life = Life()
    for _ in range(3):
        life.retry.failed(KafkaAway("away"))
        life.retry.back_off()
    life.retry.succeeded()
    life.retry.failed(KafkaAway("away"))
    life.retry.back_off()

    assert life.waits == [0.0, 0.1, 0.2, 0.0]


def test_an_action_is_repeated_until_it_is_done() -> None:
    """With a pause after each failure, and its reason."""
    life = Life()
    life.retry.until_done(life.fails(KafkaAway("one"), KafkaAway("two")))

    assert life.waits == [0.1, 0.2]
    assert life.reasons == ["one", "two"]


def test_every_failure_is_counted_with_its_reason() -> None:
    """Those of an action that is repeated, and those of the loop."""
    life = Life()
    life.retry.until_done(life.fails(KafkaAway("one"), NotStable("two")))
    life.retry.failed(CheckpointFailed("late", reason="timeout"))

    assert life.counted == ["kafka_away", "not_stable", "timeout"]


def test_what_cannot_pass_is_raised() -> None:
    """Nobody waits for it."""
    life = Life()
    with pytest.raises(ZeroDivisionError):
        life.retry.until_done(life.fails(ZeroDivisionError()))

    assert life.waits == []


@pytest.mark.parametrize("how", ["until_done", "back_off"])
def test_a_stop_ends_the_waiting(how: str) -> None:
    """Whoever waits when a stop is asked for does so no longer."""
    life = Life()
    life.stop.request()
    ways = {
        "until_done": lambda: life.retry.until_done(life.fails(KafkaAway("away"))),
        "back_off": life.retry.back_off,
    }

    with pytest.raises(StopNow):
        ways[how]()


def test_fenced_twice_within_a_minute_is_a_shared_identity() -> None:
    """With what to do about it; another failure between both changes nothing."""
    life = Life()
    life.rival = "at elsewhere"
    life.retry.failed(CheckpointFailed("fenced", reason="fenced"))
    life.now += FENCED_TWICE_SECONDS - 1
    life.retry.failed(CheckpointFailed("refused"))
    life.retry.succeeded()

    with pytest.raises(SharedIdentity, match="give each worker of a group a different worker_id"):
        life.retry.failed(CheckpointFailed("fenced", reason="fenced"))


def test_fenced_twice_by_nobody_is_a_failure_like_others() -> None:
    """As where transactions took too long, twice: a broker was frozen, and then another one."""
    life = Life()
    for _ in range(3):
        life.retry.failed(CheckpointFailed("fenced", reason="fenced"))
        life.retry.back_off()

    assert life.waits == [0.0, 0.1, 0.2]


def test_fenced_once_a_minute_is_none() -> None:
    """As where the process was frozen."""
    life = Life()
    life.rival = "at elsewhere"
    for _ in range(3):
        life.retry.failed(CheckpointFailed("fenced", reason="fenced"))
        life.now += FENCED_TWICE_SECONDS
