"""Files written so that a crash at any moment leaves the old one or the new one, whole.

The order that survives a power cut: the bytes, then the name, then the folder that has the name.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def write_file(path: Path, content: bytes) -> None:
    """Write `content` to `path`, as `replacing` does; make its folder if need be.

    An existing path that is not a file, such as /dev/stdout or a pipe, is written to directly.
    """
    if path.exists() and not path.is_file():
        path.write_bytes(content)
        return
    with replacing(path) as unfinished:
        unfinished.write_bytes(content)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a name in the folder of `path` to write a file to; at the end that file becomes `path`, on disk.

    Where the context raises, or the process is killed, `path` stays as it was. One process at a time may
    write a path. Its folder is made if need be.
    """
    path = path.resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(unfinished_name(path.name))
    try:
        yield unfinished
        put_in_place(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


def unfinished_name(name: str) -> str:
    """Return what a file of this `name` is called while it is written; a killed process leaves it behind."""
    return f".{name}.new"


def put_in_place(unfinished: Path, path: Path) -> None:
    """Sync `unfinished`, a file or a folder of files, to the disk, then rename it to `path`."""
    for written in (*(unfinished.iterdir() if unfinished.is_dir() else ()), unfinished):
        _sync(written)
    unfinished.replace(path)
    _sync(path.parent)


def _sync(path: Path) -> None:
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
