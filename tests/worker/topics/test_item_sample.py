"""What `check` says of the last records of the items topic."""

from __future__ import annotations

from typing import Any

import orjson

from worker.core.catalogue import Catalogue
from worker.core.item_record import ItemDecoder
from worker.kafka.memory import MemoryCluster
from worker.topics.item_sample import ItemSample, decoding, known_items, last


def sample_of(**items: Any) -> ItemSample:
    """The sample of a topic with these records, by item id."""
    cluster = MemoryCluster()
    cluster.create("items")
    for item, document in items.items():
        value = None if document is None else orjson.dumps(document)
        cluster.produce("items", value, key=item.encode())
    return last(cluster.connect(), "items", ItemDecoder())


def test_what_the_records_say_is_counted() -> None:
    """So that a field that is named wrongly stands out as a zero."""
    finding = decoding(sample_of(a={"available": False}, b=None, c={"tags": ["x"], "valid_from": 1}))

    assert finding.line == (
        "ok    topic items, last 3 records: 1 unavailable, 1 gone, 1 with tags, 1 with a validity"
    )
    assert decoding(sample_of()).line == "ok    topic items has no records yet: all items are available"


def test_refused_records_are_explained() -> None:
    """It fails if most are refused."""
    few = decoding(sample_of(a={"available": "perhaps", "x": {"y": 1}}, b={}))
    most = decoding(sample_of(a={"available": "perhaps"}, b={"price": "low"}))

    assert "1 refused (1 wrong_type); the first of them has the fields available, x.y" in few.what
    assert (few.failed, most.failed) == (False, True)
    assert "fix the sender, or the section [item]" in few.remedy


def test_ids_that_no_release_knows_are_shown() -> None:
    """With one of the catalogue's, to compare."""
    catalogue = Catalogue(["lamp-1", "rug"])

    good = known_items(sample_of(rug={}, sofa={}), 3, catalogue)
    bad = known_items(sample_of(**{"Lamp 1": {}}), 3, catalogue)

    assert good
    assert good.line == "ok    @champion, release 3, knows 1 of the items of 2 records"
    assert bad
    assert "the topic has 'Lamp 1', the catalogue 'lamp-1'" in bad.line
    assert "Fix item.item_id or click.item_id" in bad.remedy
    assert known_items(sample_of(), 3, catalogue) is None
