from __future__ import annotations

import os
import signal
from typing import Any

import pytest

from tests.builders import successor_release_parts
from tests.trainer.builders import NOW, cyclic_clicks
from trainer.continuous.plan import Window
from trainer.continuous.strategies import Strategy
from trainer.continuous.subprocess_runner import InSubprocess
from trainer.errors import TooFewClicks, TrainingDied
from trainer.release.package import PackagedRelease

MANIFEST, BLOB = successor_release_parts()
# As it comes from the releases topic.
CHAMPION = PackagedRelease.verified(MANIFEST, memoryview(BLOB), number=7)


class Unchanged:
    """Returns the champion."""

    def train(self, clicks: Any, span: Any, champion: PackagedRelease | None, now: Any) -> PackagedRelease:
        """As `Strategy` says."""
        assert champion
        return champion

    def finish(self, clicks: Any, span: Any, measured: PackagedRelease, now: Any) -> PackagedRelease:
        """As `Strategy` says."""
        return measured.with_training(finished=True)


class Refusing:
    """Finds too few clicks."""

    def train(self, *arguments: Any) -> PackagedRelease:
        """As `Strategy` says."""
        raise TooFewClicks("no session begins before the hold-out")

    finish = train


class Dying:
    """Is killed."""

    def train(self, *arguments: Any) -> PackagedRelease:
        """As `Strategy` says."""
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError

    finish = train


class Faulty:
    """Has a fault: no later run would make anything else."""

    def train(self, *arguments: Any) -> PackagedRelease:
        """As `Strategy` says."""
        raise ZeroDivisionError

    finish = train


def trained(strategy: Strategy) -> PackagedRelease:
    """Return what the strategy trains in a process of its own."""
    return InSubprocess(strategy).train(cyclic_clicks(4).lazy(), Window(0, 1, 2), CHAMPION, NOW)


@pytest.mark.slow  # starts four processes that load TensorFlow
def test_a_training_in_a_subprocess_ends_as_it_would_here() -> None:
    """With the same release, with an error of ours, or with the news that it died."""
    assert trained(Unchanged()).parts == CHAMPION.parts
    window = Window(0, 1, 2)
    finished = InSubprocess(Unchanged()).finish(cyclic_clicks(4).lazy(), window, CHAMPION, NOW)
    assert finished.manifest.training["finished"] is True
    with pytest.raises(TooFewClicks, match="no session begins before"):
        trained(Refusing())
    with pytest.raises(TrainingDied, match="killed by signal 9"):
        trained(Dying())
    with pytest.raises(RuntimeError, match="ended with exit code 1"):
        trained(Faulty())
