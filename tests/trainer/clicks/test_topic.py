"""What the trainer learns from a topic: all clicks that are in it, in the order in which they came."""

from __future__ import annotations

import orjson
import pytest

from tests.trainer.builders import click_records, cyclic_clicks
from trainer.clicks.topic import read_topic
from trainer.errors import UnusableClicks
from worker.core.event import Decoder, Fields
from worker.core.where import parse_where
from worker.errors import KafkaAway, TopicError
from worker.kafka.memory import MemoryCluster

DECODER = Decoder(Fields("user", "product.id", "timestamp"))


def cluster_with(sessions: int) -> MemoryCluster:
    """A cluster whose topic `clicks` holds sessions on four partitions."""
    cluster = MemoryCluster()
    cluster.create("clicks", partitions=4)
    for partition, value in click_records(sessions):
        cluster.produce("clicks", value, partition=partition)
    return cluster


def test_the_topic_is_read_whole_and_in_order() -> None:
    """Every click of every partition once, each user's in the order of arrival."""
    table, removals = read_topic(cluster_with(500).connect(), "clicks", DECODER)

    by_user = cyclic_clicks(500).sort("user_id", maintain_order=True)
    assert table.clicks.sort("user_id", maintain_order=True).rows() == by_user.rows()
    assert removals == []


def test_what_is_no_click_is_left_aside_and_counted() -> None:
    """By its reason."""
    cluster = cluster_with(60)
    for value in (b"no click", None, b"no click"):
        cluster.produce("clicks", value)

    table, removals = read_topic(cluster.connect(), "clicks", DECODER)

    assert len(table.clicks) == 300
    assert [(one.removed, one.why) for one in removals] == [
        (2, "not a click (unknown_format)"),
        (1, "not a click (null_value)"),
    ]


def test_what_nobody_can_decode_is_left_aside_and_counted() -> None:
    """Reading goes on behind it."""
    cluster = cluster_with(60)
    cluster.produce_unreadable("clicks", offsets=7)
    for partition, value in click_records(60):
        cluster.produce("clicks", value, partition=partition)

    table, removals = read_topic(cluster.connect(), "clicks", DECODER)

    assert len(table.clicks) == 600
    assert [(one.removed, one.why) for one in removals] == [(1, "not a click (unreadable)")]


def test_what_does_not_count_is_left_aside_and_counted() -> None:
    """It is no fault of the record; several clicks of one record all count."""
    cluster = MemoryCluster()
    cluster.create("clicks")
    now = cluster.now_ms
    items = [{"sku": "lamp", "at": now - 2_000}, {"sku": "rug", "at": now - 1_000}]
    for kind in ("view", "scroll", "scroll"):
        cluster.produce("clicks", orjson.dumps({"user": 7.0, "items": items, "type": kind}))
    decoder = Decoder(Fields("user", "items[].sku", "items[].at"), where=parse_where("type = view, cart"))

    table, removals = read_topic(cluster.connect(), "clicks", decoder)

    assert table.clicks.rows() == [("7", "lamp", now - 2_000), ("7", "rug", now - 1_000)]
    assert [(one.removed, one.why) for one in removals] == [(2, "skipped (where)")]


def test_a_mixture_of_units_and_a_missing_time_are_named() -> None:
    """As `check` does; times of one kind need no word."""
    cluster = MemoryCluster()
    cluster.create("clicks", partitions=2)
    now = cluster.now_ms
    for number, moment in enumerate([now, now, now // 1000]):
        value = {"user_id": 7, "item_id": number, "timestamp": moment}
        cluster.produce("clicks", orjson.dumps(value), partition=number % 2)

    def times(field: str) -> str:
        return read_topic(cluster.connect(), "clicks", Decoder(Fields(timestamp=field)))[0].times

    assert times("timestamp").endswith(
        f"2 in milliseconds, such as {now}; 1 in seconds, such as {now // 1000}"
    )
    assert times("at") == "as the worker reads it: no click has it, so the times of the records are used"
    assert read_topic(cluster_with(60).connect(), "clicks", DECODER)[0].times == "as the worker reads it"


def test_a_topic_without_clicks_is_refused() -> None:
    """An empty one, one that holds something else (the reasons are named), and one that is not there."""
    cluster = MemoryCluster()
    for topic in ("empty", "other"):
        cluster.create(topic)
    cluster.produce("other", b"{}")
    cluster.produce("other", None)
    connection = cluster.connect()

    with pytest.raises(UnusableClicks, match="topic empty has no records yet"):
        read_topic(connection, "empty", Decoder(Fields()))
    with pytest.raises(UnusableClicks, match=r"have no value.*click"):
        read_topic(connection, "other", Decoder(Fields()))
    with pytest.raises(TopicError, match="topic nowhere does not exist"):
        read_topic(connection, "nowhere", Decoder(Fields()))
    with pytest.raises(TopicError, match=r"topic othre does not exist \(did you mean other\?\)"):
        read_topic(connection, "othre", Decoder(Fields()))
    cluster.down()
    with pytest.raises(KafkaAway):
        read_topic(connection, "other", Decoder(Fields()))
