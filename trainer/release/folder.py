"""Release folders: writing, reading, and fetching a release from Kafka into a folder.

A release folder contains only `manifest.json` and `weights.safetensors` (`worker.core.release`).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from trainer.files_on_disk import write_file
from trainer.release.package import PackagedRelease
from worker.core.blob import Blob
from worker.core.manifest import Manifest
from worker.errors import ReleaseRefused, SettingError
from worker.kafka.interface import Connection
from worker.topics import releases

MANIFEST: Final = "manifest.json"
WEIGHTS: Final = "weights.safetensors"


def write_folder(folder: Path, manifest: Manifest, blob: Blob) -> None:
    """Write a release, unverified, to `folder`; replace an older release, and create missing folders.

    The manifest is written last, so a folder with a manifest also has the matching weights.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MANIFEST).unlink(missing_ok=True)
    write_file(folder / WEIGHTS, blob)
    write_file(folder / MANIFEST, manifest.to_json())


def holds_release(folder: Path) -> bool:
    """Return whether `folder` contains a release, which a new release would replace.

    Raises SettingError if no release can be written: `folder` is a file, has other files, or is not writable.
    """
    if not folder.exists():
        parent = next(one for one in folder.absolute().parents if one.exists())
        _require_writable(parent, folder)
        return False
    if not folder.is_dir():
        raise SettingError(f"-o: {folder} is a file; a release is written to a folder")
    _require_writable(folder, folder)
    names = {one.name for one in folder.iterdir() if not one.name.startswith(".")}
    if names and not names & {MANIFEST, WEIGHTS}:
        raise SettingError(
            f"-o: {folder} has other files, such as {min(names)}; choose a folder that is new, empty "
            "or has a release"
        )
    return bool(names)


def _require_writable(there: Path, folder: Path) -> None:
    if not there.is_dir():
        raise SettingError(f"-o: {folder} cannot be written: {there} is a file, not a folder")
    if not os.access(there, os.W_OK | os.X_OK):
        raise SettingError(f"-o: {folder} cannot be written: no write permission for {there}")


def read_folder(folder: Path) -> PackagedRelease:
    """Read and verify the release in `folder`. Raises ReleaseRefused."""
    for name in (MANIFEST, WEIGHTS):
        if not (folder / name).is_file():
            raise ReleaseRefused("missing", f"{folder} is not a release folder: it has no {name}")
    manifest, blob = Manifest.from_json((folder / MANIFEST).read_bytes()), (folder / WEIGHTS).read_bytes()
    return PackagedRelease.verified(manifest, blob)


def fetch_folder(
    folder: Path, connection: Connection, wanted: int | str, *, topic: str
) -> tuple[int, Manifest]:
    """Fetch the release `wanted`, a number or a pointer's name, into `folder`; return number and manifest.

    Raises KafkaAway, NotAllowed, and ReleaseRefused if the release does not exist or is invalid. In
    these cases, nothing is written.
    """
    with releases.ReleaseReader(connection, topic=topic).opened() as reader:
        reader.read()
        number = _pointed_at(reader, wanted) if isinstance(wanted, str) else wanted
        reader.require(number)
        parts = reader.fetch(number)
    try:
        fetched = PackagedRelease.verified(*parts, number=number)
    except ReleaseRefused as error:
        raise ReleaseRefused(error.reason, f"release {number} in topic {topic} is invalid: {error}") from None
    write_folder(folder, *fetched.parts)
    return number, fetched.manifest


def _pointed_at(reader: releases.ReleaseReader, name: str) -> int:
    pointer = reader.pointer(name)
    if pointer is None:
        raise ReleaseRefused(
            "pointer", f"topic {reader.topic} has no {name}; `nextclick-trainer releases` lists its releases"
        )
    return pointer.release
