from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import orjson

from tests.worker.schemas.test_avro import written
from worker.core.catalogue import Catalogue
from worker.core.event import Decoder, Fields
from worker.core.event_types import EventTypes
from worker.core.framing import VALUE_HEADER
from worker.core.paths import parse
from worker.core.where import Clause, parse_where
from worker.kafka.memory import MemoryCluster
from worker.schemas.interface import Schema
from worker.schemas.memory import MemoryRegistry
from worker.schemas.parser import FramedParser
from worker.schemas.reading import FrameReader
from worker.topics.sample import SAMPLE, Sample, ages, decoding, known_items, last, times

FIELDS = Fields("user_id", "item_id")


def sample_of(
    *documents: object, partitions: int = 1, where: Sequence[Clause] = ()
) -> tuple[MemoryCluster, Sample]:
    """Return a cluster with these records in its clicks, in turn over the partitions, and their sample."""
    cluster = MemoryCluster()
    cluster.create("clicks", partitions=partitions)
    for number, document in enumerate(documents):
        cluster.produce("clicks", orjson.dumps(document), partition=number % partitions)
        cluster.advance(0.001)
    return cluster, last(cluster.connect(), "clicks", Decoder(FIELDS, where=where))


def click(item: str, timestamp: object) -> dict[str, object]:
    """Return a click as a document."""
    return {"user_id": "ada", "item_id": item, "timestamp": timestamp}


def test_the_last_records_of_all_partitions_are_taken() -> None:
    """The newest by time, wherever they stand."""
    now = MemoryCluster().now_ms
    _, found = sample_of(*(click(f"item-{n}", now) for n in range(2 * SAMPLE)), partitions=3)

    assert found.decoded.clicks.item_ids == [f"item-{n}" for n in range(SAMPLE, 2 * SAMPLE)]


def test_a_wrong_mapping_is_named_with_the_fields_there_are() -> None:
    """It fails where most records are no clicks, and is a note where few are."""
    now = MemoryCluster().now_ms
    _, foreign = sample_of(*[{"who": {"id": "a"}, "what": {"sku": "x"}}] * 3)
    _, mixed = sample_of(click("x", now), click("y", now), {"who": 1})

    finding = decoding(foreign)

    assert "3 of 3 have no field user_id and no field item_id" in finding.what
    assert "the first of them has the fields who.id, what.sku" in finding.what
    assert (finding.fails, decoding(mixed).fails) == (True, False)
    assert decoding(sample_of()[1]).what == "topic clicks has no records yet"


def test_types_of_events_are_counted() -> None:
    """How many events are clicks and purchases, and which types there are where some are skipped."""
    now = MemoryCluster().now_ms
    kinds = ("view", "purchase", "both", "search")
    cluster, _ = sample_of(*({**click("x", now), "type": kind} for kind in kinds))
    types = EventTypes(parse("type"), step=["view", "both"], exclude=["purchase", "both"])
    every = EventTypes(parse("type"), exclude=["purchase"])

    some, all_of_them = (
        decoding(last(cluster.connect(), "clicks", Decoder(FIELDS, types=one))).what for one in (types, every)
    )

    assert "1 of 4 are skipped (1 type); type is 'view' (1), 'purchase' (1), 'both' (1)" in some
    assert "clicks: 2, bought items: 2" in some
    assert all_of_them == "topic clicks: the last 4 records are events; clicks: 3, bought items: 1"


def test_what_nobody_can_decode_is_named() -> None:
    """Not by its bytes."""
    cluster = MemoryCluster()
    cluster.create("clicks")
    cluster.produce_unreadable("clicks", b'{"user_id": "ada"}', offsets=2)

    finding = decoding(last(cluster.connect(), "clicks", Decoder(FIELDS)))

    assert "1 of 1 are damaged: they cannot be decoded as Kafka records" in finding.what


def test_times_of_one_unit_are_named() -> None:
    """Whichever it is; of records whose time counts nothing is said but that."""
    cluster, seconds = sample_of(click("x", 1_700_000_000), click("x", 1_700_000_060))
    own = sample_of({"user_id": "ada", "item_id": "x"})[1]

    in_seconds, of_records = times(seconds, cluster.now_ms), times(own, cluster.now_ms)

    assert in_seconds is not None
    assert in_seconds.what == (
        "times in seconds: from 2023-11-14T22:13:20+00:00 to 2023-11-14T22:14:20+00:00"
    )
    assert of_records is not None
    assert of_records.what.startswith("times of the records: ")
    assert times(sample_of()[1], 0) is None


