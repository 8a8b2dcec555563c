"""The trainer's two ends on a real Kafka: it learns from the topic of clicks, and publishes releases."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest
from click.testing import CliRunner

from tests.broker.client import Client, Record
from tests.conftest import TopicFactory
from tests.trainer.builders import cyclic_clicks
from trainer.clicks.columns import Columns
from trainer.clicks.topic import read_topic
from trainer.commands.cli import cli
from trainer.errors import UnusableClicks
from worker.core.release import from_records, parse_pointer, verify
from worker.errors import TopicError
from worker.kafka.connection import KafkaConnection


def records_of_cycle(sessions: int) -> list[Record]:
    """`cyclic_clicks` as JSON records, by user on four partitions."""
    rows = cyclic_clicks(sessions).rows()
    return [
        Record(
            orjson.dumps({"user": user, "product": {"id": item}, "timestamp": time}),
            partition=int(user.removeprefix("user-")) % 4,
        )
        for user, item, time in rows
    ]


def test_from_the_topic_to_a_published_champion(
    kafka: str, client: Client, topics: TopicFactory, tmp_path: Path
) -> None:
    """`fit --kafka` trains on what is in the topic, bad records left aside; `publish` makes it champion."""
    clicks, releases = topics("clicks", partitions=4), topics("releases")
    client.send(clicks, [*records_of_cycle(60), Record(b"no click", partition=0)])
    folder, runner = str(tmp_path / "release"), CliRunner()
    source = ["--kafka", kafka, "--topic", clicks, "--user", "user", "--item", "product.id"]
    quick = ["--hidden-size", "8", "--epochs", "1"]

    fitted = runner.invoke(cli, ["fit", *source, *quick, "-o", folder], catch_exceptions=False)
    published = runner.invoke(
        cli, ["publish", folder, "--kafka", kafka, "--topic", releases], catch_exceptions=False
    )

    assert "removed 1 of 301 records: no click (unknown_format)" in fitted.stderr
    assert published.stdout == f"release 1 is @champion in {releases}\n"
    held = {(one.key or b"").decode(): one.value or b"" for one in client.read(releases)}
    assert parse_pointer(held["@champion"]).release == 1
    assert verify(*from_records(held, 1)).manifest.items == 12


def test_the_topic_is_read_whole_and_in_order(kafka: str, client: Client, topics: TopicFactory) -> None:
    """Every click of every partition once, each user's in the order of arrival."""
    topic = topics("clicks", partitions=4)
    sent = records_of_cycle(500)
    client.send(topic, sent)

    table, removals = read_topic(
        KafkaConnection(kafka), topic, Columns(user="user", item="product.id", timestamp="timestamp")
    )

    by_user = cyclic_clicks(500).sort("user_id", maintain_order=True)
    assert table.clicks.sort("user_id", maintain_order=True).rows() == by_user.rows()
    assert removals == []


def test_a_topic_without_clicks_is_refused(kafka: str, client: Client, topics: TopicFactory) -> None:
    """An empty one, one that holds something else (the reasons are named), and one that is not there."""
    empty, other = topics("empty"), topics("other")
    client.send(other, [Record(b"{}"), Record(None)])

    with pytest.raises(UnusableClicks, match="no record in the topic"):
        read_topic(KafkaConnection(kafka), empty, Columns())
    with pytest.raises(UnusableClicks, match="'missing_field': 1, 'null_value': 1"):
        read_topic(KafkaConnection(kafka), other, Columns())
    with pytest.raises(TopicError, match="there is no topic nowhere"):
        read_topic(KafkaConnection(kafka), "nowhere", Columns())
