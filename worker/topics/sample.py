"""The last records of the clicks topic, as a worker would take them: what a person wants to know of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from worker.core.catalogue import Catalogue
from worker.core.diagnosis import fault, field_list
from worker.core.event import Click, Decoder, Fields
from worker.core.ranking import NO_ITEM
from worker.core.reasons import Reason
from worker.kafka import history
from worker.kafka.history import Span
from worker.kafka.interface import Connection, Record
from worker.topics.clicks import decode
from worker.topics.needs import Finding

SAMPLE: Final = 100
"""The number of records that are looked at."""

EARLIEST_MS: Final = round(datetime(2000, 1, 1, tzinfo=UTC).timestamp() * 1000)
"""A click from before the year 2000 has a time in another unit."""

AHEAD_MS: Final = 60_000
"""By how much clocks may differ before a click is from the future."""


@dataclass(frozen=True, slots=True)
class Sample:
    """The last records of a topic, decoded."""

    topic: str
    clicks: list[Click]
    bad: list[tuple[Record, Reason]]

    def __len__(self) -> int:
        return len(self.clicks) + len(self.bad)


def last(connection: Connection, topic: str, decoder: Decoder) -> Sample:
    """Read the last records of `topic`, over all its partitions. Raises KafkaAway, NotAllowed, TopicError."""

    def begins(spans: Mapping[int, Span]) -> dict[int, int]:
        return {partition: max(span.first, span.end - SAMPLE) for partition, span in spans.items()}

    found = [record for some in history.read(connection, topic=topic, begins=begins) for record in some]
    found.sort(key=lambda record: (record.timestamp, record.offset))
    decoded = decode(found[-SAMPLE:], decoder)
    columns = (decoded.clicks.user_ids, decoded.clicks.item_ids, decoded.clicks.timestamps_ms.tolist())
    clicks = [Click(*one) for one in zip(*columns, strict=True)]
    return Sample(topic, clicks, [(one.record, one.reason) for one in decoded.bad])


def decoding(sample: Sample, fields: Fields) -> Finding:
    """Return how many of the records are clicks, and what the others lack."""
    count, bad = len(sample), sample.bad
    if not count:
        return Finding(f"topic {sample.topic} has no records yet")
    if not bad:
        return Finding(f"topic {sample.topic}: the last {count} records are clicks")
    faults = Counter(fault(record.value, record.key, reason, fields) for record, reason in bad)
    text = "; ".join(f"{number} of {count} {what}" for what, number in faults.most_common())
    if first := next(filter(None, (field_list(record.value) for record, _ in bad)), ""):
        text += f"; the first one has {first}"
    remedy = "Such records go to the dead letters; if they are clicks, correct the section [click]"
    return Finding(f"topic {sample.topic}, its last {count} records: {text}", remedy, 2 * len(bad) > count)


def times(sample: Sample, now_ms: int) -> Finding | None:
    """Return whether the clicks have plausible times; None without clicks."""
    count = len(sample.clicks)
    if not count:
        return None
    early = [click for click in sample.clicks if click.timestamp_ms < EARLIEST_MS]
    late = [click for click in sample.clicks if click.timestamp_ms > now_ms + AHEAD_MS]
    faults = [
        f"{len(some)} of {count} clicks are {what}, such as {_moment(some[0])}"
        for some, what in ((early, "from before 2000"), (late, "from the future"))
        if some
    ]
    if not faults:
        return Finding(f"times of clicks: {_moment(min(sample.clicks, key=_time))} and later")
    remedy = "Times are milliseconds since 1970 (UTC) or RFC 3339 text; correct click.timestamp or the sender"
    return Finding(f"times of clicks: {'; '.join(faults)}", remedy, 2 * (len(early) + len(late)) > count)


def known_items(sample: Sample, release: int, catalogue: Catalogue) -> Finding | None:
    """Return what share of the clicks is on items that a release knows; None without clicks."""
    count = len(sample.clicks)
    if not count:
        return None
    item_ids = [click.item_id for click in sample.clicks]
    indexes = catalogue.indexes(item_ids)
    unknown = [item_id for item_id, index in zip(item_ids, indexes, strict=True) if index == NO_ITEM]
    text = f"@champion, release {release}, knows the items of {count - len(unknown)} of {count} clicks"
    if 2 * len(unknown) <= count:
        return Finding(text)
    remedy = "Train on clicks of this topic, or correct click.item_id: of unknown items nothing is learned"
    return Finding(f"{text}; it does not know {unknown[0]!r}", remedy, fails=len(unknown) == count)


def _time(click: Click) -> int:
    return click.timestamp_ms


def _moment(click: Click) -> str:
    return datetime.fromtimestamp(click.timestamp_ms / 1000, UTC).isoformat(timespec="seconds")
