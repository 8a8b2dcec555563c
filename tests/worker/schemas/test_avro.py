from __future__ import annotations

import io
import subprocess
import sys
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import fastavro
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.core.click import Click
from worker.core.event import Decoder, Fields
from worker.schemas import avro
from worker.schemas.interface import Schema, Unusable

ONE = UUID("123e4567-e89b-42d3-a456-426614174000")
MOMENT = datetime(2026, 9, 21, 14, 13, 20, tzinfo=UTC)
MS = 1_790_000_000_000
NESTED = {"type": "record", "name": "Node", "fields": [{"name": "next", "type": ["null", "Node"]}]}


def logical(kind: str, name: str, /, **more: Any) -> dict[str, Any]:
    """A logical type."""
    return {"type": kind, "logicalType": name, **more}


def click_schema(item: Any, timestamp: Any = "long") -> dict[str, Any]:
    """A record of a click, whose item id and time are of these types."""
    fields = {"user_id": ["null", "string"], "item_id": item, "timestamp": timestamp}
    return {
        "type": "record",
        "name": "Click",
        "fields": [{"name": name, "type": kind} for name, kind in fields.items()],
    }


def written(schema: Any, document: Any) -> bytes:
    """A document in Avro's binary encoding."""
    stream = io.BytesIO()
    fastavro.schemaless_writer(stream, fastavro.parse_schema(schema), document)
    return stream.getvalue()


def schema_of(document: Any) -> Schema:
    """A schema as a registry keeps it."""
    return Schema(orjson.dumps(document).decode())


def click(schema: Any, document: Any) -> Any:
    """What the decoder makes of a document."""
    read = avro.reader(schema_of(schema), [])
    decoder = Decoder(Fields(), parse=lambda value, _headers, **_: read(value))
    return decoder.decode(written(schema, document), None, MS)


@pytest.mark.parametrize(
    ("kind", "value", "item_id"),
    [
        ("string", " lamp ", "lamp"),
        ("long", 2**62, str(2**62)),
        ("int", 7, "7"),
        ("double", 12.0, "12"),
        ("bytes", b"lamp", "lamp"),
        ("bytes", ONE.bytes, str(ONE)),
        ({"type": "fixed", "name": "Id", "size": 16}, ONE.bytes, str(ONE)),
        (logical("fixed", "uuid", name="Id", size=16), ONE.bytes, str(ONE)),
        (logical("string", "uuid"), ONE, str(ONE)),
        (logical("bytes", "decimal", precision=20, scale=2), Decimal("12.00"), "12"),
        ({"type": "enum", "name": "Item", "symbols": ["LAMP", "SOFA"]}, "SOFA", "SOFA"),
        (["null", "string", "long"], 7, "7"),
    ],
    ids=str,
)
def test_each_type_is_an_id(kind: Any, value: Any, item_id: str) -> None:
    """By the one rule for ids."""
    found = click(click_schema(kind), {"user_id": "ada", "item_id": value, "timestamp": MS})

    assert found == Click("ada", item_id, MS)


@pytest.mark.parametrize(
    ("kind", "value", "timestamp_ms"),
    [
        ("long", MS, MS),
        ("long", MS // 1000, MS),
        ("string", "2026-09-21T14:13:20Z", MS),
        (logical("long", "timestamp-millis"), MOMENT, MS),
        (logical("long", "timestamp-micros"), MOMENT, MS),
        (logical("long", "timestamp-nanos"), MS * 1_000_000, MS),
        (logical("long", "local-timestamp-millis"), MOMENT.replace(tzinfo=None), MS),
        (logical("int", "date"), date(2026, 9, 21), MS - 51_200_000),
        (["null", logical("long", "timestamp-millis")], None, MS),
    ],
    ids=str,
)
def test_each_type_is_a_time(kind: Any, value: Any, timestamp_ms: int) -> None:
    """By the one rule for times; without one the record's own counts."""
    found = click(click_schema("string", kind), {"user_id": "ada", "item_id": "lamp", "timestamp": value})

    assert found == Click("ada", "lamp", timestamp_ms)


@given(st.binary(max_size=60))
def test_any_bytes_are_a_document_or_a_value_error(data: bytes) -> None:
    """Nothing else leaves the reader, whatever the producer wrote."""
    fields = [
        ["null", "string"],
        {"type": "enum", "name": "E", "symbols": ["A", "B"]},
        logical("bytes", "decimal", precision=20, scale=2),
        {"type": "fixed", "name": "F", "size": 4},
        {"type": "map", "values": "double"},
        {"type": "array", "items": "string"},
        logical("long", "timestamp-micros"),
        logical("int", "date"),
        logical("string", "uuid"),
    ]
    for kind in fields:
        schema = schema_of({"type": "record", "name": "R", "fields": [{"name": "x", "type": kind}]})
        try:
            document = avro.reader(schema, [])(data)
        except ValueError:
            continue
        assert type(document) is dict


def test_what_is_left_over_does_not_fit() -> None:
    """Avro cannot tell that data were written with another schema, but for what is left."""
    schema = click_schema("string")
    data = written(schema, {"user_id": "ada", "item_id": "lamp", "timestamp": MS})

    with pytest.raises(ValueError, match="3 bytes too many"):
        avro.reader(schema_of(schema), [])(data + b"abc")


def test_references_are_resolved() -> None:
    """The inner ones come first."""
    item = {"type": "record", "name": "Item", "fields": [{"name": "id", "type": "Sku"}]}
    sku = {"type": "fixed", "name": "Sku", "size": 4}
    outer = {"type": "record", "name": "Click", "fields": [{"name": "item", "type": "Item"}]}

    assert avro.reader(schema_of(outer), [schema_of(sku), schema_of(item)])(b"lamp") == {
        "item": {"id": b"lamp"}
    }


@pytest.mark.parametrize("text", ["string", '"string"', '{"type": "string"}'])
def test_a_schema_may_be_a_type_alone(text: str) -> None:
    """As those of keys are."""
    assert avro.reader(Schema(text), [])(written("string", "ada")) == "ada"


@pytest.mark.parametrize("text", ["", "{", '{"type": "record"}', '{"type": "Unknown"}', "[7]"])
def test_a_schema_that_is_none_is_of_no_use(text: str) -> None:
    """Whatever the registry accepted."""
    with pytest.raises(Unusable, match="it is not an Avro schema"):
        avro.reader(Schema(text), [])


@pytest.mark.parametrize(
    "items",
    ["null", {"type": "record", "name": "Empty", "fields": [{"name": "x", "type": "null"}]}],
    ids=["null", "record"],
)
def test_a_list_of_nothing_is_of_no_use(items: Any) -> None:
    """Six bytes would be a billion values, and the loop would stand still."""
    fields = [
        {"name": "item_id", "type": "string"},
        {"name": "more", "type": {"type": "array", "items": items}},
    ]

    with pytest.raises(Unusable, match="a list whose values take no bytes"):
        avro.reader(schema_of({"type": "record", "name": "Click", "fields": fields}), [])


def test_deep_values_end_no_process() -> None:
    """fastavro's reader in C has no limit (1.13): beyond the stack it takes the process with it."""
    program = (
        "import orjson\n"
        "from worker.schemas import avro\n"
        "from worker.schemas.interface import Schema\n"
        f"read = avro.reader(Schema({orjson.dumps(NESTED).decode()!r}), [])\n"
        "assert read(bytes([2, 2, 0])) == {'next': {'next': {'next': None}}}\n"
        "try:\n    read(bytes([2]) * 262_144)\nexcept ValueError:\n    print('refused')\n"
    )

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout) == (0, "refused\n"), done.stderr
