"""Diagnosis of the last records of the clicks topic, decoded as a worker would decode them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np

from worker.core import envelopes, paths
from worker.core.catalogue import Catalogue
from worker.core.diagnosis import about, fault, field_list, look_alike, mixture
from worker.core.event import Decoder, Fields, parsed
from worker.core.event_types import EXCLUDE, STEP
from worker.core.ranking import NO_ITEM
from worker.core.reasons import Reason
from worker.core.times import NO_TIME
from worker.errors import NextclickError
from worker.kafka import history
from worker.kafka.history import Span
from worker.kafka.interface import Connection, Record
from worker.schemas.parser import FramedParser
from worker.topics.clicks import Decoded, decode
from worker.topics.findings import Finding, failure

SAMPLE: Final = 100
"""The number of records in a sample."""

AHEAD_MS: Final = 60_000
"""Tolerance for differences between clocks, in ms: only clicks further ahead are reported."""

_SHOWN: Final = 5
"""Maximum number of values of a field in a message."""

_COMPARED: Final = 200_000
"""Maximum number of catalogue items that are searched for an id in another notation."""


@dataclass(frozen=True, slots=True)
class Sample:
    """The last records of a topic and the result of decoding them."""

    topic: str
    records: list[Record]
    decoder: Decoder
    decoded: Decoded

    def __len__(self) -> int:
        return len(self.records)

    @property
    def times_ms(self) -> list[int]:
        """The times of the clicks, in ms since the epoch."""
        return [int(one) for one in self.decoded.clicks.timestamps_ms]


def last(connection: Connection, topic: str, decoder: Decoder) -> Sample:
    """Read the last clicks of `topic`, over all its partitions. Raises KafkaAway, NotAllowed, TopicError."""
    records = last_records(connection, topic)
    return Sample(topic, records, decoder, decode(records, decoder))


def last_records(connection: Connection, topic: str) -> list[Record]:
    """Return the last records of `topic` by time, over all its partitions.

    Raises KafkaAway, NotAllowed, TopicError.
    """

    def begins(spans: Mapping[int, Span]) -> dict[int, int]:
        return {partition: max(span.first, span.end - SAMPLE) for partition, span in spans.items()}

    found = [record for some in history.read(connection, topic=topic, begins=begins) for record in some]
    found.sort(key=lambda record: (record.timestamp, record.offset))
    return found[-SAMPLE:]


def checked(
    connection: Connection, topic: str, decoder: Decoder, parser: FramedParser | None, *, now_ms: int
) -> tuple[Sample | None, list[Finding]]:
    """Return the last records of `topic`, or None if they cannot be read, and the findings on them.

    `parser`: the parser of `decoder` if there is a schema registry.
    """
    try:
        found = last(connection, topic, decoder)
    except NextclickError as error:
        return None, [failure(error)]
    problems = [
        Finding(problem, "Records with this schema become dead letters", fails=False)
        for problem in (parser.problems() if parser else ())
    ]
    moments = times(found, now_ms)
    return found, [decoding(found), *problems, *([moments] if moments else [])]


def decoding(sample: Sample) -> Finding:
    """Return how many of the records are clicks, and what is wrong with the other records."""
    count, bad, skipped = len(sample), sample.decoded.bad, sample.decoded.skipped.total()
    if not count:
        return Finding(f"topic {sample.topic} has no records yet")
    if not bad and not skipped and not sample.decoded.trimmed:
        what = "events" if sample.decoder.types else "clicks"
        more = _several(sample) + _by_kind(sample)
        return Finding(f"topic {sample.topic}: the last {count} records are {what}{more}")
    faults = Counter(_fault(one.record, one.reason, sample.decoder) for one in bad)
    parts = [f"{number} of {count} {what}" for what, number in faults.most_common()]
    if first := next(filter(None, (_field_list(one.record, sample.decoder) for one in bad)), ""):
        parts.append(f"the first of them has the fields {first}")
    if skipped:
        why = ", ".join(f"{number} {reason}" for reason, number in sample.decoded.skipped.most_common())
        parts.append("; ".join([f"{skipped} of {count} are skipped ({why})", *_conditions(sample)]))
    if sample.decoded.trimmed:
        parts.append(f"{sample.decoded.trimmed} ids have whitespace around them, which is removed")
    text = (
        f"topic {sample.topic}, last {count} records: {'; '.join(parts)}{_several(sample)}{_by_kind(sample)}"
    )
    if bad:
        return Finding(text, _remedy(sample, faults), 2 * len(bad) > count)
    if skipped == count:
        remedy = "No event counts as a click: fix click.where, events.step or click.envelope"
        return Finding(text, remedy, fails=True)
    return Finding(text)


def times(sample: Sample, now_ms: int) -> Finding | None:
    """Return the units of the times, and whether the times are plausible; None without clicks."""
    times_ms = sample.times_ms
    if not times_ms:
        return None
    faults = []
    late = [time_ms for time_ms in times_ms if time_ms > now_ms + AHEAD_MS]
    if late:
        faults.append(f"{len(late)} of {len(times_ms)} clicks are in the future, such as {_moment(late[0])}")
    kinds = [kind for kind in sample.decoded.times if kind != NO_TIME]
    if counts := mixture(sample.decoded.times):
        faults.append(f"the times have {len(kinds)} different units or types: {counts}")
    span = f"from {_moment(min(times_ms))} to {_moment(max(times_ms))}"
    name = sample.decoder.fields.timestamp
    if not kinds and name != Fields().timestamp:
        return Finding(
            f"no click has the field {name} (click.timestamp); the times of the records are used: {span}",
            "Fix click.timestamp, or leave it out",
            fails=False,
        )
    if not faults:
        return Finding(f"times{f' in {kinds[0]}' if kinds else ' of the records'}: {span}")
    remedy = "Each time is read in its own unit; fix the sender, click.timestamp or click.timestamp_unit"
    return Finding(f"times of clicks: {'; '.join(faults)}", remedy, 2 * len(late) > len(times_ms))


def ages(sample: Sample, now_ms: int, *, max_age_seconds: float) -> Finding | None:
    """Return the age of the newest record if it is too old for a list; otherwise None."""
    newest_ms = max((record.timestamp for record in sample.records), default=now_ms)
    age = (now_ms - newest_ms) / 1000
    if not max_age_seconds or age <= max_age_seconds:
        return None
    limit = about(max_age_seconds)
    return Finding(
        f"the newest record is {about(age)} old; a record older than recommend.publish_max_age ({limit}) "
        "updates the state of its user, but gets no list"
    )


def known_items(sample: Sample, release: int, catalogue: Catalogue) -> Finding | None:
    """Return the share of clicks on items that a release knows; None without clicks."""
    item_ids = sample.decoded.clicks.item_ids
    count = len(item_ids)
    if not count:
        return None
    indexes = catalogue.indexes(item_ids)
    unknown = [item_id for item_id, index in zip(item_ids, indexes, strict=True) if index == NO_ITEM]
    text = f"@champion, release {release}, knows the items of {count - len(unknown)} of {count} clicks"
    if 2 * len(unknown) <= count:
        return Finding(text)
    some = catalogue.ids(np.arange(min(len(catalogue), _COMPARED))).tolist()
    here, there = look_alike(unknown, some) or (unknown[0], some[0] if some else "nothing")
    remedy = "Train on clicks of this topic, or fix click.item_id: clicks on unknown items have no effect"
    text += f"; the topic has {here!r}, the catalogue {there!r}"
    return Finding(text, remedy, fails=len(unknown) == count)


def _several(sample: Sample) -> str:
    clicks, what = len(sample.decoded.clicks), "events" if sample.decoder.types else "clicks"
    return f"; they have {clicks} {what}, because some have several" if clicks > len(sample) else ""


def _by_kind(sample: Sample) -> str:
    if sample.decoder.types is None:
        return ""
    kinds = sample.decoded.clicks.kinds
    clicks, excluding = (int(np.count_nonzero(kinds & kind)) for kind in (STEP, EXCLUDE))
    return f"; clicks: {clicks}, bought items: {excluding}"


def _conditions(sample: Sample) -> Iterator[str]:
    """Yield, for each field that events are selected by, a phrase with its values in the sample."""
    documents = [_event(record, sample.decoder) for record in sample.records]
    types = sample.decoder.types
    selected_by = [*(clause.path for clause in sample.decoder.where), *([types.path] if types else [])]
    for path in selected_by:
        if path.root != "value" or path.each is not None:
            continue
        found = [paths.find(document, path.names) for document in documents]
        values = Counter(str(one) for one in found if one is not None and not isinstance(one, dict | list))
        if values:
            some = ", ".join(f"{value!r} ({number})" for value, number in values.most_common(_SHOWN))
            yield f"{path.text} is {some}"
        else:
            names = next(filter(None, (_field_list(one, sample.decoder) for one in sample.records)), "")
            yield f"no record has the field {path.text}" + (f"; the first one has {names}" if names else "")


def _remedy(sample: Sample, faults: Counter[str]) -> str:
    if faults.most_common(1)[0][0].endswith("set registry.url"):
        return "Such records go to the dead letters"
    bad = sample.decoded.bad
    found = Counter(
        envelopes.recognised(_event(one.record, sample.decoder), one.record.headers) for one in bad
    )
    envelope, number = found.most_common(1)[0]
    if envelope not in ("none", sample.decoder.envelope) and 2 * number > len(bad):
        return (
            f'They look like {envelope}: set click.envelope = "{envelope}"; paths then start inside the event'
        )
    return "Such records go to the dead letters; if they are clicks, fix the section [click]"


def _fault(record: Record, reason: Reason, decoder: Decoder) -> str:
    return fault(
        record.value, record.key, reason, decoder.fields, parse=decoder.parse, headers=record.headers
    )


def _field_list(record: Record, decoder: Decoder) -> str:
    return field_list(record.value, decoder.parse, record.headers)


def _event(record: Record, decoder: Decoder) -> Any:
    """Return the document in a record; of a list, its first element."""
    document = parsed(record.value, decoder.parse, record.headers)
    return document[0] if isinstance(document, list) and document else document


def _moment(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(timespec="seconds")
