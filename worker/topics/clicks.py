"""The input topic. Others write it; the worker's consumer group reads it.

A record's value is one click as JSON or MessagePack (`worker.core.event`); the order of arrival is
the order. The group's committed offsets, written inside the worker's transactions, say what is done.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from worker.core.batch import Clicks
from worker.core.event import Click, Decoder, Reason
from worker.kafka.interface import Record


def decode(records: Iterable[Record], decoder: Decoder) -> tuple[Clicks, list[tuple[Record, Reason]]]:
    """Return the clicks in `records` as columns, and the invalid records, each with its reason."""
    good: list[tuple[Record, Click]] = []
    bad: list[tuple[Record, Reason]] = []
    for record in records:
        if record.unreadable is not None:
            bad.append((record, Reason.UNREADABLE))
            continue
        click = decoder.decode(record.value, record.key, record.timestamp)
        if isinstance(click, Click):
            good.append((record, click))
        else:
            bad.append((record, click))
    return _columns(good), bad


def _columns(good: list[tuple[Record, Click]]) -> Clicks:
    return Clicks(
        partitions=np.array([record.partition for record, _ in good], np.int32),
        offsets=np.array([record.offset for record, _ in good], np.int64),
        user_ids=[click.user_id for _, click in good],
        item_ids=[click.item_id for _, click in good],
        timestamps_ms=np.array([click.timestamp_ms for _, click in good], np.int64),
        record_timestamps_ms=np.array([record.timestamp for record, _ in good], np.int64),
    )
