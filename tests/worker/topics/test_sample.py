from __future__ import annotations

import orjson

from worker.core.catalogue import Catalogue
from worker.core.event import Decoder, Fields
from worker.kafka.memory import MemoryCluster
from worker.topics.sample import SAMPLE, Sample, decoding, known_items, last, times

FIELDS = Fields("user_id", "item_id")


def sample_of(*documents: object, partitions: int = 1) -> tuple[MemoryCluster, Sample]:
    """Return a cluster with these records in its clicks, in turn over the partitions, and their sample."""
    cluster = MemoryCluster()
    cluster.create("clicks", partitions=partitions)
    for number, document in enumerate(documents):
        cluster.produce("clicks", orjson.dumps(document), partition=number % partitions)
        cluster.advance(0.001)
    return cluster, last(cluster.connect(), "clicks", Decoder(FIELDS))


def click(item: str, timestamp: int) -> dict[str, object]:
    """Return a click as a document."""
    return {"user_id": "ada", "item_id": item, "timestamp": timestamp}


def test_the_last_records_of_all_partitions_are_taken() -> None:
    """The newest by time, wherever they stand."""
    now = MemoryCluster().now_ms
    _, found = sample_of(*(click(f"item-{n}", now) for n in range(2 * SAMPLE)), partitions=3)

    assert [one.item_id for one in found.clicks] == [f"item-{n}" for n in range(SAMPLE, 2 * SAMPLE)]


def test_a_wrong_mapping_is_named_with_the_fields_there_are() -> None:
    """It fails where most records are no clicks, and is a note where few are."""
    now = MemoryCluster().now_ms
    _, foreign = sample_of(*[{"who": {"id": "a"}, "what": {"sku": "x"}}] * 3)
    _, mixed = sample_of(click("x", now), click("y", now), {"who": 1})

    finding = decoding(foreign, FIELDS)

    assert "3 of 3 have no field user_id and no field item_id" in finding.what
    assert "the first one has who.id, what.sku" in finding.what
    assert (finding.fails, decoding(mixed, FIELDS).fails) == (True, False)
    assert decoding(sample_of()[1], FIELDS).what == "topic clicks has no records yet"


def test_what_nobody_can_decode_is_named() -> None:
    """Not by its bytes."""
    cluster = MemoryCluster()
    cluster.create("clicks")
    cluster.produce_unreadable("clicks", b'{"user_id": "ada"}', offsets=2)

    finding = decoding(last(cluster.connect(), "clicks", Decoder(FIELDS)), FIELDS)

    assert "1 of 1 are damaged: they cannot be decoded as records" in finding.what


def test_times_in_seconds_are_noticed() -> None:
    """They are read as January 1970."""
    cluster, found = sample_of(click("x", 1_700_000_000))
    good = sample_of(click("x", cluster.now_ms))[1]

    finding, fine = times(found, cluster.now_ms), times(good, cluster.now_ms)

    assert finding is not None
    assert "1 of 1 clicks are from before 2000, such as 1970-01-20" in finding.what
    assert finding.fails
    assert fine is not None
    assert not fine.remedy
    assert times(sample_of()[1], 0) is None


def test_items_that_the_champion_does_not_know_are_counted() -> None:
    """It fails where it knows none."""
    now = MemoryCluster().now_ms
    found = sample_of(click("lamp", now), click("sofa", now), click("desk", now))[1]

    some, none = known_items(found, 3, Catalogue(["lamp"])), known_items(found, 3, Catalogue(["rug"]))

    assert some is not None
    assert none is not None
    assert "release 3, knows the items of 1 of 3 clicks; it does not know 'sofa'" in some.what
    assert (some.fails, none.fails) == (False, True)
