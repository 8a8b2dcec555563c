"""Diagnosis of the last records of the items topic, decoded as a worker would decode them."""

from __future__ import annotations

from collections import Counter
from typing import Final, NamedTuple

import numpy as np

from worker.core.catalogue import Catalogue
from worker.core.diagnosis import field_list, look_alike
from worker.core.item_record import ItemDecoder
from worker.core.known_items import Change, Item
from worker.core.ranking import NO_ITEM
from worker.core.reasons import Reason
from worker.kafka.interface import Connection, Record
from worker.topics.compacted import decoded
from worker.topics.findings import Finding
from worker.topics.sample import last_records

_COMPARED: Final = 200_000
"""Maximum number of catalogue items that are searched for an id in another notation."""


class ItemSample(NamedTuple):
    """The last records of the items topic, and what each says."""

    topic: str
    records: list[Record]
    found: list[Change | Reason]


def last(connection: Connection, topic: str, decoder: ItemDecoder) -> ItemSample:
    """Read the last records of `topic`. Raises KafkaAway, NotAllowed, TopicError, RegistryAway."""
    records = last_records(connection, topic)
    return ItemSample(topic, records, [decoded(one, decoder) for one in records])


def decoding(sample: ItemSample) -> Finding:
    """Return what the records say, and what is wrong with those that are refused."""
    topic, count = sample.topic, len(sample.records)
    if not count:
        return Finding(f"topic {topic} has no records yet: all items are available")
    bad = Counter(one for one in sample.found if isinstance(one, Reason))
    items = [one[1] for one in sample.found if not isinstance(one, Reason)]
    gone, unavailable = items.count(None), sum(one is not None and not one.available for one in items)
    tagged, timed = (sum(is_so(one) for one in items if one) for is_so in (_has_tags, _has_times))
    text = (
        f"topic {topic}, last {count} records: {unavailable} unavailable, {gone} gone, {tagged} with tags, "
        f"{timed} with a validity"
    )
    if not bad:
        return Finding(text)
    reasons = ", ".join(f"{number} {reason}" for reason, number in bad.most_common())
    records = (one for one, found in zip(sample.records, sample.found, strict=True) if found in bad)
    names = field_list(next(records).value)
    first = f"; the first of them has the fields {names}" if names else ""
    return Finding(
        f"{text}, {bad.total()} refused ({reasons}){first}",
        "The description before a refused record stands; fix the sender, or the section [item]",
        2 * bad.total() > count,
    )


def known_items(sample: ItemSample, release: int, catalogue: Catalogue) -> Finding | None:
    """Return how many of the described items a release knows; None without a description."""
    ids = [one[0] for one in sample.found if not isinstance(one, Reason)]
    if not ids:
        return None
    unknown = [one for one, at in zip(ids, catalogue.indexes(ids), strict=True) if at == NO_ITEM]
    text = f"@champion, release {release}, knows {len(ids) - len(unknown)} of the items of {len(ids)} records"
    if len(unknown) < len(ids):
        return Finding(text)
    some = catalogue.ids(np.arange(min(len(catalogue), _COMPARED))).tolist()
    here, there = look_alike(unknown, some) or (unknown[0], some[0] if some else "nothing")
    remedy = "Fix item.item_id or click.item_id: the records have no effect on lists"
    return Finding(f"{text}; the topic has {here!r}, the catalogue {there!r}", remedy, fails=False)


def _has_tags(item: Item) -> bool:
    return bool(item.tags)


def _has_times(item: Item) -> bool:
    return item.valid_from_ms is not None or item.valid_until_ms is not None
