"""`check` with a schema registry: whether it answers, knows our schema, and what is in the frames."""

from __future__ import annotations

import orjson
import pytest

from tests.worker.conftest import Command
from tests.worker.schemas.protos import TEXT
from tests.worker.schemas.served import serving
from worker.core.framing import framed
from worker.kafka.memory import MemoryCluster
from worker.schemas.interface import Schema


@pytest.fixture
def cluster(command: Command) -> MemoryCluster:
    """A cluster that has all topics."""
    cluster = MemoryCluster()
    command(cluster, "topics", "--create-clicks")
    return cluster


def test_frames_without_a_registry_are_named(command: Command, cluster: MemoryCluster) -> None:
    """With what to set."""
    for _ in range(3):
        cluster.produce("clicks", framed(7, b"\x02\x06ada"))

    code, text = command(cluster, "check")

    assert code == 1
    assert (
        "FAIL  topic clicks, last 3 records: 3 of 3 have the frame of a schema registry "
        "(magic byte 0, schema id 7): set registry.url"
    ) in text


def test_a_registry_that_answers_is_fine(command: Command, cluster: MemoryCluster) -> None:
    """Framed clicks are clicks; those that are not show the fields that they have."""
    with serving() as served:
        served.registry.register("clicks-value", Schema("{}", "JSON"))
        good = {"user_id": "ada", "item_id": "lamp"}
        cluster.produce("clicks", framed(1, orjson.dumps(good)))
        options = ["--set", f"registry.url={served.url}"]
        code, text = command(cluster, "check", *options)

        assert code == 0
        assert f"ok    schema registry: {served.url} answers" in text
        assert "ok    topic clicks: the last 1 records are clicks" in text

        code, text = command(cluster, "check", *options, "--set", "click.item_id=sku")

        assert code == 1
        assert "1 of 1 have no field sku; the first of them has the fields user_id, item_id" in text


def test_schemas_of_no_use_are_named(command: Command, cluster: MemoryCluster) -> None:
    """Each with its reason."""
    with serving() as served:
        served.registry.register("clicks-value", Schema(TEXT, "PROTOBUF"))
        cluster.produce("clicks", framed(1, b"\0"))
        cluster.produce("clicks", framed(9, b"\0"))
        code, text = command(cluster, "check", "--set", f"registry.url={served.url}")

    assert code == 1
    assert "2 of 2 have a schema that the registry does not have, or that cannot be used" in text
    assert "note  schema 1 cannot be used: it is a Protobuf schema: set registry.descriptors" in text
    assert f"note  the schema registry at {served.url} has no schema 9" in text


def test_a_registry_that_is_away_is_said(command: Command, cluster: MemoryCluster) -> None:
    """And one that wants other credentials."""
    with serving() as served:
        options = ["--set", f"registry.url={served.url}"]
        served.instead = lambda: (503, b"")
        away = command(cluster, "check", *options)
        served.instead = lambda: (401, b"")
        refused = command(cluster, "check", *options)

    assert (away[0], refused[0]) == (1, 1)
    assert f"FAIL  the schema registry at {served.url} does not answer: 503" in away[1]
    assert "refuses the credentials (401): fix registry.username and registry.password" in refused[1]


def test_the_schema_of_the_lists_is_looked_for(command: Command, cluster: MemoryCluster) -> None:
    """Missing, not compatible, there."""
    with serving() as served:
        options = ["--set", f"registry.url={served.url}", "--set", "recommend.format=avro"]
        missing = command(cluster, "check", *options)
        served.registry.closed.add("recommendations-value")
        other = command(cluster, "check", *options)
        served.registry.closed.clear()
        command(cluster, "topics", *options)
        there = command(cluster, "check", *options)

    assert (missing[0], other[0], there[0]) == (1, 1, 0)
    assert (
        "FAIL  schema of recommendations-value: not registered. Run `nextclick-worker topics`" in missing[1]
    )
    assert "FAIL  schema of recommendations-value: not compatible with the registered versions" in other[1]
    assert "ok    schema of recommendations-value: registered, id 1" in there[1]
