"""Records framed by Confluent's own serializers, under schemas in a real registry: what each becomes."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import orjson
import pytest
from confluent_kafka.schema_registry import SchemaRegistryClient, header_schema_id_serializer
from confluent_kafka.schema_registry.avro import AvroSerializer
from confluent_kafka.schema_registry.json_schema import JSONSerializer
from confluent_kafka.schema_registry.protobuf import ProtobufSerializer
from confluent_kafka.serialization import MessageField, SerializationContext

from tests.worker.schemas.protos import descriptors, message
from tests.worker.schemas.served import serving
from tests.worker.schemas.test_avro import written
from worker.core.click import Click
from worker.core.event import Decoder, Fields
from worker.core.framing import framed
from worker.core.reasons import Reason, Skipped
from worker.schemas.client import HttpRegistry
from worker.schemas.interface import Schema
from worker.schemas.memory import MemoryRegistry
from worker.schemas.parser import FramedParser
from worker.schemas.protobuf import DescribedMessages
from worker.schemas.reading import FrameReader

MS = 1_790_000_000_000
CLICK = Click("ada", "7", MS)
MOMENT = datetime.fromtimestamp(MS / 1000, UTC)

AVRO = orjson.dumps(
    {
        "type": "record",
        "name": "Click",
        "fields": [
            {"name": "user_id", "type": ["null", "string"]},
            {"name": "item_id", "type": "long"},
            {"name": "timestamp", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        ],
    }
).decode()
JSON = orjson.dumps(
    {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Click",
        "type": "object",
        "properties": {"user_id": {"type": "string"}, "item_id": {"type": "integer"}},
    }
).decode()
DOCUMENT = {"user_id": "ada", "item_id": 7, "timestamp": MS}

Serializer = Callable[[SchemaRegistryClient, dict[str, Any]], Any]


def decoder(url: str, fields: Fields | None = None, messages: DescribedMessages | None = None) -> Decoder:
    """The decoder of a worker with this registry."""
    parser = FramedParser(FrameReader(HttpRegistry(url), messages=messages, steady=time.monotonic))
    return Decoder(fields or Fields(), parse=parser, parse_key=parser.key)


def avro(client: SchemaRegistryClient, conf: dict[str, Any]) -> Any:
    """Confluent's serializer for Avro."""
    return AvroSerializer(client, AVRO, conf=conf)


def json(client: SchemaRegistryClient, conf: dict[str, Any]) -> Any:
    """Confluent's serializer for JSON Schema."""
    return JSONSerializer(JSON, client, conf=conf)


@pytest.mark.parametrize(
    ("serializer", "document"), [(avro, DOCUMENT | {"timestamp": MOMENT}), (json, DOCUMENT)]
)
def test_confluents_frames_are_clicks(
    registry: str, unique: str, serializer: Serializer, document: dict[str, Any]
) -> None:
    """Magic byte 0 and the id, from a real registry."""
    context = SerializationContext(f"clicks-{unique}", MessageField.VALUE)
    value = serializer(SchemaRegistryClient({"url": registry}), {})(document, context)

    assert value[:1] == b"\0"
    assert decoder(registry).decode(value, None, MS) == CLICK


def test_confluents_protobuf_is_a_click(registry: str, unique: str, tmp_path: Path) -> None:
    """Its message is described by the user's descriptor set."""
    click = message("Click")(user_id=7, item={"id": "lamp"})
    click.at.FromDatetime(MOMENT)
    conf = {"use.deprecated.format": False, "skip.known.types": True}
    serializer = ProtobufSerializer(type(click), SchemaRegistryClient({"url": registry}), conf)
    value = serializer(click, SerializationContext(f"clicks-{unique}", MessageField.VALUE))
    fields, messages = Fields("user_id", "item.id", "at"), DescribedMessages(descriptors(tmp_path))

    assert decoder(registry, fields, messages).decode(value, None, MS) == Click("7", "lamp", MS)
    assert decoder(registry, fields).decode(value, None, MS) == Reason.UNKNOWN_SCHEMA


@pytest.mark.parametrize(
    ("serializer", "document"), [(avro, DOCUMENT | {"timestamp": MOMENT}), (json, DOCUMENT)]
)
def test_the_header_of_newer_clients_names_the_schema(
    serializer: Serializer, document: dict[str, Any]
) -> None:
    """A GUID. Apicurio knows none: the serializer is Confluent's, the registry the one in memory."""
    with serving() as served:
        client = SchemaRegistryClient({"url": served.url})
        headers: list[tuple[str, str | bytes | None]] = [("other", b"x")]
        context = SerializationContext("clicks", MessageField.VALUE, headers)
        value = serializer(client, {"schema.id.serializer": header_schema_id_serializer})(document, context)

        assert [name for name, _ in headers] == ["other", "__value_schema_id"]
        found = [(name, value) for name, value in headers if isinstance(value, bytes)]
        assert found[1][1] == b"\1" + served.registry.guid(1).bytes
        assert decoder(served.url).decode(value, None, MS, found) == CLICK


