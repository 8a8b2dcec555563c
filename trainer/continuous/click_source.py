"""The clicks of retraining runs: an archive that each run updates from the topic."""

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
    """The clicks topic and its local archive."""

    connection: Connection
    topic: str
    decoder: Decoder
    archive: ClickArchive
    file_records: int = 1_000_000
    """Maximum number of offsets per archive file."""
    keep_days: float | None = None
    """Days that the archive keeps a click; None: forever."""

    def collect(self, progress: Progress) -> dict[int, int]:
        """Update the archive from the topic; return the archive's end offset of each partition.

        If another process is writing to the archive, the archive is not updated.
        Raises KafkaAway, NotAllowed, TopicError.
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
            progress.say(f"{error}; using the archive as it is")
        return self.archive.ends()

    def newest(self, plan: Run, now_ms: int) -> tuple[pl.LazyFrame, Window]:
        """Return the clicks in the plan's window, and the window, which ends with the newest click.

        Clicks later than `now_ms` are ignored. Raises TooFewClicks if no clicks are left.
        """
        time_ms = pl.col("timestamp_ms")
        clicks = scan_archive(self.archive.folder)[0].clicks
        newest_ms = clicks.select(time_ms.filter(time_ms <= now_ms).max()).collect(engine="streaming").item()
        if newest_ms is None:
            raise TooFewClicks("all clicks are in the future; check their times and this machine's clock")
        span = window(newest_ms, plan)
        return clicks.filter(time_ms.is_between(span.begin_ms, span.end_ms)), span
