"""While clicks go on: learn from the topic, publish a new release, have the worker take it up."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from deploy.demo.errors import DemoError
from deploy.demo.life import Process
from deploy.demo.scoreboard import Scoreboard
from deploy.demo.stage import Stage
from deploy.kafka.local import tail


class Step(NamedTuple):
    """What is being done. `learning`: until it is over, no list can come from the new release."""

    doing: str
    learning: bool = False


class Refresh:
    """The second release. `steps` is to be called on while the clicks are replayed; it never waits itself."""

    def __init__(self, stage: Stage, scoreboard: Scoreboard) -> None:
        self._stage = stage
        self._scoreboard = scoreboard

    def steps(self, folder: Path, options: Sequence[str], *, release: int) -> Iterator[Step]:
        """What is being done, again and again until lists by `release` come. Raises DemoError."""
        popular = self._scoreboard.popular
        training = self._stage.start_training(folder, options, shown=False)
        training.lower_priority()
        while _runs(training):
            yield Step(f"learning from the topic: {training.last_line or 'starting'}", learning=True)
        publishing = self._stage.start_publishing(folder)
        while _runs(publishing):
            yield Step("publishing the new release", learning=True)
        self._scoreboard.learned(release, popular)
        while self._scoreboard.newest_release < release:
            yield Step("the worker takes the new release up while it serves")


def _runs(process: Process) -> bool:
    if process.exit_code:
        raise DemoError(f"{process.name} failed (exit code {process.exit_code}).\n{tail(process.log)}")
    return process.exit_code is None
