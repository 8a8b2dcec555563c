from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import suppress
from threading import Thread

import pytest

from trainer.training.interruption import STOPPING, noticed


@pytest.fixture(autouse=True)
def handler() -> Iterator[None]:
    """Ctrl-C raises, as at the start of a program; afterwards it is as it was."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def pressed(times: int) -> list[bool]:
    """Press Ctrl-C during a training; return after each press that did not raise whether it was noticed."""
    seen: list[bool] = []
    with suppress(KeyboardInterrupt), noticed() as event:
        for _ in range(times):
            signal.raise_signal(signal.SIGINT)
            seen.append(event.is_set())
    return seen


def test_the_first_ctrl_c_is_noticed_and_the_second_raises() -> None:
    """Nobody has to wait for the end of a step."""
    assert [pressed(times) for times in (0, 1, 2)] == [[], [True], [True]]


@pytest.mark.parametrize("times", [0, 1])
def test_afterwards_ctrl_c_raises_as_before(times: int) -> None:
    """Whether it came meanwhile or not."""
    pressed(times)

    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_the_first_ctrl_c_is_answered(capfd: pytest.CaptureFixture[str]) -> None:
    """A step may take seconds; the user must not think that nothing happens."""
    pressed(2)

    assert capfd.readouterr().err == STOPPING


def train() -> None:
    """Train to the end, without a look at the event: Ctrl-C came after the last step."""
    with noticed():
        signal.raise_signal(signal.SIGINT)


def test_a_ctrl_c_that_nobody_acted_on_is_not_lost() -> None:
    """It raises at the end."""
    with pytest.raises(KeyboardInterrupt):
        train()


def test_who_ignores_ctrl_c_still_ignores_it() -> None:
    """The process of a retraining does, and a program that the shell started in the background."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with noticed() as event:
        signal.raise_signal(signal.SIGINT)

        assert not event.is_set()
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def test_another_thread_changes_nothing() -> None:
    """Python lets only the main thread set handlers."""
    seen = []

    def train() -> None:
        with noticed() as event:
            seen.append((event.is_set(), signal.getsignal(signal.SIGINT)))

    thread = Thread(target=train)
    thread.start()
    thread.join()

    assert seen == [(False, signal.default_int_handler)]
