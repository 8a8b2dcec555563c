"""Batches as any producer can write them, byte by byte: no client library checks what they say."""

from __future__ import annotations

import itertools
import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Self

from crc32c import crc32c
from kafka import codec as codecs

CODECS: Final = {"none": 0, "gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}

_COMPRESS: Final = {
    1: codecs.gzip_encode,
    2: codecs.snappy_encode,
    3: codecs.lz4_encode,
    4: codecs.zstd_encode,
}

_PRODUCE: Final = 0
_VERSION: Final = 7
"""The first version of the request that may carry zstd."""

_CRC_FROM: Final = 21


@dataclass
class Part:
    """A record of magic 2; a length that is given stands in the place of the true one."""

    value: bytes | None
    key: bytes | None = None
    headers: Sequence[tuple[bytes, bytes | None]] = ()
    timestamp_delta: int = 0
    offset_delta: int | None = None
    length: int | None = None
    key_length: int | None = None
    value_length: int | None = None
    header_count: int | None = None
    trailing: bytes = b""

    def encode(self, place: int) -> bytes:
        """Return its bytes; `place` is its number in the batch."""
        body = b"".join(
            [
                b"\0",
                varint(self.timestamp_delta),
                varint(place if self.offset_delta is None else self.offset_delta),
                _sized(self.key, self.key_length),
                _sized(self.value, self.value_length),
                varint(len(self.headers) if self.header_count is None else self.header_count),
                *(_sized(name, None) + _sized(value, None) for name, value in self.headers),
                self.trailing,
            ]
        )
        return varint(len(body) if self.length is None else self.length) + body


@dataclass
class RawBatch:
    """A batch of magic 2; what is given stands in the place of what would be true."""

    parts: Sequence[Part]
    codec: int = 0
    attributes: int = 0
    first_ms: int = 1_700_000_000_000
    last_ms: int | None = None
    base: int = 0
    magic: int = 2
    count: int | None = None
    last_delta: int | None = None
    producer: tuple[int, int, int] = (-1, -1, -1)
    payload: bytes | None = field(default=None, repr=False)
    """Instead of the encoded records, compressed or not."""

    def records(self) -> bytes:
        """Return the records, not compressed."""
        return b"".join(part.encode(place) for place, part in enumerate(self.parts))

    def compressed(self) -> bytes:
        """Return what follows the header."""
        if self.payload is not None:
            return self.payload
        compress = _COMPRESS.get(self.codec)
        return compress(self.records()) if compress else self.records()

    def encode(self) -> bytes:
        """Return the batch with its true checksum."""
        number = len(self.parts)
        delta = number - 1 if self.last_delta is None else self.last_delta
        last_ms = self.first_ms if self.last_ms is None else self.last_ms
        checked = struct.pack(
            ">hiqqqhii",
            self.codec | self.attributes,
            delta,
            self.first_ms,
            last_ms,
            *self.producer,
            number if self.count is None else self.count,
        )
        return framed(self.base, checked + self.compressed(), magic=self.magic)


def framed(base: int, checked: bytes, *, magic: int = 2) -> bytes:
    """Return a batch with its frame and true checksum, from all that the checksum covers."""
    rest = struct.pack(">ibI", -1, magic, crc32c(checked)) + checked
    return struct.pack(">qi", base, len(rest)) + rest


def checked_again(batch: bytes) -> bytes:
    """Return a batch whose bytes were changed with the checksum that is true now."""
    crc = struct.pack(">I", crc32c(batch[_CRC_FROM:]))
    return batch[: _CRC_FROM - 4] + crc + batch[_CRC_FROM:]


def varint(number: int) -> bytes:
    """Return a signed number, 7 bits a byte ("zigzag")."""
    left = (number << 1) ^ (number >> 63)
    left &= (1 << 70) - 1
    out = bytearray()
    while left > 0x7F:
        out.append(left & 0x7F | 0x80)
        left >>= 7
    out.append(left)
    return bytes(out)


def _sized(data: bytes | None, length: int | None) -> bytes:
    true = -1 if data is None else len(data)
    return varint(true if length is None else length) + (data or b"")


class Wire:
    """A connection to one broker that sends what it is given. A context manager."""

    def __init__(self, bootstrap: str) -> None:
        host, _, port = bootstrap.rpartition(":")
        self._socket = socket.create_connection((host, int(port)), timeout=30)
        self._numbers = itertools.count()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def produce(self, topic: str, partition: int, batch: bytes) -> tuple[int, int]:
        """Send a batch; return Kafka's error code, 0 for none, and the offset that it got."""
        name = topic.encode()
        body = b"".join(
            [
                struct.pack(">hhih4s", _PRODUCE, _VERSION, next(self._numbers), 4, b"wire"),
                struct.pack(">hhi", -1, -1, 10_000),
                struct.pack(">ih", 1, len(name)) + name,
                struct.pack(">iii", 1, partition, len(batch)),
                batch,
            ]
        )
        self._socket.sendall(struct.pack(">i", len(body)) + body)
        answer = self._read(struct.unpack(">i", self._read(4))[0])
        code, offset = struct.unpack_from(">hq", answer, 4 + 4 + 2 + len(name) + 4 + 4)
        return code, offset

    def _read(self, size: int) -> bytes:
        found = b""
        while len(found) < size:
            came = self._socket.recv(size - len(found))
            if not came:
                raise ConnectionError("the broker has closed the connection")
            found += came
        return found
