"""Data in Avro's binary encoding.

Logical types become Python's: `timestamp-*` and `local-timestamp-*` a datetime (nanoseconds an integer),
`date` a date, `uuid` a UUID, `decimal` a Decimal. An enum is its symbol, bytes and fixed are bytes, a union
is the value of its branch.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import Any, Final

import fastavro
import orjson

# Not a public name. The public reader recurses in C without a limit: a value that nests some thousand levels
# of a recursive schema would end the process. The same in Python raises RecursionError. (fastavro 1.13)
from fastavro._read_py import schemaless_reader as careful_reader
from fastavro.schema import SchemaParseException

from worker.schemas.interface import Read, Schema, Unusable

_BROKEN: Final = (ValueError, EOFError, IndexError, KeyError, TypeError, ArithmeticError, MemoryError)
"""The errors of fastavro, by the kind of damage. A UnicodeDecodeError is a ValueError."""


def reader(schema: Schema, references: Sequence[Schema]) -> Read:
    """Return the function that reads data of `schema`; `references` are those it needs, the inner ones first.

    Raises Unusable if it is not a schema.
    """
    named: dict[str, Any] = {}
    try:
        for one in references:
            fastavro.parse_schema(orjson.loads(one.text), named)
        parsed = fastavro.parse_schema(_document(schema.text), named)
    except (SchemaParseException, *_BROKEN) as error:
        raise Unusable(f"it is not an Avro schema: {error}") from error
    read = careful_reader if _recursive(parsed, named, ()) else fastavro.schemaless_reader
    return _reading(read, parsed)


def _document(text: str) -> Any:
    """Return a schema's document; some registries keep the name of a primitive type without quotes."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return text.strip()


def _reading(read: Callable[..., Any], parsed: Any) -> Read:
    def reading(data: bytes) -> Any:
        stream = io.BytesIO(data)
        try:
            document = read(stream, parsed, None)
        except (*_BROKEN, RecursionError) as error:
            raise ValueError(f"{type(error).__name__}: {error}") from error
        if stream.tell() != len(data):
            raise ValueError(f"{len(data) - stream.tell()} bytes too many")
        return document

    return reading


def _recursive(schema: Any, named: dict[str, Any], above: tuple[str, ...]) -> bool:
    """Return whether a value of `schema` may hold another of the same; `above` are the names it is in."""
    if isinstance(schema, list):
        return any(_recursive(one, named, above) for one in schema)
    if isinstance(schema, str):
        if schema in above:
            return True
        return schema in named and _recursive(named[schema], named, above)
    kind = schema["type"]
    if kind in ("record", "error"):
        inside = (*above, schema["name"])
        return any(_recursive(field["type"], named, inside) for field in schema["fields"])
    if kind in ("array", "map"):
        return _recursive(schema["items" if kind == "array" else "values"], named, above)
    return not isinstance(kind, str) and _recursive(kind, named, above)
