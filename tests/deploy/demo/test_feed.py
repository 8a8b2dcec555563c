from __future__ import annotations

import itertools
import threading
import time
from contextlib import closing

import orjson
import pytest
from kafka import KafkaConsumer, TopicPartition
from kafka.admin import KafkaAdminClient, NewTopic

from deploy.demo.broker import Broker
from deploy.demo.data import Click
from deploy.demo.errors import Interrupted
from deploy.demo.feed import PEOPLE, endless, feed
from deploy.demo.life import Life
from deploy.demo.replay import ClickSender, side_by_side

RECORDED = [Click(str(user), str(item), item) for user in range(3) for item in range(2)]


def test_every_round_has_other_users_and_the_same_clicks() -> None:
    """Or one user's sessions would never end."""
    once = [click._replace(user_id=f"1/{click.user_id}") for click in side_by_side(RECORDED, 3)]
    clicks = [*itertools.islice(endless(RECORDED), 2 * len(once))]

    assert clicks[: len(once)] == once
    assert clicks[len(once) :] == [click._replace(user_id=f"2{click.user_id[1:]}") for click in once]
    assert len(RECORDED) < PEOPLE  # a recording of fewer people than that is played, too


def test_clicks_are_sent_as_if_they_happened_now(life: Life, embedded: Broker) -> None:
    """Not in 1998: the worker answers none that is older than a minute, and sessions are of today."""
    settings = {"bootstrap_servers": embedded.bootstrap}
    with closing(KafkaAdminClient(**settings)) as admin:
        admin.create_topics([NewTopic(name="clicks", num_partitions=1, replication_factor=1)])
    with ClickSender(settings, "clicks") as sender:
        feed(life, sender, iter(RECORDED), per_second=1_000)
    reader = KafkaConsumer(**settings, group_id=None, auto_offset_reset="earliest", consumer_timeout_ms=2_000)
    reader.assign([TopicPartition("clicks", 0)])
    with closing(reader):
        found = [orjson.loads(record.value) for record in itertools.islice(reader, len(RECORDED))]

    assert [(one["user_id"], one["item_id"]) for one in found] == [click[:2] for click in RECORDED]
    assert all(abs(one["timestamp"] / 1000 - time.time()) < 60 for one in found)


def test_it_stops_when_it_is_asked_to(life: Life, embedded: Broker) -> None:
    """Also while it waits for the next click to be due."""
    with ClickSender({"bootstrap_servers": embedded.bootstrap}, "clicks") as sender:
        threading.Timer(0.2, life._on_signal, (15, None)).start()
        with pytest.raises(Interrupted):
            feed(life, sender, endless(RECORDED), per_second=0.001)
