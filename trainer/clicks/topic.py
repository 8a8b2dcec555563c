"""Clicks from the Kafka topic that the worker reads, decoded by the worker's rules."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import Any

import polars as pl

from trainer.clicks.archive import no_clicks
from trainer.clicks.cleaning import Removal
from trainer.clicks.columns import SCHEMA, Columns, Table
from trainer.errors import UnusableClicks
from worker.core.batch import Clicks
from worker.core.diagnosis import mixture
from worker.core.event import Decoder
from worker.core.times import NO_TIME
from worker.errors import TopicError
from worker.kafka import history
from worker.kafka.interface import Connection, Record
from worker.topics import needs
from worker.topics.clicks import decode
from worker.topics.sample import SAMPLE, Sample, decoding


def read_topic(connection: Connection, topic: str, decoder: Decoder) -> tuple[Table, list[Removal]]:
    """Return all clicks that the topic has now, in order for each user, and the counts of other records.

    Raises UnusableClicks if no record is a valid click, and the errors of `worker.kafka.history.read`.
    """
    frames, reasons, last = [pl.DataFrame(schema=SCHEMA)], Counter[str](), list[Record]()
    times = dict[str, tuple[int, Any]]()
    for records in _read(connection, topic):
        decoded = decode(records, decoder)
        frames.append(_frame(decoded.clicks))
        reasons.update(decoded.left_out())
        for kind, (count, example) in decoded.times.items():
            before, first = times.get(kind, (0, None))
            times[kind] = before + count, example if first is None else first
        last = records[-SAMPLE:] or last
    table = pl.concat(frames)
    if table.is_empty():
        why = decoding(Sample(topic, last, decoder, decode(last, decoder)))
        raise UnusableClicks(f"no record is a valid click: {why.what}. {why.remedy}".removesuffix(". "))
    fields = decoder.fields
    found = Columns(user=fields.user_id, item=fields.item_id, timestamp=fields.timestamp)
    return Table(table, found, _times_in_words(times)), no_clicks(reasons, len(table))


def _read(connection: Connection, topic: str) -> Iterator[list[Record]]:
    try:
        yield from history.read(connection, topic=topic)
    except TopicError as error:
        with closing(connection.admin()) as admin:
            meant = needs.did_you_mean(admin, topic)
        raise TopicError(f"{error}{meant}", topic=topic) from None


def _times_in_words(times: Mapping[str, tuple[int, Any]]) -> str:
    """Return how the times are read; a mixture of units, or a field that no click has, is named."""
    words = "as the worker reads it"
    if times.keys() == {NO_TIME}:
        return f"{words}: no click has it, so the times of the records are used"
    kinds = mixture(times)
    return f"{words}: careful, there are different units or types: {kinds}" if kinds else words


def _frame(clicks: Clicks) -> pl.DataFrame:
    columns = (clicks.user_ids, clicks.item_ids, clicks.timestamps_ms)
    return pl.DataFrame(dict(zip(SCHEMA, columns, strict=True)), schema=SCHEMA)
