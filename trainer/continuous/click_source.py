"""The clicks of retraining runs: a topic, and an archive of it that brings each run up to date."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from trainer.clicks.archive import ClickArchive, scan_archive
from trainer.clicks.collector import Collector
from trainer.config import Run
from trainer.console import Progress
from trainer.continuous.plan import Window, window
from trainer.errors import ArchiveInUse, TooFewClicks
from worker.core.event import Decoder
from worker.kafka.interface import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class ClickSource:
    """The topic of clicks and its archive on this machine."""

    connection: Connection
    topic: str
    decoder: Decoder
    archive: ClickArchive
    file_records: int = 1_000_000
    """The most offsets of one file of the archive."""
    keep_days: float | None = None
    """The time that the archive keeps a click; None: for ever."""

    def collect(self, progress: Progress) -> dict[int, int]:
        """Read the topic to its end; return the end offset of each partition that the archive then has.

        While another process collects, the archive stays as it is. Raises KafkaAway, NotAllowed, TopicError.
        """
        try:
            with self.archive.writing(self.topic):
                Collector(
                    self.connection,
                    self.archive,
                    topic=self.topic,
                    decoder=self.decoder,
                    progress=progress,
                    keep_days=self.keep_days,
                    file_records=self.file_records,
                    every_seconds=float("inf"),
                ).collect()
        except ArchiveInUse as error:
            progress.say(f"{error}: what it has is used")
        return self.archive.ends()

    def newest(self, plan: Run, now_ms: int) -> tuple[pl.LazyFrame, Window]:
        """Return the clicks of the plan's window, which ends with the newest click, and the window.

        Clicks after `now_ms` do not count. Raises TooFewClicks if there are no others.
        """
        time_ms = pl.col("timestamp_ms")
        clicks = scan_archive(self.archive.folder)[0].clicks
        newest_ms = clicks.select(time_ms.filter(time_ms <= now_ms).max()).collect(engine="streaming").item()
        if newest_ms is None:
            raise TooFewClicks("all clicks are from the future")
        span = window(newest_ms, plan)
        return clicks.filter(time_ms.is_between(span.begin_ms, span.end_ms)), span
