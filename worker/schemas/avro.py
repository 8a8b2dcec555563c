"""A reader of data in Avro's binary encoding.

Logical types become Python types: `timestamp-*` and `local-timestamp-*` a datetime (or an integer, in
nanoseconds), `date` a date, `uuid` a UUID, `decimal` a Decimal. An enum becomes its symbol, bytes and fixed
become bytes, and a union becomes the value of its branch.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

import fastavro
import orjson

# Not a public name. The public reader recurses in C without a limit: a value with some thousand nested levels
# of a recursive schema would crash the process. The reader in Python raises RecursionError. (fastavro 1.13)
from fastavro._read_py import schemaless_reader as careful_reader
from fastavro.schema import SchemaParseException

from worker.schemas.interface import Read, Schema, Unusable

_RECURSION: Final = object()
_BROKEN: Final = (ValueError, EOFError, IndexError, KeyError, TypeError, ArithmeticError, MemoryError)
"""The errors that fastavro raises for damaged data (a UnicodeDecodeError is a ValueError)."""


def reader(schema: Schema, references: Sequence[Schema]) -> Read:
    """Return a function that decodes messages written with `schema`.

    `references` are the schemas that `schema` uses, inner schemas first.
    Raises Unusable if the schema is invalid.
    """
    named: dict[str, Any] = {}
    try:
        for one in references:
            fastavro.parse_schema(orjson.loads(one.text), named)
        parsed = fastavro.parse_schema(_document(schema.text), named)
    except (SchemaParseException, *_BROKEN) as error:
        raise Unusable(f"it is not an Avro schema: {error}") from error
    types = list(_types(parsed, named, ()))
    if any(
        one is not _RECURSION and one["type"] == "array" and _is_nothing(one["items"], named) for one in types
    ):
        # Otherwise a few bytes could encode a list of any length, because its values take no bytes.
        raise Unusable("it has a list whose values take no bytes")
    return _reading(careful_reader if _RECURSION in types else fastavro.schemaless_reader, parsed)


def _document(text: str) -> Any:
    """Return a schema's document; some registries return the name of a primitive type without quotes."""
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
            raise ValueError(f"the data have {len(data) - stream.tell()} bytes too many")
        return document

    return reading


def _types(schema: Any, named: Mapping[str, Any], above: tuple[str, ...]) -> Iterator[Any]:
    """Yield the maps that describe types, and `_RECURSION` if a type contains itself.

    `above`: the names of the enclosing types.
    """
    if isinstance(schema, list):
        for one in schema:
            yield from _types(one, named, above)
    elif isinstance(schema, str):
        if schema in above:
            yield _RECURSION
        elif schema in named:
            yield from _types(named[schema], named, above)
    else:
        yield schema
        kind = schema["type"]
        if kind in ("record", "error"):
            for field in schema["fields"]:
                yield from _types(field["type"], named, (*above, schema["name"]))
        elif kind in ("array", "map"):
            yield from _types(schema["items" if kind == "array" else "values"], named, above)
        elif not isinstance(kind, str):
            yield from _types(kind, named, above)


def _is_nothing(schema: Any, named: Mapping[str, Any]) -> bool:
    """Return whether the values of a type take no bytes; values of recursive types always take some."""
    if isinstance(schema, list):
        return False
    if isinstance(schema, str):
        return schema == "null" or (schema in named and _is_nothing(named[schema], {}))
    kind = schema["type"]
    if kind in ("record", "error"):
        return all(_is_nothing(field["type"], named) for field in schema["fields"])
    return kind == "null" or (kind == "fixed" and schema["size"] == 0)
