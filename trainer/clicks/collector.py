"""The collector, which copies the clicks of a topic to the click archive, each click exactly once.

The archive itself keeps the offsets up to which it was written, so a copy never starts at a wrong offset.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import polars as pl

from trainer.clicks.archive import ARCHIVE_SCHEMA, ClickArchive
from trainer.clicks.timestamps import HOUR_MS
from trainer.console import Progress
from worker.core.event import Decoder
from worker.errors import Retriable, TopicError
from worker.kafka import history
from worker.kafka.interface import Connection, Record
from worker.topics.clicks import decode

_PAUSE_SECONDS: Final = 1.0
"""The pause between two polls at the end of the topic."""


@dataclass(slots=True)
class _Pending:
    """Records of a partition, from `begin` to `end` (exclusive), that are read but not yet written."""

    begin: int
    end: int
    clicks: list[pl.DataFrame] = field(default_factory=list)
    malformed: Counter[str] = field(default_factory=Counter)


class Collector:
    """Copies `topic` to `archive`. A file is written every `file_records` offsets or `every_seconds`."""

    def __init__(
        self,
        connection: Connection,
        archive: ClickArchive,
        *,
        topic: str,
        decoder: Decoder,
        progress: Progress,
        keep_days: float | None,
        file_records: int,
        every_seconds: float,
    ) -> None:
        self._connection = connection
        self._archive = archive
        self._topic = topic
        self._decoder = decoder
        self._progress = progress
        self._keep_days = keep_days
        self._file_records = file_records
        self._every_seconds = every_seconds
        self._pending = {partition: _Pending(end, end) for partition, end in archive.ends().items()}
        self._ends: dict[int, int] = {}
        self._written = time.monotonic()

    def collect(self) -> None:
        """Collect up to the current end of the topic. Raises the errors of reading and decoding."""
        self._round()
        self._write_all()

    def follow(self) -> None:
        """Collect until stopped, retrying during outages. Raises NotAllowed, TopicError, RegistryRefused."""
        said = ""
        while True:
            try:
                self._round()
                said = ""
            except Retriable as error:
                if str(error) != said:
                    said = str(error)
                    self._progress.say(f"{error}; retrying")
            self._write_if_due()
            time.sleep(_PAUSE_SECONDS)

    def _round(self) -> None:
        for records in history.read(self._connection, topic=self._topic, begins=self._begins):
            if records:
                self._take(records)
            self._write_if_due()

    def _begins(self, spans: Mapping[int, history.Span]) -> dict[int, int]:
        self._ends = {partition: span.end for partition, span in spans.items()}
        for partition, span in spans.items():
            at = self._pending.setdefault(partition, _Pending(span.first, span.first)).end
            if at > span.end:
                raise TopicError(
                    f"partition {partition} of {self._topic} ends at offset {span.end:,}, the archive in "
                    f"{self._archive.folder} at {at:,}: "
                    "the topic was recreated; collect it into another folder",
                    topic=self._topic,
                )
            if at < span.first:
                self._write(partition)
                self._progress.say(
                    f"gap: Kafka deleted {span.first - at:,} offsets of partition {partition} before they "
                    f"were collected ({at:,} to {span.first:,})"
                )
                self._pending[partition] = _Pending(span.first, span.first)
        return {partition: self._pending[partition].end for partition in spans}

    def _take(self, records: list[Record]) -> None:
        partition = records[0].partition
        pending = self._pending[partition]
        decoded = decode(records, self._decoder)
        clicks = decoded.clicks
        recorded = clicks.record_timestamps_ms
        columns = (clicks.offsets, clicks.user_ids, clicks.item_ids, clicks.timestamps_ms, recorded)
        frame = pl.DataFrame(dict(zip(ARCHIVE_SCHEMA, columns, strict=True)), schema=ARCHIVE_SCHEMA)
        # A record without a timestamp gets the time of its click.
        own = pl.when(pl.col("recorded_ms") >= 0).then("recorded_ms").otherwise("timestamp_ms")
        pending.clicks.append(frame.with_columns(recorded_ms=own))
        pending.malformed.update(decoded.left_out())
        pending.end = records[-1].offset + 1
        if pending.end - pending.begin >= self._file_records:
            self._write(partition)

    def _write_if_due(self) -> None:
        if time.monotonic() - self._written >= self._every_seconds:
            self._write_all()

    def _write_all(self) -> None:
        for partition in self._pending:
            self._write(partition)
        self._written = time.monotonic()
        if self._keep_days is not None:
            oldest = round(time.time() * 1000 - self._keep_days * 24 * HOUR_MS)
            if gone := self._archive.forget_before(oldest):
                self._progress.say(f"deleted {gone:,} clicks older than {self._keep_days:g} days")

    def _write(self, partition: int) -> None:
        pending = self._pending[partition]
        if pending.begin == pending.end:
            return
        clicks = pl.concat([pl.DataFrame(schema=ARCHIVE_SCHEMA), *pending.clicks])
        self._archive.append(partition, pending.begin, pending.end, clicks, pending.malformed)
        left = self._ends.get(partition, pending.end) - pending.end
        reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(pending.malformed.items()))
        self._progress.say(
            f"partition {partition}: {len(clicks):,} clicks at offsets {pending.begin:,} to "
            f"{pending.end:,}, {left:,} offsets to go" + (f"; not clicks: {reasons}" if reasons else "")
        )
        self._pending[partition] = _Pending(pending.end, pending.end)
