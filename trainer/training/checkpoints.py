"""Checkpoints of a training on disk: after a crash the same command resumes from the checkpoint.

A checkpoint is one file, written atomically. It holds a fingerprint of the training's clicks and settings. A
training on other clicks or settings has another fingerprint, and ignores the file.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from pathlib import Path
from threading import Event
from typing import Any, Final

import numpy as np
import orjson
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from trainer.config import FitSettings
from trainer.config.fitting import keys_with
from trainer.console import Progress
from trainer.dataset.dataset import Data
from trainer.files_on_disk import replacing, unfinished_name
from trainer.training.loop import Course, Training
from worker.settings.fields import fields_of, value_of

_FIRST: Final = "checkpoint.safetensors"
_FINAL: Final = "final.safetensors"
"""The files of the first training, which has a validation split, and of the final training."""

_REST: Final = 19
"""Time between two checkpoints, as a multiple of the time that the last one took."""

_KINDS: Final = {"float32": "F32", "int32": "I32", "int64": "I64"}
"""The names of types in the format of safetensors."""


def work_folder(output: Path) -> Path:
    """Return the checkpoint folder of a training that writes its release to `output`."""
    return output.with_name(output.name + ".work")


def fingerprint(data: Data, settings: FitSettings, parent: str | None, course: Course | None) -> str:
    """Return a hash of all that a training depends on. A checkpoint with another one is not used."""
    idle = keys_with("decides", value=False)
    decisive = {key: value_of(settings, key) for key, _ in fields_of(FitSettings) if key not in idle}
    of = orjson.dumps([data.fingerprint, decisive, parent, course], option=orjson.OPT_SORT_KEYS, default=str)
    return hashlib.sha256(of).hexdigest()


class Checkpoints:
    """The checkpoint file in `folder` for the training with this `fingerprint`; `final`: the final training.

    The file is written at most once every `seconds`, and seldom enough that writing takes at most a twentieth
    of the time. If `folder` is None, nothing is written or restored.
    """

    def __init__(
        self,
        folder: Path | None,
        fingerprint: str,
        *,
        seconds: float,
        final: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._path = folder / (_FINAL if final else _FIRST) if folder else None
        self._fingerprint, self._seconds, self._clock = fingerprint, seconds, clock
        self._due_at = clock() + seconds

    def after_step(self, training: Training, *, interrupted: Event, progress: Progress) -> None:
        """Write the state of `training` if the interval since the last checkpoint has passed.

        If `interrupted` is set, write it in any case, then raise KeyboardInterrupt.
        """
        if interrupted.is_set() or self._clock() >= self._due_at:
            self.save_now(training)
        if interrupted.is_set():
            if self._path:
                progress.say(f"saved {self._path}: {training.position}")
            raise KeyboardInterrupt

    def save_now(self, training: Training) -> None:
        """Write the state of `training`."""
        if self._path is None:
            return
        began, facts = self._clock(), {"fingerprint": self._fingerprint, **training.facts()}
        with replacing(self._path) as unfinished:
            _write(unfinished, training.tensors(), facts)
        now = self._clock()
        self._due_at = now + max(self._seconds, _REST * (now - began))

    def restore(self, training: Training, progress: Progress) -> None:
        """Restore `training` from the checkpoint, if its fingerprint matches; report the result."""
        if self._path is None or not self._path.exists():
            return
        try:
            tensors, facts = _read(self._path)
        except (SafetensorError, OSError, ValueError) as error:
            progress.say(f"{self._path} cannot be read ({error}); training from the start")
            return
        if facts.pop("fingerprint") != self._fingerprint:
            progress.say(
                f"{self._path} belongs to other clicks or settings (new clicks count as other clicks); "
                "training from the start"
            )
            return
        training.restore(tensors, facts)
        progress.say(f"resuming from {self._path}: {training.position}")


def remove(folder: Path) -> None:
    """Delete the checkpoints in `folder`; delete the folder if it is then empty."""
    for name in (_FIRST, _FINAL):
        (folder / name).unlink(missing_ok=True)
        (folder / unfinished_name(name)).unlink(missing_ok=True)
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def _write(path: Path, tensors: dict[str, NDArray[Any]], facts: dict[str, Any]) -> None:
    """Write a file in the format of safetensors, whose own writer holds all bytes a second time."""
    header: dict[str, Any] = {"__metadata__": {"facts": orjson.dumps(facts).decode()}}
    end = 0
    for name, tensor in tensors.items():
        begin, end = end, end + tensor.nbytes
        kind = _KINDS[tensor.dtype.name]
        header[name] = {"dtype": kind, "shape": [*tensor.shape], "data_offsets": [begin, end]}
    encoded = orjson.dumps(header)
    encoded += b" " * (-len(encoded) % 8)
    with path.open("wb") as file:
        file.write(len(encoded).to_bytes(8, "little") + encoded)
        for tensor in tensors.values():
            file.write(np.ascontiguousarray(tensor).data)


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    with safe_open(path, framework="numpy") as file:
        facts = orjson.loads(file.metadata()["facts"])
        return {name: file.get_tensor(name) for name in file.keys()}, facts  # noqa: SIM118  # no mapping
