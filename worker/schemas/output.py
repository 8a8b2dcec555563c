"""The schema of lists of recommendations, in Avro and as JSON Schema, and the encoder of framed lists.

The subject is `<topic>-value` (Confluent's TopicNameStrategy). `nextclick-worker topics` registers the
schema; the worker only looks up its id.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any, Final, Literal, cast, get_args

import orjson

from worker.core.framing import framed
from worker.errors import RegistryRefused
from worker.schemas.interface import Registry, Schema

FramedFormat = Literal["avro", "json_schema"]

_MILLISECONDS: Final = {"type": "long", "logicalType": "timestamp-millis"}

AVRO: Final[dict[str, Any]] = {
    "type": "record",
    "name": "Recommendations",
    "namespace": "nextclick",
    "doc": "The next items that are recommended to a user, in answer to a click.",
    "fields": [
        {"name": "user_id", "type": "string"},
        {"name": "items", "type": {"type": "array", "items": "string"}, "doc": "Item ids, best first."},
        {"name": "scores", "type": {"type": "array", "items": "float"}, "doc": "One for each item."},
        {"name": "release", "type": "long", "doc": "The release that made the list."},
        {"name": "reason", "type": "string", "doc": "Why it is this list: model, cold, ..."},
        {
            "name": "event",
            "doc": "The click that the list answers.",
            "type": {
                "type": "record",
                "name": "Event",
                "fields": [
                    {"name": "partition", "type": "int"},
                    {"name": "offset", "type": "long"},
                    {"name": "item_id", "type": "string"},
                    {"name": "timestamp", "type": _MILLISECONDS},
                ],
            },
        },
        {"name": "produced_at", "type": _MILLISECONDS},
    ],
}
"""The Avro schema. Changes must stay compatible, because readers keep the old version."""


def json_schema(avro: Any = AVRO) -> dict[str, Any]:
    """Convert an Avro schema to a JSON Schema, so that the fields are defined only once."""
    if isinstance(avro, str):
        return {"type": {"int": "integer", "long": "integer", "float": "number"}.get(avro, avro)}
    kind = avro["type"]
    if kind == "array":
        return {"type": "array", "items": json_schema(avro["items"])}
    if kind != "record":
        return {"type": "integer", "description": "Milliseconds since the epoch."}
    properties = {}
    for field in avro["fields"]:
        doc = {"description": field["doc"]} if "doc" in field else {}
        properties[field["name"]] = json_schema(field["type"]) | doc
    found = {"title": avro["name"], "type": "object", "properties": properties, "required": [*properties]}
    return ({"$schema": "http://json-schema.org/draft-07/schema#"} if avro is AVRO else {}) | found


SCHEMAS: Final[dict[FramedFormat, Schema]] = {
    "avro": Schema(orjson.dumps(AVRO).decode()),
    "json_schema": Schema(orjson.dumps(json_schema()).decode(), "JSON"),
}
"""The schemas as stored in a registry."""


class FramedLists:
    """Encodes the lists of `topic`, framed with the schema id that `look_up` has found."""

    def __init__(self, registry: Registry, *, topic: str, format: FramedFormat) -> None:
        self._registry = registry
        self.subject = f"{topic}-value"
        self.schema = SCHEMAS[format]
        self._encode = _json if format == "json_schema" else _avro_encoder()
        self._schema_id: int | None = None

    def __call__(self, document: dict[str, Any]) -> bytes:
        """Return the framed list. `look_up` must have been called."""
        assert self._schema_id is not None  # noqa: S101  # a worker looks up the id before it serves
        return framed(self._schema_id, self._encode(document))

    def find(self) -> int | None:
        """Return the schema's id; None if it is not registered. Raises RegistryRefused, RegistryAway."""
        return self._registry.id_of(self.subject, self.schema)

    def look_up(self) -> None:
        """Look up and store the schema's id.

        Raises RegistryRefused if the schema is not registered, RegistryAway.
        """
        self._schema_id = self.find()
        if self._schema_id is None:
            raise RegistryRefused(
                f"the schema registry at {self._registry.url} has no schema for the lists under "
                f"{self.subject}: run `nextclick-worker topics` to register it"
            )

    def register(self) -> int:
        """Register the schema, unless it is registered already; return its id.

        Raises RegistryRefused, RegistryAway.
        """
        return self._registry.register(self.subject, self.schema)

    def compatible(self) -> bool:
        """Return whether the schema may be registered. Raises RegistryRefused, RegistryAway."""
        return self._registry.compatible(self.subject, self.schema)


def _json(document: dict[str, Any]) -> bytes:
    return orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)


def _avro_encoder() -> Callable[[dict[str, Any]], bytes]:
    import fastavro  # noqa: PLC0415  # see the package

    schema = fastavro.parse_schema(AVRO)

    def encode(document: dict[str, Any]) -> bytes:
        stream = io.BytesIO()
        fastavro.schemaless_writer(stream, schema, document | {"scores": document["scores"].tolist()})
        return stream.getvalue()

    return encode


def framed_lists(registry: Registry | None, *, topic: str, format: str) -> FramedLists | None:
    """Return the encoder of framed lists; None for formats that are not framed."""
    if registry is None or format not in get_args(FramedFormat):
        return None
    return FramedLists(registry, topic=topic, format=cast("FramedFormat", format))
