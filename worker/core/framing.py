r"""Confluent's framing, which identifies the schema of a record's value or key in the registry.

The frame is a prefix of the data (a magic byte 0, the schema's id in four bytes) or, with newer clients, a
header of the record (a magic byte 1, the schema's GUID in 16 bytes). Source: Confluent's "wire format", and
`header_schema_id_serializer` of confluent-kafka-python.

>>> unframed(b"\x00\x00\x00\x00\x07data")
Frame(schema=7, data=b'data')
>>> unframed(b"data", b"\x00\x00\x00\x00\x07")
Frame(schema=7, data=b'data')
>>> unframed(b'{"user_id": 7}') is None
True
"""

from __future__ import annotations

from typing import Final, NamedTuple
from uuid import UUID

from worker.core.paths import Headers

VALUE_HEADER: Final = "__value_schema_id"
KEY_HEADER: Final = "__key_schema_id"

_ID_BYTES: Final = 5
_GUID_BYTES: Final = 17


class Frame(NamedTuple):
    """The contents of a frame: the id or the GUID of the schema, and the data."""

    schema: int | UUID
    data: bytes

    def __str__(self) -> str:
        if isinstance(self.schema, int):
            return f"magic byte 0, schema id {self.schema}"
        return f"schema GUID {self.schema}"


def unframed(data: bytes, header: bytes | None = None) -> Frame | None:
    """Return the frame of a value or key; None if it is not framed.

    `header` is the value of the record's header `VALUE_HEADER` or `KEY_HEADER`; it takes precedence over a
    prefix of `data`. In Protobuf, the message indexes follow the schema's id or GUID; indexes in the header
    are moved to the front of the data, as in prefix framing.
    """
    if header is not None:
        if len(header) >= _GUID_BYTES and header[0] == 1:
            return Frame(UUID(bytes=header[1:_GUID_BYTES]), header[_GUID_BYTES:] + data)
        if len(header) >= _ID_BYTES and header[0] == 0:
            return Frame(int.from_bytes(header[1:_ID_BYTES]), header[_ID_BYTES:] + data)
    if len(data) >= _ID_BYTES and data[0] == 0:
        return Frame(int.from_bytes(data[1:_ID_BYTES]), data[_ID_BYTES:])
    return None


def frame_header(headers: Headers, name: str) -> bytes | None:
    """Return the first header with this name; None if the header is absent."""
    for key, value in headers:
        if key == name:
            return value
    return None


def framed(schema_id: int, data: bytes) -> bytes:
    """Return `data` framed with the schema id."""
    return b"\0" + schema_id.to_bytes(4) + data
