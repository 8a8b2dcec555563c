"""The input topic. Applications write it; the worker's consumer group reads it.

A record has one click or several (`worker.core.event`); the order of clicks in the partition matters. The
group's committed offsets, written in the worker's transactions, mark the progress.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from worker.core.batch import Clicks
from worker.core.event import Click, Decoder, Part, Several
from worker.core.reasons import Reason, Skipped
from worker.kafka.interface import Record


class Invalid(NamedTuple):
    """A record for the dead-letter topic.

    `parts`: in a record that may have several clicks, the place and reason of each invalid part.
    """

    record: Record
    reason: Reason
    parts: str = ""


class Decoded(NamedTuple):
    """The contents of some records. Each record is counted once: in `clicked`, in `skipped` or in `bad`."""

    clicks: Clicks
    bad: list[Invalid]
    skipped: Counter[Skipped]
    """By reason: the number of valid records without a click."""
    clicked: int
    """The number of records that have clicks and are not in `bad`."""
    trimmed: int
    """The number of ids with whitespace around them."""

    @property
    def records(self) -> int:
        """The total number of records."""
        return self.clicked + self.skipped.total() + len(self.bad)

    def left_out(self) -> Counter[str]:
        """Return the number of skipped and invalid records, by reason."""
        return Counter([*map(str, self.skipped.elements()), *(str(one.reason) for one in self.bad)])


def decode(records: Iterable[Record], decoder: Decoder, *, enough: float = math.inf) -> Decoded:
    """Return the clicks in `records` as columns, the invalid records, and the number of skipped records.

    Decoding ends after the record that completes `enough` clicks; `Decoded.records` is the number of records
    decoded. Raises the errors of the decoder's `parse`.
    """
    trimmed = decoder.ids.trimmed
    good: list[tuple[Record, Click]] = []
    parts: list[tuple[int, Part]] = []
    bad: list[Invalid] = []
    skipped = Counter[Skipped]()
    several = 0
    decoded = decoder.decode
    for record in records:
        if len(good) >= enough:
            break
        if record.unreadable is not None:
            bad.append(Invalid(record, Reason.UNREADABLE))
            continue
        found = decoded(record.value, record.key, record.timestamp, record.headers)
        if type(found) is Click:
            good.append((record, found))
        elif isinstance(found, Reason):
            bad.append(Invalid(record, found))
        elif isinstance(found, Skipped):
            skipped[found] += 1
        elif isinstance(found, Several):
            parts += enumerate(found.parts, len(good))
            good += [(record, part.click) for part in found.parts]
            if found.bad:
                places = "; ".join(f"{place}: {reason}" for place, reason in found.bad)
                bad.append(Invalid(record, found.bad[0][1], places))
            elif found.parts:
                several += 1
            else:
                skipped[found.skipped[0]] += 1
    clicked = len(good) - len(parts) + several
    return Decoded(_columns(good, parts), bad, skipped, clicked, decoder.ids.trimmed - trimmed)


def _columns(good: list[tuple[Record, Click]], parts: list[tuple[int, Part]]) -> Clicks:
    clicks = Clicks(
        partitions=np.array([record.partition for record, _ in good], np.int32),
        offsets=np.array([record.offset for record, _ in good], np.int64),
        user_ids=[click.user_id for _, click in good],
        item_ids=[click.item_id for _, click in good],
        timestamps_ms=np.array([click.timestamp_ms for _, click in good], np.int64),
        record_timestamps_ms=np.array([record.timestamp for record, _ in good], np.int64),
    )
    for place, part in parts:
        clicks.elements[place] = part.element
        clicks.ends_event[place] = part.ends_event
    return clicks
