"""The output topic: one list for one click, in either format."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import msgpack
import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from worker.core.batch import Clicks
from worker.core.event import Decoder, Fields
from worker.core.recommender import Recommendations
from worker.kafka.memory import MemoryCluster, MemoryRecord
from worker.topics.clicks import decode
from worker.topics.recommendations import ENCODERS, RecommendationWriter, encoder


def published(format: str) -> MemoryRecord:
    """A list for the second of two clicks, as it stands in the topic."""
    cluster = MemoryCluster()
    for topic in ("clicks", "lists"):
        cluster.create(topic, partitions=2)
    for user in ("ada", "bøb"):
        click = {"user_id": user, "item_id": "lamp", "timestamp": 1_699_999_999_000}
        cluster.produce("clicks", orjson.dumps(click), partition=1)
    clicks = decode(cluster.read("clicks"), Decoder(Fields())).clicks
    transactions = cluster.connect().transactions("worker", timeout_ms=10_000)
    transactions.renew()
    writer = RecommendationWriter(transactions, topic="lists", clicks_topic="clicks", encode=ENCODERS[format])
    one = Recommendations(1, ["sofa", "rug"], np.array([0.1, -2.5], np.float32), "model", 3)
    writer.publish(clicks, [one], now_ms=9)
    transactions.commit("clicks", {}, "group", seconds=1)
    (found,) = cluster.read("lists")
    return found


@pytest.mark.parametrize(("format", "decoded"), [("json", orjson.loads), ("msgpack", msgpack.unpackb)])
def test_a_list_says_what_it_answers(format: str, decoded: Callable[[bytes], Any]) -> None:
    """Keyed by the user, in the partition of the click, with an id that names the click."""
    found = published(format)
    document = decoded(found.value or b"")
    scores = document.pop("scores")

    assert (found.key, found.partition) == ("bøb".encode(), 1)
    assert found.headers == (("id", b"clicks/1/1"),)
    assert np.array(scores, np.float32).tolist() == np.array([0.1, -2.5], np.float32).tolist()
    assert document == {
        "user_id": "bøb",
        "items": ["sofa", "rug"],
        "release": 3,
        "reason": "model",
        "event": {"partition": 1, "offset": 1, "item_id": "lamp", "timestamp": 1_699_999_999_000},
        "produced_at": 9,
    }


def test_scores_are_single_precision() -> None:
    """Written as short as they are: 0.1, not 0.10000000149011612."""
    assert b'"scores":[0.1,-2.5]' in (published("json").value or b"")


ids = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
scores = arrays(np.float32, st.integers(0, 4), elements=st.floats(width=32))


@given(st.data(), st.lists(st.tuples(ids, ids), min_size=1, max_size=6), st.integers(0, 2**40))
def test_json_is_what_a_plain_encoder_writes(
    data: st.DataObject, users: list[tuple[str, str]], now_ms: int
) -> None:
    """Byte for byte, whatever the ids and scores, for lists of several lengths."""
    clicks = Clicks(
        partitions=np.arange(len(users), dtype=np.int32) % 3,
        offsets=np.arange(len(users)) + now_ms,
        user_ids=[user for user, _ in users],
        item_ids=[item for _, item in users],
        timestamps_ms=np.full(len(users), now_ms),
        record_timestamps_ms=np.full(len(users), now_ms),
    )
    lists = [
        Recommendations(at, data.draw(st.lists(ids, max_size=4)), data.draw(scores), data.draw(ids), at + 7)
        for at in data.draw(st.lists(st.sampled_from(range(len(users)))))
    ]
    plain = partial(orjson.dumps, option=orjson.OPT_SERIALIZE_NUMPY)

    assert ENCODERS["json"](clicks, lists, now_ms) == encoder(plain)(clicks, lists, now_ms)


def test_the_lists_of_a_partition_keep_their_order() -> None:
    """Also where the clicks of two partitions alternate; events of one record are numbered."""
    cluster = MemoryCluster()
    cluster.create("lists", partitions=2)
    transactions = cluster.connect().transactions("worker", timeout_ms=10_000)
    transactions.renew()
    times, at = np.zeros(6, np.int64), np.arange(6)
    clicks = Clicks(
        (at % 2).astype(np.int32),
        at // 4,
        list("abcdef"),
        ["lamp"] * 6,
        times,
        times,
        elements=at.astype(np.int32),
    )
    lists = [Recommendations(click, [], np.zeros(0, np.float32), "cold", 3) for click in range(6)]
    writer = RecommendationWriter(
        transactions, topic="lists", clicks_topic="clicks", encode=ENCODERS["msgpack"]
    )
    writer.publish(clicks, lists, now_ms=9)
    transactions.commit("clicks", {}, "group", seconds=1)
    found = cluster.read("lists")

    assert [(one.key, one.headers) for one in found if one.partition == 0] == [
        (b"a", (("id", b"clicks/0/0"),)),
        (b"c", (("id", b"clicks/0/0/2"),)),
        (b"e", (("id", b"clicks/0/1/4"),)),
    ]
    assert [one.key for one in found if one.partition == 1] == [b"b", b"d", b"f"]
