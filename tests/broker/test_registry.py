"""A real Kafka and a real schema registry: clicks of Confluent's producer, lists for Confluent's consumer."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import polars as pl
import pytest
from click.testing import CliRunner
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext

from deploy.registry.local import LocalRegistry
from tests.broker.client import Record
from tests.broker.conftest import CommandRunner, WorkerFactory
from tests.broker.deployment import Deployment
from tests.builders import ITEMS
from tests.conftest import require_registry
from tests.waiting import eventually
from tests.worker.schemas.test_output import read_by_confluent
from trainer.clicks.archive import scan_archive
from trainer.commands.cli import cli
from worker.schemas.output import FramedFormat

CLICKS = 40

SCHEMA = orjson.dumps(
    {
        "type": "record",
        "name": "Click",
        "fields": [
            {
                "name": "user",
                "type": {"type": "record", "name": "User", "fields": [{"name": "id", "type": "int"}]},
            },
            {"name": "item_id", "type": ["null", "string"]},
            {"name": "timestamp", "type": {"type": "long", "logicalType": "timestamp-micros"}},
        ],
    }
).decode()


def framed_clicks(deployment: Deployment, url: str) -> list[Record]:
    """Clicks in Avro, as Confluent's serializer writes them."""
    serializer = AvroSerializer(SchemaRegistryClient({"url": url}), SCHEMA)
    context = SerializationContext(deployment.clicks, MessageField.VALUE)

    def click(number: int) -> Record:
        user = number % 8
        document = {
            "user": {"id": user},
            "item_id": ITEMS[number % len(ITEMS)],
            "timestamp": datetime.now(UTC),
        }
        return Record(serializer(document, context), partition=user % deployment.partitions)

    return [click(number) for number in range(CLICKS)]


def settings_with(deployment: Deployment, url: str, format: str = "json") -> dict[str, Any]:
    """The settings of a worker with this registry."""
    return deployment.settings(
        registry={"url": url}, recommend={"format": format}, click={"user_id": "user.id"}
    )


@pytest.mark.parametrize("format", ["avro", "json_schema"])
def test_from_confluents_producer_to_confluents_consumer(
    deployment: Deployment, worker: WorkerFactory, command: CommandRunner, registry: str, format: FramedFormat
) -> None:
    """`run` waits for `topics`; then each framed click has one framed list."""
    deployment.publish_successor()
    settings = settings_with(deployment, registry, format)
    code, said = command(settings, "run")
    assert code == 2
    assert f"under {deployment.recommendations}-value: run `nextclick-worker topics`" in said
    assert command(settings, "topics")[0] == 0
    assert f"schema of {deployment.recommendations}-value: registered" in command(settings, "check")[1]
    worker(settings)
    clicks = deployment.send(framed_clicks(deployment, registry))

    answers = deployment.answers(at_least=CLICKS)

    assert {one.header("id") for one in answers} == {deployment.click_id(click) for click in clicks}
    assert len(answers) == CLICKS
    for answer in answers:
        found = read_by_confluent(registry, deployment.recommendations, format, answer.value or b"")
        assert found["event"]["offset"] == int(answer.header("id").rpartition("/")[2])
        assert len(found["items"]) == len(found["scores"]) > 0
    assert deployment.letters() == []


def test_a_registry_that_is_away_is_waited_for(deployment: Deployment, worker: WorkerFactory) -> None:
    """Not ready, with the reason; after its return every click is answered once."""
    require_registry()
    deployment.publish_successor()
    with LocalRegistry() as away:
        clicks = framed_clicks(deployment, away.url)
        away.suspend()
        process = worker(settings_with(deployment, away.url))
        sent = deployment.send(clicks)
        eventually(
            lambda: "the schema registry at" in process.http("/readyz")[1], what="the reason in /readyz"
        )
        assert process.http("/livez")[0] == 200
        away.resume()
        answers = deployment.answers(at_least=CLICKS)
        log = process.log

    assert len(answers) == CLICKS
    assert {one.header("id") for one in answers} == {deployment.click_id(click) for click in sent}
    assert deployment.letters() == []
    assert "does not answer" in log


def test_the_trainer_decodes_the_same(deployment: Deployment, registry: str, tmp_path: Path) -> None:
    """What `collect` keeps are the clicks that the worker answers."""
    deployment.send(framed_clicks(deployment, registry))
    names = ["--kafka", deployment.bootstrap, "--clicks-topic", deployment.clicks, "--user", "user.id"]
    arguments = ["collect", *names, "--set", f"registry.url={registry}", "-o", str(tmp_path / "log")]

    done = CliRunner().invoke(cli, arguments, catch_exceptions=False)

    assert done.exit_code == 0, done.output
    scan, removals = scan_archive(tmp_path / "log")
    clicks = scan.clicks.select("user_id", "item_id").collect()
    assert removals == []
    assert clicks.height == CLICKS
    assert set(clicks["user_id"]) == {str(user) for user in range(8)}
    assert set(clicks["item_id"]) <= {*ITEMS}
    assert clicks.schema["user_id"] == pl.String
