"""Three new releases during the replay of clicks: a better one, a broken one, and a bad candidate."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from deploy.demo.errors import DemoError
from deploy.demo.life import Process
from deploy.demo.scoreboard import Scoreboard
from deploy.demo.stage import Stage
from deploy.demo.training import progress
from deploy.java import tail
from trainer.release.folder import read_folder, write_folder
from worker.core.blob import Blob, read, written
from worker.core.catalogue import Catalogue
from worker.core.manifest import Manifest

TRIAL_CLICKS: Final = 200
"""Number of judged clicks needed for a decision; the default of 1,000 would take longer."""

PATIENCE_SECONDS: Final = 90.0


_AFTER_TRAINING: Final = 70.0
_AFTER_BROKEN: Final = 50.0
_EXPERIMENT: Final = 40.0
_TRAINING: Final = 60.0
"""Usual durations, in seconds. The first three are the times until the end of the demo: from the end of the
training, from the start of the broken release, and from the start of the A/B test. The last is the time left
of a training that has not printed an estimate yet."""

_DIGEST: Final = re.compile(r"\b([0-9a-f]{8})[0-9a-f]{56}\b")


class Step(NamedTuple):
    """A step of the demo that is in progress.

    `learning`: whether the last clicks are held back for the second release. `seconds_left`: the usual time
    from the start of the step until the end of the demo. `preparing`: whether the last clicks are held back
    for the A/B test.
    """

    doing: str
    learning: bool = False
    seconds_left: float = 0.0
    preparing: bool = False


class Refresh:
    """Publishes a second release, a broken release and a bad candidate; reports the results to `say`.

    Each method yields while it waits, so that clicks can be sent in the meantime. All raise DemoError.
    """

    def __init__(self, stage: Stage, scoreboard: Scoreboard, say: Callable[[str], object]) -> None:
        self._stage = stage
        self._scoreboard = scoreboard
        self._say = say

    def better(self, folder: Path, options: Sequence[str], *, release: int) -> Iterator[Step]:
        """Train and publish a second release, and wait until lists from it arrive."""
        popular = self._scoreboard.popular
        training = self._stage.start_training(folder, options)
        training.lower_priority()
        while _runs(training):
            words, left = progress(training.log)
            left = _TRAINING if left is None else left
            yield Step(f"training a second release: {words}", True, left + _AFTER_TRAINING)
        # Set the popular list before publishing, as the worker may serve the release before the command ends.
        self._scoreboard.learned(release, popular)
        publishing = self._stage.start_publishing(folder)
        while _runs(publishing):
            yield Step("publishing the second release", True, _AFTER_TRAINING)
        while self._scoreboard.newest_release < release:
            yield Step("the worker adopts the second release while serving", False, _AFTER_TRAINING)

    def broken(self, folder: Path, *, release: int) -> Iterator[Step]:
        """Publish the release in `folder` with a flipped byte, wait until it is refused, then roll back."""
        manifest, blob = read_folder(folder).parts
        self._stage.send_champion(
            release, manifest, bytes(blob[:-1]) + bytes([blob[-1] ^ 1]), previous=release - 1
        )
        step = Step("publishing a third release with one flipped byte", False, _AFTER_BROKEN, preparing=True)
        yield from _until(lambda: "refused" in self._stage.remark(), step)
        remark = _DIGEST.sub(r"\1…", self._stage.remark())
        self._say(
            f"Release {release} with a flipped byte was refused; the worker keeps serving release "
            f"{release - 1}: {remark}"
        )
        rollback = self._stage.start_rollback()
        while _runs(rollback):
            yield Step("rolling back to the second release", False, _AFTER_BROKEN, preparing=True)
        self._say(f"Rolled back: {rollback.last_line}")

    def bad(self, folder: Path, *, made_of: Path, release: int) -> Iterator[Step]:
        """Test a useless candidate on half of the users until `watch` drops it."""
        write_folder(folder, *mixed_up(*read_folder(made_of).parts))
        self._scoreboard.learned(release, self._scoreboard.popular)
        publishing = self._stage.start_publishing(folder, "--candidate", "--share", "0.5")
        while _runs(publishing):
            doing = "publishing a candidate that mixes up the films"
            yield Step(doing, False, _EXPERIMENT, preparing=True)
        self._say(f"A bad candidate, for half of the users: {publishing.first_line}")
        watch = self._stage.start_watch("--min-clicks", str(TRIAL_CLICKS), "--set", "watch.every=1s")
        doing = f"A/B test by nextclick-trainer watch: half of the users get release {release}"
        step = Step(doing, False, _EXPERIMENT)
        yield from _until(lambda: _runs(watch) and "is dropped" in watch.log, step, watch)
        dropped = next(line for line in watch.log.splitlines() if "is dropped" in line)
        self._say(f"nextclick-trainer watch at {dropped}")
        watch.ask_to_stop()


def mixed_up(manifest: Manifest, blob: Blob) -> tuple[Manifest, bytes]:
    """Return a valid release, with correct golden answers, whose item ids are shuffled."""
    tensors = read(blob)
    items = Catalogue.from_tensors(tensors["item_ids"], tensors["item_id_starts"]).ids(
        np.arange(manifest.items)
    )
    others = dict(zip(items.tolist(), np.random.default_rng(1).permutation(items).tolist(), strict=True))
    mixed = written(tensors | Catalogue([*others.values()]).to_tensors())
    golden = [
        replace(
            one, items=tuple(map(others.__getitem__, one.items)), top=tuple(map(others.__getitem__, one.top))
        )
        for one in manifest.golden
    ]
    sha256 = hashlib.sha256(mixed).hexdigest()
    return replace(manifest, size_bytes=len(mixed), sha256=sha256, golden=tuple(golden)), mixed


def _until(done: Callable[[], object], step: Step, process: Process | None = None) -> Iterator[Step]:
    """Yield `step` until `done()` is true; after a time limit, raise DemoError with `process`'s output."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not done():
        if time.monotonic() > deadline:
            wrote = f". Output of {process.name}:\n{tail(process.log)}" if process else ""
            raise DemoError(f"{step.doing}: no result within {PATIENCE_SECONDS:g} s{wrote}")
        yield step


def _runs(process: Process) -> bool:
    if process.exit_code:
        raise DemoError(f"{process.name} failed (exit code {process.exit_code}).\n{tail(process.log)}")
    return process.exit_code is None
