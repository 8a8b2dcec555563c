"""While clicks go on: a new release that is better, one that is broken, and a candidate that is bad."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from safetensors.numpy import load, save

from deploy.demo.errors import DemoError
from deploy.demo.life import Process
from deploy.demo.scoreboard import Scoreboard
from deploy.demo.stage import Stage
from deploy.kafka.install import tail
from trainer.release.folder import read_folder, write_folder
from worker.core.catalogue import Catalogue
from worker.core.manifest import Manifest

TRIAL_CLICKS: Final = 200
"""The clicks needed on lists of the candidate before the decision; the usual 1,000 take longer."""

PATIENCE_SECONDS: Final = 90.0


class Step(NamedTuple):
    """One step.

    `learning`: the last clicks wait until it is over, so that the new release makes lists for them.
    """

    doing: str
    learning: bool = False


class Refresh:
    """The second release, a broken one, and a bad candidate; `say` receives a sentence on each outcome.

    All steps are to be called on while the clicks are replayed; none waits itself. They raise DemoError.
    """

    def __init__(self, stage: Stage, scoreboard: Scoreboard, say: Callable[[str], object]) -> None:
        self._stage = stage
        self._scoreboard = scoreboard
        self._say = say

    def better(self, folder: Path, options: Sequence[str], *, release: int) -> Iterator[Step]:
        """Learn, publish, until lists by `release` come."""
        popular = self._scoreboard.popular
        training = self._stage.start_training(folder, options, shown=False)
        training.lower_priority()
        while _runs(training):
            yield Step(f"learning from the topic: {training.last_line or 'starting'}", learning=True)
        # Before it is published: the worker may serve it before the command that publishes has ended.
        self._scoreboard.learned(release, popular)
        publishing = self._stage.start_publishing(folder)
        while _runs(publishing):
            yield Step("publishing the new release", learning=True)
        while self._scoreboard.newest_release < release:
            yield Step("the worker adopts the new release while it serves")

    def broken(self, folder: Path, *, release: int) -> Iterator[Step]:
        """Send the release in `folder` with a flipped byte, until the worker has refused it; then go back."""
        manifest, blob = read_folder(folder).parts
        self._stage.send_champion(release, manifest, blob[:-1] + bytes([blob[-1] ^ 1]), previous=release - 1)
        yield from _until(lambda: "refused" in self._stage.remark(), "a release with a flipped byte comes")
        self._say(f"Release {release} has a flipped byte. The worker keeps serving: {self._stage.remark()}")
        rollback = self._stage.start_rollback()
        while _runs(rollback):
            yield Step("going back to the release before")
        self._say(f"Rolled back: {rollback.last_line}")

    def bad(self, folder: Path, *, made_of: Path, release: int) -> Iterator[Step]:
        """Try a candidate that knows nothing on half of the users, until the watch has dropped it."""
        write_folder(folder, *mixed_up(*read_folder(made_of).parts))
        self._scoreboard.learned(release, self._scoreboard.popular)
        publishing = self._stage.start_publishing(folder, "--candidate", "--share", "0.5")
        while _runs(publishing):
            yield Step("publishing a candidate that mixes up the films")
        self._say(f"A bad candidate, for half of the users: {publishing.last_line}")
        watch = self._stage.start_watch("--min-clicks", str(TRIAL_CLICKS), "--set", "watch.every=1s")
        tried = f"half of the users try release {release}; nextclick-trainer watch looks at both"
        yield from _until(lambda: _runs(watch) and "is dropped" in watch.log, tried)
        dropped = next(line for line in watch.log.splitlines() if "is dropped" in line)
        self._say(f"nextclick-trainer watch at {dropped}")
        watch.ask_to_stop()


def mixed_up(manifest: Manifest, blob: bytes) -> tuple[Manifest, bytes]:
    """Return a valid release with correct golden answers that mistakes every item for another one."""
    tensors = load(blob)
    items = Catalogue.from_tensors(tensors["item_ids"], tensors["item_id_starts"]).ids(
        np.arange(manifest.items)
    )
    others = dict(zip(items.tolist(), np.random.default_rng(1).permutation(items).tolist(), strict=True))
    blob = save(tensors | Catalogue([*others.values()]).to_tensors())
    golden = [
        replace(
            one, items=tuple(map(others.__getitem__, one.items)), top=tuple(map(others.__getitem__, one.top))
        )
        for one in manifest.golden
    ]
    sha256 = hashlib.sha256(blob).hexdigest()
    return replace(manifest, size_bytes=len(blob), sha256=sha256, golden=tuple(golden)), blob


def _until(done: Callable[[], object], doing: str) -> Iterator[Step]:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not done():
        if time.monotonic() > deadline:
            raise DemoError(f"{doing}: no result within {PATIENCE_SECONDS:g} s")
        yield Step(doing)


def _runs(process: Process) -> bool:
    if process.exit_code:
        raise DemoError(f"{process.name} failed (exit code {process.exit_code}).\n{tail(process.log)}")
    return process.exit_code is None
