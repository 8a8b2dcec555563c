"""The input topic: records become columns, or are handed back with their reason."""

from __future__ import annotations

import orjson

from worker.core.event import Decoder, Fields
from worker.core.reasons import Reason
from worker.kafka.memory import MemoryCluster
from worker.topics.clicks import decode


def test_clicks_become_columns_and_the_rest_is_handed_back() -> None:
    """In the order of arrival; each with its partition, its offset and both of its times."""
    cluster = MemoryCluster()
    cluster.create("clicks", partitions=2)
    cluster.produce("clicks", b'{"user_id": "ada", "item_id": "lamp", "timestamp": 1699999999000}')
    cluster.produce("clicks", b"no click")
    cluster.produce("clicks", b'{"user_id": "bob", "item_id": "sofa"}', partition=1)
    cluster.produce("clicks", None, partition=1)
    records = cluster.read("clicks")

    decoded = decode(records, Decoder(Fields()))
    clicks, bad = decoded.clicks, decoded.bad

    assert clicks.user_ids == ["ada", "bob"]
    assert clicks.item_ids == ["lamp", "sofa"]
    assert clicks.partitions.tolist() == [0, 1]
    assert clicks.offsets.tolist() == [0, 0]
    assert clicks.timestamps_ms.tolist() == [1_699_999_999_000, cluster.now_ms]
    assert clicks.record_timestamps_ms.tolist() == [cluster.now_ms, cluster.now_ms]
    assert bad == [(records[1], Reason.UNKNOWN_FORMAT, ""), (records[3], Reason.NULL_VALUE, "")]


def test_what_nobody_can_decode_is_no_click_whatever_its_bytes_are() -> None:
    """They may look like one."""
    cluster = MemoryCluster()
    cluster.create("clicks")
    cluster.produce_unreadable("clicks", b'{"user_id": "ada", "item_id": "lamp"}', offsets=2)
    records = cluster.read("clicks")

    decoded = decode(records, Decoder(Fields()))

    assert len(decoded.clicks) == 0
    assert decoded.bad == [(records[0], Reason.UNREADABLE, "")]


def test_no_record_is_no_click() -> None:
    """The columns are empty, and have their types."""
    decoded = decode([], Decoder(Fields()))
    clicks = decoded.clicks

    assert len(clicks) == 0
    assert clicks.offsets.dtype == "int64"
    assert (decoded.bad, decoded.records) == ([], 0)


def decoded_times(*moments: object) -> dict[str, tuple[int, object]]:
    """Return the counts of these times, each in a click."""
    cluster = MemoryCluster()
    cluster.create("clicks")
    for moment in moments:
        cluster.produce("clicks", orjson.dumps({"user_id": "ada", "item_id": "lamp", "timestamp": moment}))
    return decode(cluster.read("clicks"), Decoder(Fields())).times


def test_times_are_counted_by_kind_with_an_example() -> None:
    """Integers in milliseconds, too, which the decoder does not count itself."""
    a, b = 1_690_000_000_000, 1_690_000_000

    assert decoded_times() == {}
    assert decoded_times(a, a) == {"milliseconds": (2, a)}
    assert decoded_times(b, a, None, b) == {"seconds": (2, b), "milliseconds": (1, a), "": (1, None)}
    assert decoded_times(str(a), a) == {"milliseconds": (2, str(a))}
    assert decoded_times(*[b] * 100, a) == {"seconds": (100, b), "milliseconds": (1, None)}
