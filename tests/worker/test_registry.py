"""A worker with a schema registry at a desk: what is framed is answered, and the registry may be away."""

from __future__ import annotations

import io
from collections import Counter
from typing import Any

import fastavro
import orjson
import pytest

from tests.builders import ITEMS
from tests.worker.desk import Desk, DeskWorker
from worker.core.framing import framed
from worker.errors import RegistryRefused
from worker.process.stop import StopNow
from worker.schemas.interface import Schema
from worker.schemas.memory import MemoryRegistry
from worker.schemas.output import AVRO, SCHEMAS

CLICK: dict[str, Any] = {
    "type": "record",
    "name": "Click",
    "fields": [
        {"name": "user_id", "type": "string"},
        {"name": "item_id", "type": "string"},
        {"name": "timestamp", "type": {"type": "long", "logicalType": "timestamp-millis"}},
    ],
}


def registered(registry: MemoryRegistry, name: str = "Click") -> int:
    """Register a schema of clicks; its id."""
    return registry.register("clicks-value", Schema(orjson.dumps(CLICK | {"name": name}).decode()))


def send(desk: Desk, schema_id: int, user: str = "ada", *, partition: int = 0) -> int:
    """Send a click in the frame of a schema; its offset."""
    stream = io.BytesIO()
    document = {"user_id": user, "item_id": ITEMS[0], "timestamp": desk.cluster.now_ms}
    fastavro.schemaless_writer(stream, fastavro.parse_schema(CLICK), document)
    return desk.send(framed(schema_id, stream.getvalue()), partition=partition)


def read_avro(data: bytes) -> Any:
    """A list of ours out of its data."""
    return fastavro.schemaless_reader(io.BytesIO(data), fastavro.parse_schema(AVRO), None)


def reasons(desk: Desk) -> Counter[bytes | None]:
    """How many dead letters there are, by reason."""
    return Counter(dict(letter.headers)["nextclick.reason"] for letter in desk.letters())


def test_framed_clicks_are_answered() -> None:
    """Each once, with plain ones between them."""
    desk = Desk(registry=MemoryRegistry())
    assert desk.registry
    first, second = registered(desk.registry), registered(desk.registry, "Other")
    desk.serving()
    for number in range(20):
        send(desk, (first, second)[number % 2], f"user-{number}", partition=number % 2)
        desk.click("ada")
    desk.settle()

    desk.assert_answered_once()
    assert len(desk.answers()) == 40


def test_a_record_that_cannot_be_read_is_a_dead_letter() -> None:
    """Each with its reason; the partition goes on."""
    desk = Desk(registry=MemoryRegistry())
    assert desk.registry
    number = registered(desk.registry)
    worker = desk.serving()
    send(desk, number + 1)
    desk.send(framed(number, b"\xff\xff"))
    send(desk, number)
    desk.settle()

    assert reasons(desk) == {b"unknown_schema": 1, b"schema_mismatch": 1}
    assert len(desk.answers()) == 1
    assert worker.metric("nextclick_dead_letters_total", reason="unknown_schema") == 1


def back_after(desk: Desk, worker: DeskWorker, waits: int) -> list[str]:
    """Have the registry answer again after so many waits of the worker; what /readyz said at each."""
    said: list[str] = []
    registry = desk.registry
    assert registry

    def meanwhile() -> None:
        said.append(worker.reason)
        if len(said) == waits:
            registry.up()

    registry.down()
    worker.stop_by_hand.meanwhile = meanwhile
    return said


def test_an_absent_registry_is_waited_for() -> None:
    """Nothing is lost, nothing is a dead letter, nothing is recovered; /readyz says why."""
    desk = Desk(registry=MemoryRegistry())
    assert desk.registry
    known = registered(desk.registry)
    worker = desk.serving()
    send(desk, known, "known")
    desk.settle()
    later = registered(desk.registry, "Later")
    send(desk, known, "known", partition=1)
    send(desk, later, "ada")
    recovered = worker.metric("nextclick_recovery_seconds_count")
    said = back_after(desk, worker, 20)
    desk.settle()

    assert set(said) == {"the schema registry at memory: does not answer"}
    assert worker.reason == ""
    assert worker.served == {0, 1}
    assert worker.metric("nextclick_recovery_seconds_count") == recovered
    assert desk.letters() == []
    assert len(desk.answers()) == 3
    desk.assert_answered_once()


