from __future__ import annotations

from typing import Any

import jsonschema
import numpy as np
import orjson
import pytest
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer
from confluent_kafka.schema_registry.json_schema import JSONDeserializer
from confluent_kafka.serialization import MessageField, SerializationContext

from worker.errors import RegistryRefused
from worker.schemas.client import HttpRegistry
from worker.schemas.interface import Schema
from worker.schemas.memory import MemoryRegistry
from worker.schemas.output import SCHEMAS, FramedFormat, FramedLists, framed_lists

MS = 1_790_000_000_000
LIST: dict[str, Any] = {
    "user_id": "bøb",
    "items": ["sofa", "rug"],
    "scores": np.array([0.1, -2.5], np.float32),
    "release": 3,
    "reason": "model",
    "event": {"partition": 1, "offset": 2**40, "item_id": "lamp", "timestamp": MS},
    "produced_at": MS + 9,
}
AS_READ = LIST | {"scores": pytest.approx([0.1, -2.5])}


def read_by_confluent(url: str, topic: str, format: FramedFormat, value: bytes) -> Any:
    """What Confluent's deserializer makes of a list; times as milliseconds."""
    client, context = SchemaRegistryClient({"url": url}), SerializationContext(topic, MessageField.VALUE)
    if format == "json_schema":
        return JSONDeserializer(SCHEMAS[format].text, schema_registry_client=client)(value, context)
    found: Any = AvroDeserializer(client)(value, context)
    for document, name in ((found, "produced_at"), (found["event"], "timestamp")):
        document[name] = round(document[name].timestamp() * 1000)
    return found


@pytest.mark.parametrize("format", ["avro", "json_schema"])
def test_confluents_clients_read_the_lists(registry: str, unique: str, format: FramedFormat) -> None:
    """With the schema from a real registry, which `topics` registered and the worker looked up."""
    topic = f"lists-{unique}"
    lists = FramedLists(HttpRegistry(registry), topic=topic, format=format)
    number = lists.register()
    lists.look_up()

    value = lists(LIST)

    assert value[:5] == b"\0" + number.to_bytes(4)
    assert lists.register() == number
    assert read_by_confluent(registry, topic, format, value) == AS_READ


def test_the_schema_is_looked_up_only() -> None:
    """Where it is missing a person runs `topics`; a schema of another owner is not ours."""
    memory = MemoryRegistry()
    lists = FramedLists(memory, topic="lists", format="avro")
    memory.register("lists-value", Schema('"string"'))

    with pytest.raises(RegistryRefused, match="under lists-value: run `nextclick-worker topics`"):
        lists.look_up()
    assert len(memory.schemas) == 1


def test_both_schemas_describe_the_same_list() -> None:
    """The one in JSON is made of the one in Avro; every field is required in both."""
    avro, json = (orjson.loads(schema.text) for schema in SCHEMAS.values())
    document = orjson.loads(orjson.dumps(LIST, option=orjson.OPT_SERIALIZE_NUMPY))

    jsonschema.Draft7Validator.check_schema(json)
    jsonschema.validate(document, json)
    assert json["required"] == [field["name"] for field in avro["fields"]] == [*LIST]
    for name in LIST:
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({one: value for one, value in document.items() if one != name}, json)
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(document | {name: None}, json)


@pytest.mark.parametrize(
    ("format", "kind"), [("json", None), ("msgpack", None), ("avro", "AVRO"), ("json_schema", "JSON")]
)
def test_other_formats_need_no_schema(format: str, kind: str | None) -> None:
    """Nor does anything without a registry."""
    lists = framed_lists(MemoryRegistry(), topic="lists", format=format)

    assert (lists and lists.schema.kind) == kind
    assert framed_lists(None, topic="lists", format="json") is None
