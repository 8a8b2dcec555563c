"""The output topic: one list for one click, in either format."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgpack
import numpy as np
import orjson
import pytest

from worker.core.event import Decoder, Fields
from worker.core.recommender import Recommendations
from worker.kafka.memory import MemoryCluster, MemoryRecord
from worker.topics.clicks import decode
from worker.topics.recommendations import ENCODERS, RecommendationWriter


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
