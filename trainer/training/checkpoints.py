"""Checkpoints of a training on disk: after a crash the same command continues there.

A checkpoint is one file (`trainer.files_on_disk`). It names the clicks and settings that it belongs to, and
is of no use to any others.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import orjson
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from trainer.config import FitSettings
from trainer.config.fitting import keys_with
from trainer.console import Progress
from trainer.dataset.dataset import Data
from trainer.files_on_disk import replacing, unfinished_name
from trainer.training.loop import Training
from worker.settings.fields import fields_of, value_of

_FILE: Final = "checkpoint.safetensors"


def work_folder(output: Path) -> Path:
    """Return the folder of the checkpoint of a training whose release goes to `output`."""
    return output.with_name(output.name + ".work")


def fingerprint(data: Data, settings: FitSettings, parent: str | None) -> str:
    """Return a fingerprint of clicks, settings and parent release; a checkpoint must have the same one."""
    idle = keys_with("decides", value=False)
    decisive = {key: value_of(settings, key) for key, _ in fields_of(FitSettings) if key not in idle}
    of = orjson.dumps([data.fingerprint, decisive, parent], option=orjson.OPT_SORT_KEYS, default=str)
    return hashlib.sha256(of).hexdigest()


class Checkpoints:
    """The checkpoint in `folder` of the training with this `fingerprint`; without a folder there is none.

    At most one is written every `seconds`.
    """

    def __init__(
        self,
        folder: Path | None,
        fingerprint: str,
        *,
        seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._path = folder / _FILE if folder else None
        self._fingerprint, self._seconds, self._clock = fingerprint, seconds, clock
        self._saved_at = clock()

    def save(self, training: Training) -> None:
        """Write where `training` is, if it is time to."""
        if self._path is None or self._clock() - self._saved_at < self._seconds:
            return
        facts = {"fingerprint": self._fingerprint, **training.facts()}
        with replacing(self._path) as unfinished:
            save_file(training.tensors(), unfinished, {"facts": orjson.dumps(facts).decode()})
        self._saved_at = self._clock()

    def restore(self, training: Training, progress: Progress) -> None:
        """Restore `training` from the checkpoint, and report it; report, too, why one is of no use."""
        if self._path is None or not self._path.exists():
            return
        try:
            tensors, facts = _read(self._path)
        except (SafetensorError, OSError, ValueError) as error:
            progress.say(f"{self._path} cannot be read ({error}): the training begins from the start")
            return
        if facts.pop("fingerprint") != self._fingerprint:
            progress.say(
                f"{self._path} is of other clicks (new clicks make them so) or settings: "
                "the training begins from the start"
            )
            return
        training.restore(tensors, facts)
        progress.say(f"going on from {self._path}: {training.position}")


def remove(folder: Path) -> None:
    """Delete the checkpoint in `folder`, and the folder where nothing else is in it."""
    for name in (_FILE, unfinished_name(_FILE)):
        (folder / name).unlink(missing_ok=True)
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    with safe_open(path, framework="numpy") as file:
        facts = orjson.loads(file.metadata()["facts"])
        return {name: file.get_tensor(name) for name in file.keys()}, facts  # noqa: SIM118  # no mapping
