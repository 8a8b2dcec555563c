"""Atomic file writes: after a crash at any moment a path holds the complete old file or the complete new one.

To survive a power cut, the content is synced to disk first; then the file is renamed, and its folder synced.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def write_file(path: Path, content: bytes | memoryview) -> None:
    """Write `content` to `path` atomically; create its folder if needed.

    An existing path that is not a regular file, such as /dev/stdout or a pipe, is written to directly.
    """
    if path.exists() and not path.is_file():
        path.write_bytes(content)
        return
    with replacing(path) as unfinished:
        unfinished.write_bytes(content)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path; when the context ends, sync the file written there and rename it to `path`.

    If the context raises, or the process is killed, `path` is unchanged. Only one process at a time may
    write to `path`. The folder of `path` is created if needed.
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
    """Return the name of the temporary file for `name`; the file remains if the process is killed."""
    return f".{name}.new"


def put_in_place(unfinished: Path, path: Path) -> None:
    """Sync `unfinished`, a file or a folder of files, to disk, then rename it to `path`."""
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