def test_a_mixture_of_units_is_named_with_counts_and_examples() -> None:
    """It is a note: each is read by its own size."""
    now = MemoryCluster().now_ms
    found = sample_of(click("x", now), click("x", now), click("x", now // 1000), click("x", "2023-11-14"))[1]

    finding = times(found, now)

    assert finding is not None
    assert not finding.fails
    assert (
        f"3 different units or types: 2 in milliseconds, such as {now}; "
        f"1 in dates and times, such as '2023-11-14'; 1 in seconds, such as {now // 1000}"
    ) in finding.what


def test_times_from_the_future_are_noticed() -> None:
    """Records without a time of their own bound nothing."""
    cluster, found = sample_of(click("x", MemoryCluster().now_ms + 1_800_000))

    finding = times(found, cluster.now_ms)

    assert finding is not None
    assert "1 of 1 clicks are in the future" in finding.what
    assert finding.failed


def test_what_is_skipped_trimmed_or_several_is_said() -> None:
    """And nothing of it is a fault, unless nothing counts."""
    now = MemoryCluster().now_ms
    documents = [{**click(" x ", now), "type": kind} for kind in ("view", "view", "scroll")]
    several = sample_of([click("x", now), click("y", now)])[1]

    some = decoding(sample_of(*documents, where=parse_where("type = view"))[1])
    none = decoding(sample_of(*documents, where=parse_where("type = buy"))[1])

    assert (
        "1 of 3 are skipped (1 where); type is 'view' (2), 'scroll' (1); "
        "2 ids have whitespace around them, which is removed" in some.what
    )
    assert not some.remedy
    assert none.failed
    assert "type is 'view' (2), 'scroll' (1)" in none.what
    assert decoding(several).what.endswith("are clicks; they have 2 clicks, because some have several")


def test_a_condition_on_a_field_that_no_record_has_is_named() -> None:
    """With the fields that there are."""
    _, found = sample_of(click("x", 1_790_000_000), where=parse_where("typ = view"))

    assert (
        "no record has the field typ; the first one has user_id, item_id, timestamp" in decoding(found).what
    )


def test_a_named_time_that_no_click_has_is_noticed() -> None:
    """The records' own times are used, which nobody may have wanted."""
    cluster = sample_of(click("x", 1))[0]
    found = last(cluster.connect(), "clicks", Decoder(replace(FIELDS, timestamp="when")))

    finding = times(found, cluster.now_ms)

    assert finding is not None
    assert finding.what.startswith("no click has the field when (click.timestamp); the times of the records")
    assert (finding.remedy, finding.failed) == ("Fix click.timestamp, or leave it out", False)


def test_records_too_old_for_a_list_are_named() -> None:
    """Unless there is no limit, or no record."""
    cluster, found = sample_of(click("x", MemoryCluster().now_ms))
    later_ms = cluster.now_ms + 7 * 86_400_000

    finding = ages(found, later_ms, max_age_seconds=60.0)

    assert finding is not None
    assert finding.what.startswith("the newest record is 7 days old; a record older than")
    assert ages(found, later_ms, max_age_seconds=0.0) is None
    assert ages(found, cluster.now_ms, max_age_seconds=60.0) is None
    assert ages(sample_of()[1], later_ms, max_age_seconds=60.0) is None


def test_an_envelope_is_recognised() -> None:
    """With the setting to write."""
    event = {"user_id": 1, "item_id": 2}
    cloud = sample_of({"specversion": "1.0", "type": "click", "id": "1", "source": "/", "data": event})[1]
    change = sample_of({"schema": {}, "payload": {"op": "c", "before": None, "after": event}})[1]

    assert 'set click.envelope = "cloudevents"' in decoding(cloud).remedy
    assert 'set click.envelope = "debezium"' in decoding(change).remedy


def test_records_with_their_schema_in_a_header_are_named_by_their_fields() -> None:
    """With a registry; without one, the header says that one is missing."""
    registry, cluster = MemoryRegistry(), MemoryCluster()
    fields = [{"name": "who", "type": "string"}, {"name": "what", "type": "string"}]
    schema = {"type": "record", "name": "Click", "fields": fields}
    guid = registry.guid(registry.register("clicks", Schema(orjson.dumps(schema).decode())))
    cluster.create("clicks")
    value = written(schema, {"who": "ada", "what": "lamp"})
    cluster.produce("clicks", value, headers=[(VALUE_HEADER, b"\1" + guid.bytes)])
    parser = FramedParser(FrameReader(registry, steady=lambda: 0.0))
    decoders = Decoder(FIELDS, parse=parser), Decoder(FIELDS)

    known, unknown = (decoding(last(cluster.connect(), "clicks", decoder)).what for decoder in decoders)

    assert "have no field user_id and no field item_id" in known
    assert "has the fields who, what" in known
    assert f"have the frame of a schema registry (schema GUID {guid})" in unknown


def test_items_that_the_champion_does_not_know_are_counted() -> None:
    """It fails where it knows none."""
    now = MemoryCluster().now_ms
    found = sample_of(click("lamp", now), click("sofa", now), click("desk", now))[1]

    some, none = known_items(found, 3, Catalogue(["lamp"])), known_items(found, 3, Catalogue(["rug", "SOFA"]))

    assert some is not None
    assert none is not None
    assert (
        "release 3, knows the items of 1 of 3 clicks; the topic has 'sofa', the catalogue 'lamp'" in some.what
    )
    assert "the topic has 'sofa', the catalogue 'SOFA'" in none.what
    assert (some.fails, none.fails) == (False, True)
