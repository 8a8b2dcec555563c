"""Clicks from the Kafka topic that the worker reads, decoded by the worker's rules."""

from __future__ import annotations

from collections import Counter

import polars as pl

from trainer.clicks.archive import no_clicks
from trainer.clicks.cleaning import Removal
from trainer.clicks.columns import SCHEMA, Columns, Table
from trainer.errors import UnusableClicks
from worker.core.batch import Clicks
from worker.core.event import Decoder
from worker.kafka import history
from worker.kafka.interface import Connection, Record
from worker.topics.clicks import decode
from worker.topics.sample import SAMPLE, Sample, decoding


def read_topic(connection: Connection, topic: str, decoder: Decoder) -> tuple[Table, list[Removal]]:
    """Return all clicks that the topic has now, in order for each user, and the counts of other records.

    Raises UnusableClicks if no record is a valid click, and the errors of `worker.kafka.history.read`.
    """
    frames, reasons, last = [pl.DataFrame(schema=SCHEMA)], Counter[str](), list[Record]()
    for records in history.read(connection, topic=topic):
        decoded = decode(records, decoder)
        frames.append(_frame(decoded.clicks))
        reasons.update(decoded.left_out())
        last = records[-SAMPLE:] or last
    table = pl.concat(frames)
    if table.is_empty():
        why = decoding(Sample(topic, last, decoder, decode(last, decoder)))
        raise UnusableClicks(f"no record is a valid click: {why.what}. {why.remedy}".removesuffix(". "))
    fields = decoder.fields
    found = Columns(user=fields.user_id, item=fields.item_id, timestamp=fields.timestamp)
    return Table(table, found, "as the worker reads it"), no_clicks(reasons, len(table))


def _frame(clicks: Clicks) -> pl.DataFrame:
    columns = (clicks.user_ids, clicks.item_ids, clicks.timestamps_ms)
    return pl.DataFrame(dict(zip(SCHEMA, columns, strict=True)), schema=SCHEMA)