def test_a_failure_after_the_wait_resets_all_partitions_of_the_poll() -> None:
    """A poll with clicks to replay, whose schema is not known, and new clicks of another partition."""
    desk = Desk(registry=MemoryRegistry(), commit_interval=5.0, state={"flush_interval": 3600.0})
    registry = desk.registry
    assert registry
    number = registered(registry)
    other = desk.serving("a")
    worker = desk.start("b")
    desk.until(lambda: worker.served and other.served, "each to serve a partition")
    (here,), (there,) = worker.served, other.served
    send(desk, number, partition=there)
    desk.settle()
    waits: list[str] = []

    def meanwhile() -> None:
        waits.append(worker.reason)
        if len(waits) == 1:
            registry.up()
            desk.cluster.fail("send", connection=worker.connection)

    worker.stop_by_hand.meanwhile = meanwhile
    registry.down()
    desk.kill("a")
    desk.advance(8)
    while not waits:
        desk.click("bob", partition=here)
        desk.step()
    desk.settle()

    assert worker.metric("nextclick_checkpoints_total", outcome="failed") == 1
    desk.assert_answered_once()


def test_a_worker_that_stops_while_the_registry_is_absent_loses_nothing() -> None:
    """What it read and could not decode is read again by its successor."""
    desk = Desk(registry=MemoryRegistry())
    assert desk.registry
    known = registered(desk.registry)
    worker = desk.serving()
    send(desk, known, "known")
    desk.settle()
    send(desk, registered(desk.registry, "Later"), "ada")
    desk.registry.down()
    worker.stop_by_hand.meanwhile = worker.process.stop.request
    with pytest.raises(StopNow):
        desk.step(5)
    desk.stop()
    desk.registry.up()
    desk.serving()
    desk.settle()

    assert len(desk.answers()) == 2
    desk.assert_answered_once()


def test_an_absent_registry_stops_nobody_who_knows_the_schema() -> None:
    """It is asked once for each schema."""
    desk = Desk(registry=MemoryRegistry())
    assert desk.registry
    number = registered(desk.registry)
    desk.serving()
    send(desk, number)
    desk.settle()
    desk.registry.down()
    for _ in range(10):
        send(desk, number)
    desk.settle()

    desk.assert_answered_once()
    assert len(desk.answers()) == 11


def test_a_worker_that_starts_while_the_registry_is_away_replays_later() -> None:
    """What it lacks is in frames, too."""
    desk = Desk(registry=MemoryRegistry(), state={"flush_interval": 3600.0})
    assert desk.registry
    number = registered(desk.registry)
    desk.serving()
    for _ in range(5):
        send(desk, number)
    desk.settle()
    desk.kill()
    worker = desk.start()
    said = back_after(desk, worker, 20)
    desk.advance(11)
    desk.settle()

    assert set(said) == {"the schema registry at memory: does not answer"}

    desk.assert_answered_once()
    assert worker.recent("ada") == [ITEMS[0]] * 5


def test_refused_credentials_end_the_worker() -> None:
    """With a sentence: only a person can change them."""
    desk = Desk(registry=MemoryRegistry())
    assert desk.registry
    number = registered(desk.registry)
    worker = desk.serving()
    desk.registry.refuses = True
    send(desk, number)

    with pytest.raises(RegistryRefused, match="refuses the credentials"):
        desk.step(5)
    worker.worker.loop.end()


@pytest.mark.parametrize("format", ["avro", "json_schema"])
def test_lists_are_framed(format: str) -> None:
    """With the id that the registry knows."""
    desk = Desk(registry=MemoryRegistry(), recommend={"format": format})
    assert desk.registry
    desk.registry.register("other", Schema('"string"'))
    number = desk.registry.register("recommendations-value", list(SCHEMAS.values())[format != "avro"])
    desk.serving()
    offset = desk.click("ada")
    desk.settle()
    (answer,) = desk.answers()
    value = answer.value or b""
    document: Any = orjson.loads(value[5:]) if format == "json_schema" else read_avro(value[5:])

    assert value[:5] == framed(number, b"")
    assert (document["user_id"], document["event"]["offset"]) == ("ada", offset)
    assert len(document["items"]) == len(document["scores"]) > 0


def test_without_the_schema_of_the_lists_a_worker_does_not_start() -> None:
    """And waits while the registry does not answer."""
    desk = Desk(registry=MemoryRegistry(), recommend={"format": "avro"})
    assert desk.registry
    worker = desk.new()
    desk.registry.down()
    worker.stop_by_hand.meanwhile = desk.registry.up

    with pytest.raises(RegistryRefused, match="run `nextclick-worker topics`"):
        worker.begin()
    assert worker.reason == "the schema registry at memory: does not answer"
