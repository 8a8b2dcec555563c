"""The click archive: the clicks of a topic, kept on disk for longer than Kafka keeps them.

`partition=3/00000000000000000000-00000000000000004096.parquet` has the clicks at these offsets of partition
3, in order; the end is exclusive. An offset without a click belonged to an invalid or skipped record, which
the file counts by reason, or to no record. Files are written atomically (`trainer.files_on_disk`), so their
names alone tell where to resume.
"""

from __future__ import annotations

import fcntl
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

import orjson
import polars as pl

from trainer.clicks.cleaning import Removal
from trainer.clicks.columns import SCHEMA, Columns, Scan
from trainer.clicks.damage import reading
from trainer.errors import ArchiveInUse, UnusableClicks
from trainer.files_on_disk import replacing, write_file
from worker.core.reasons import Skipped
from worker.errors import SettingError

ARCHIVE_SCHEMA: Final = {"offset": pl.Int64(), **SCHEMA, "recorded_ms": pl.Int64()}
"""The columns of a file: `recorded_ms` is the record's own timestamp, by which old clicks are deleted."""

_TOPIC: Final = "topic"
_LOCK: Final = ".lock"
_BAD: Final = "malformed"
_SKIPPED: Final = frozenset(map(str, Skipped))


class Stretch(NamedTuple):
    """A file of the archive, with its offsets in a partition, from `begin` to `end` (exclusive)."""

    partition: int
    begin: int
    end: int
    path: Path


class ClickArchive:
    """The archive in `folder`. Only one process at a time may write to it (`writing`)."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @contextmanager
    def writing(self, topic: str) -> Iterator[None]:
        """Lock the archive for writing. Raises ArchiveInUse, or SettingError if its topic is not `topic`."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._check(topic)
        with (self.folder / _LOCK).open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ArchiveInUse(f"{self.folder}: another process is collecting into this folder") from None
            self._claim(topic)
            for unfinished in self.folder.glob("partition=*/.*"):
                unfinished.unlink()
            yield

    def _claim(self, topic: str) -> None:
        named = self.folder / _TOPIC
        if not named.exists():
            write_file(named, topic.encode())
        self._check(topic)

    def _check(self, topic: str) -> None:
        named = self.folder / _TOPIC
        if named.exists() and (other := named.read_text()) != topic:
            raise SettingError(
                f"{self.folder} is an archive of the topic {other}, not of {topic}; use another folder"
            )

    def stretches(self) -> list[Stretch]:
        """Return all files, ordered by partition and offset."""
        return sorted(_stretch(path) for path in self.folder.glob("partition=*/[0-9]*.parquet"))

    def ends(self) -> dict[int, int]:
        """Return the end offset (exclusive) of the archived records of each partition."""
        return {stretch.partition: stretch.end for stretch in self.stretches()}

    def append(
        self, partition: int, begin: int, end: int, clicks: pl.DataFrame, malformed: Mapping[str, int]
    ) -> None:
        """Write `clicks` to a file. They are all clicks at the offsets from `begin` to `end` (exclusive).

        `clicks` has the columns of `ARCHIVE_SCHEMA`. `malformed`: the number of other records, by reason.
        """
        folder = self.folder / f"partition={partition}"
        folder.mkdir(exist_ok=True)
        self._write(folder / f"{begin:020}-{end:020}.parquet", clicks, malformed)

    def forget_before(self, time_ms: int) -> int:
        """Delete files whose records are all older than `time_ms`; return the number of clicks deleted.

        The last file of a partition is emptied instead, because its name tells where to resume.
        """
        stretches, gone = self.stretches(), 0
        last = {stretch.partition: stretch for stretch in stretches}
        for stretch in stretches:
            recorded = pl.read_parquet(stretch.path, columns=["recorded_ms"], glob=False)["recorded_ms"]
            newest = recorded.max()
            if isinstance(newest, int) and newest >= time_ms:
                continue
            gone += len(recorded)
            if stretch != last[stretch.partition]:
                stretch.path.unlink()
            elif len(recorded):
                self._write(stretch.path, pl.DataFrame(schema=ARCHIVE_SCHEMA), {})
        return gone

    def _write(self, path: Path, clicks: pl.DataFrame, malformed: Mapping[str, int]) -> None:
        with replacing(path) as unfinished:
            clicks.write_parquet(unfinished, metadata={_BAD: orjson.dumps(dict(malformed)).decode()})


def is_archive(folder: Path) -> bool:
    """Return whether there is a click archive in `folder`."""
    return (folder / _TOPIC).is_file()


def scan_archive(folder: Path) -> tuple[Scan, list[Removal]]:
    """Return the clicks of an archive, in order of arrival for each user, and counts of its other records.

    Raises UnusableClicks if the archive has no clicks.
    """
    paths = [stretch.path for stretch in ClickArchive(folder).stretches()]
    malformed = Counter[str]()
    for path in paths:
        with reading(path):
            malformed.update(orjson.loads(pl.read_parquet_metadata(path)[_BAD]))
    scan = (
        pl.scan_parquet(paths, hive_partitioning=False, glob=False)
        if paths
        else pl.LazyFrame(schema=ARCHIVE_SCHEMA)
    )
    clicks = scan.select(SCHEMA.keys())
    count = clicks.select(pl.len()).collect().item()
    if count == 0:
        raise UnusableClicks(
            f"{folder}: the click archive has no clicks yet; invalid records by reason: {dict(malformed)}"
        )
    found = Columns(user="user_id", item="item_id", timestamp="timestamp_ms")
    return Scan(clicks, found, "as the worker reads it", count), no_clicks(malformed, count)


def no_clicks(reasons: Counter[str], clicks: int) -> list[Removal]:
    """Return a removal per reason why records have no click; `clicks`: the number of valid clicks."""
    left = clicks + reasons.total()
    removals = []
    for reason, count in reasons.most_common():
        left -= count
        why = "skipped" if reason in _SKIPPED else "not a click"
        removals.append(Removal(count, left, "records", f"{why} ({reason})"))
    return removals


def _stretch(path: Path) -> Stretch:
    begin, end = path.stem.split("-")
    return Stretch(int(path.parent.name.partition("=")[2]), int(begin), int(end), path)
