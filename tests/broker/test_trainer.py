"""The trainer's two ends on a real Kafka: it learns from the topic of clicks, and publishes releases."""

from __future__ import annotations

from pathlib import Path

from click.testing import CliRunner

from tests.broker.client import Client, Record
from tests.conftest import TopicFactory
from tests.trainer.builders import click_records, set_to
from trainer.commands.cli import cli
from worker.core.release import from_records, parse_pointer, verify


def records_of_cycle(sessions: int, *, partitions: int = 4) -> list[Record]:
    """`cyclic_clicks` as JSON records, by user on up to four partitions."""
    return [Record(value, partition=partition % partitions) for partition, value in click_records(sessions)]


def test_from_the_topic_to_a_published_champion(
    kafka: str, client: Client, topics: TopicFactory, tmp_path: Path
) -> None:
    """`fit` trains on what is in the topic, bad records left aside; `publish` makes it champion."""
    clicks, releases = topics("clicks", partitions=4), topics("releases")
    client.send(clicks, [*records_of_cycle(60), Record(b"no click", partition=0)])
    folder, runner = str(tmp_path / "release"), CliRunner()
    source = ["--kafka", kafka, "--clicks-topic", clicks, "--user", "user", "--item", "product.id"]
    quick = set_to("model.hidden_size=8", "training.epochs=1")

    fitted = runner.invoke(cli, ["fit", *source, *quick, "-o", folder], catch_exceptions=False)
    published = runner.invoke(
        cli, ["publish", folder, "--kafka", kafka, "--releases-topic", releases], catch_exceptions=False
    )

    assert "removed 1 of 301 records: not a click (unknown_format)" in fitted.stderr
    assert published.stdout == f"release 1 is @champion in {releases}\n"
    held = {(one.key or b"").decode(): one.value or b"" for one in client.read(releases)}
    assert parse_pointer(held["@champion"]).release == 1
    assert verify(*from_records(held, 1)).manifest.items == 12