def test_a_framed_key_is_a_user(registry: str, unique: str) -> None:
    """As `@key`, or one of its fields; in a header, too."""
    client = SchemaRegistryClient({"url": registry})
    context = SerializationContext(f"clicks-{unique}", MessageField.KEY)
    text = AvroSerializer(client, '"string"')("ada", context)
    number = AvroSerializer(client, '"long"')(
        1_000_000_000, SerializationContext(f"n-{unique}", MessageField.KEY)
    )
    record = AvroSerializer(client, AVRO)(DOCUMENT, SerializationContext(f"r-{unique}", MessageField.KEY))
    value = b'{"item_id": 7, "timestamp": %d}' % MS

    by_key = decoder(registry, Fields(user_id="@key"))
    assert by_key.decode(value, text, MS) == CLICK
    assert by_key.decode(value, number, MS) == Click("1000000000", "7", MS)
    assert by_key.decode(value, text[5:], MS, [("__key_schema_id", text[:5])]) == CLICK
    assert by_key.decode(value, b"ada", MS) == CLICK
    assert by_key.decode(value, b"\0\0\0\0\0ada", MS) == Reason.UNKNOWN_SCHEMA
    assert decoder(registry, Fields(user_id="@key.user_id")).decode(value, record, MS) == CLICK
    assert decoder(registry, Fields(user_id="@key:int")).decode(value, (59).to_bytes(8), MS) == Click(
        "59", "7", MS
    )


def test_changes_of_a_table_in_avro_are_clicks() -> None:
    """Debezium writes them so: an envelope in a frame."""
    row = orjson.loads(AVRO)
    fields = [
        {"name": "before", "type": ["null", row]},
        {"name": "after", "type": ["null", "Click"]},
        {"name": "op", "type": "string"},
    ]
    memory = MemoryRegistry()
    schema = {"type": "record", "name": "Envelope", "fields": fields}
    number = memory.register("changes", Schema(orjson.dumps(schema).decode()))
    created = framed(number, written(schema, {"before": None, "after": DOCUMENT, "op": "c"}))
    deleted = framed(number, written(schema, {"before": DOCUMENT, "after": None, "op": "d"}))
    with serving(memory) as served:
        parser = FramedParser(FrameReader(HttpRegistry(served.url), steady=time.monotonic))
        decode = Decoder(Fields(), envelope="debezium", parse=parser).decode

        assert decode(created, None, MS) == CLICK
        assert decode(deleted, None, MS) == Skipped.DELETED


def test_what_is_in_no_frame_is_read_as_without_a_registry() -> None:
    """One topic may have both, while its producers change."""
    with serving() as served:
        decode = decoder(served.url).decode

        assert decode(orjson.dumps(DOCUMENT), None, MS) == CLICK
        assert decode(b"\x01", None, MS) == Reason.UNKNOWN_FORMAT
        assert decode(b"\0\0\0", None, MS) == Reason.UNKNOWN_FORMAT
        assert decode(None, None, MS) == Reason.NULL_VALUE
        assert served.asked == []


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (framed(9, b"data"), Reason.UNKNOWN_SCHEMA),
        (framed(2**32 - 1, b"data"), Reason.UNKNOWN_SCHEMA),
        (framed(1, b""), Reason.SCHEMA_MISMATCH),
        (framed(1, b"\x02\x06ada\x0e"), Reason.SCHEMA_MISMATCH),
        (framed(2, b"{"), Reason.SCHEMA_MISMATCH),
        (framed(2, b"7"), Reason.NOT_A_MAP),
        (framed(2, b'{"user_id": "ada"}'), Reason.MISSING_FIELD),
    ],
)
def test_each_fault_has_its_reason(value: bytes, reason: Reason) -> None:
    """An unknown schema, data that do not fit theirs, and a document that is no click."""
    memory = MemoryRegistry()
    memory.register("a", Schema(AVRO))
    memory.register("b", Schema(JSON, "JSON"))
    with serving(memory) as served:
        assert decoder(served.url).decode(value, None, MS) == reason


def test_a_frame_without_a_registry_is_a_dead_letter() -> None:
    """As before; a header that nobody asked for is nothing to look at."""
    headers = [("__value_schema_id", b"\1" + UUID(int=7).bytes)]

    assert Decoder(Fields()).decode(framed(7, b"data"), None, MS) == Reason.UNKNOWN_FORMAT
    assert Decoder(Fields()).decode(orjson.dumps(DOCUMENT), None, MS, headers) == CLICK


def test_long_integers_in_framed_json_keep_their_digits() -> None:
    """As in plain JSON."""
    memory = MemoryRegistry()
    memory.register("b", Schema(JSON, "JSON"))
    long = 123456789012345678901234567890
    value = framed(1, b'{"user_id": %d, "item_id": 7, "timestamp": %d}' % (long, MS))
    with serving(memory) as served:
        assert decoder(served.url).decode(value, None, MS) == Click(str(long), "7", MS)
