"""The table of frames in the worker's reference is true: a row is a field in a frame, and the click."""

from __future__ import annotations

import io
import json
import re
from datetime import datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

import fastavro
import orjson
import pytest
from google.protobuf import json_format

from tests.test_shapes import README, RECORD_TIME, said
from tests.worker.schemas.protos import TEXT, descriptors, message
from worker.core.framing import framed
from worker.kafka.memory import MemoryCluster
from worker.schemas.interface import Schema
from worker.schemas.memory import MemoryRegistry
from worker.schemas.parser import FramedParser
from worker.schemas.protobuf import DescribedMessages
from worker.schemas.reading import FrameReader
from worker.settings.common import Click
from worker.topics.clicks import decode

CLICK_INDEXES: Final = b"\x02\x02"


class Row(NamedTuple):
    """One row: its cells, those in back quotes without them."""

    frame: str
    field: str
    type: str
    value: Any
    becomes: str


class Sent(NamedTuple):
    """A record as a producer writes it."""

    value: bytes
    key: bytes | None = None
    headers: tuple[tuple[str, bytes], ...] = ()


def rows() -> list[Row]:
    """Return the rows of the table."""
    section = README.read_text("utf-8").partition("### Frames of a schema registry")[2].partition("\n### ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| ")]
    found = []
    for line in lines[1:]:
        frame, field, value, becomes = (cell.strip() for cell in line.strip("|").split("|"))
        name, kind = ([*re.findall(r"`([^`]*)`", field), ""])[:2]
        found.append(Row(frame, name, kind, json.loads(value.strip("`")), becomes))
    return found


def document(row: Row) -> dict[str, Any]:
    """Return the click with the field of the row, in the order of its schema."""
    return {"user_id": "u7", "item_id": "lamp"} | ({} if row.field == "@key" else {row.field: row.value})


def avro(fields: dict[str, Any], values: dict[str, Any]) -> tuple[Schema, bytes]:
    """Return a schema of a record and its data; the values are those under the logical types."""
    schema = {
        "type": "record",
        "name": "Click",
        "fields": [{"name": name, "type": kind} for name, kind in fields.items()],
    }
    return Schema(orjson.dumps(schema).decode()), written(schema, values)


def written(schema: Any, value: Any) -> bytes:
    """Return data without logical types; text for bytes is Latin-1, as in Avro's JSON."""
    bare = re.sub(rb'"logicalType":"[a-z-]+",?', b"", orjson.dumps(schema)).replace(b",}", b"}")
    stream = io.BytesIO()
    parsed = fastavro.parse_schema(orjson.loads(bare))
    is_bytes = b'"bytes"' in bare or b'"fixed"' in bare
    if is_bytes:
        value = value | {"item_id": value["item_id"].encode("latin-1")}
    fastavro.schemaless_writer(stream, parsed, value)
    return stream.getvalue()


def sent(row: Row, registry: MemoryRegistry) -> Sent:
    """Register the schema of a row; return its record."""
    plain = json.dumps(document(row)).encode()
    kind, _, how = row.frame.partition(", ")
    if kind == "none":
        return Sent(plain)
    if kind == "JSON Schema":
        number = registry.register("clicks", Schema("{}", "JSON"))
        return Sent(framed(number, plain))
    if kind == "Protobuf":
        number = registry.register("clicks", Schema(TEXT, "PROTOBUF"))
        name = row.field.removeprefix("item.")
        click = json_format.ParseDict({"userId": 7, "item": {name: row.value}}, message("Click")())
        return Sent(framed(number, CLICK_INDEXES + click.SerializeToString()))
    if how == "around the key":
        number = registry.register("keys", Schema(row.type))
        return Sent(plain, framed(number, written(orjson.loads(row.type), row.value)))
    types = {"user_id": "string", "item_id": "string"} | {row.field: orjson.loads(row.type)}
    schema, data = avro(types, document(row))
    number = registry.register("clicks", schema)
    if how == "named in the header":
        return Sent(data, headers=(("__value_schema_id", b"\1" + registry.guid(number).bytes),))
    number += how.startswith("an id")
    return Sent(framed(number, data + b"\0" * (how == "with a byte too many")))


@pytest.mark.parametrize(
    "row", rows(), ids=lambda row: f"{row.frame} {row.field} {row.type} {row.value}"[:120]
)
def test_a_row_of_the_table_is_true(row: Row, tmp_path: Path) -> None:
    """The record becomes what the row says, and nothing else."""
    cluster = MemoryCluster(start_ms=round(datetime.fromisoformat(RECORD_TIME).timestamp() * 1000))
    cluster.create("clicks")
    registry = MemoryRegistry()
    record = sent(row, registry)
    cluster.produce("clicks", record.value, key=record.key, headers=list(record.headers))
    names = {"item_id": row.field} if row.frame == "Protobuf" else {}
    names |= {"user_id": "@key"} if row.field == "@key" else {}
    messages = DescribedMessages(descriptors(tmp_path))
    parser = FramedParser(FrameReader(registry, messages=messages, steady=lambda: 0.0))

    decoded = decode(cluster.read("clicks"), Click(**names).decoder(parser))

    assert said(decoded) == row.becomes


def test_the_table_has_every_kind() -> None:
    """Rows enough that none was lost."""
    assert {row.frame.partition(",")[0] for row in rows()} == {"Avro", "JSON Schema", "Protobuf", "none"}
    assert len(rows()) > 25
