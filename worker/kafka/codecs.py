"""Decompression of record batches (gzip, snappy, lz4, zstd), with a limit on the decompressed size.

>>> inflate(1, zlib.compress(b"clicks", wbits=31))
b'clicks'
>>> inflate(1, b"no gzip")
Traceback (most recent call last):
worker.kafka.codecs.CannotInflate: gzip: Error -3 while decompressing data: incorrect header check
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from io import BytesIO
from typing import Final

import snappy
import zstandard
from lz4.frame import LZ4FrameDecompressor

LARGEST: Final = 256 << 20
"""Maximum decompressed size of a batch, in bytes: a crafted megabyte could decompress to a gigabyte."""

_CHUNK: Final = 1 << 20
_ZSTD_INPUT: Final = 1 << 10
"""Size of the chunks of zstd input, in bytes. A chunk decompresses to at most 32 MiB, because a block takes
at least 4 bytes and decompresses to at most 128 KiB."""

_GZIP: Final = b"\x1f\x8b"
_XERIAL: Final = b"\x82SNAPPY\x00"
_XERIAL_BYTES: Final = 16


class CannotInflate(Exception):
    """Raised when a payload is damaged or too large, or its codec is unknown; no part of it is usable."""


def inflate(codec: int, data: bytes) -> bytes:
    """Decompress `data`. `codec` is Kafka's number of the codec, from 1 to 4. Raises CannotInflate."""
    if codec not in _CODECS:
        raise CannotInflate(f"unknown compression codec {codec}")
    name, chunks = _CODECS[codec]
    found = BytesIO()
    try:
        for chunk in chunks(data):
            found.write(chunk)
            if found.tell() > LARGEST:
                raise CannotInflate(f"{name}: {len(data)} bytes decompress to more than {LARGEST >> 20} MiB")
    # Each library raises different errors; all mean that the payload cannot be read.
    except (Exception, MemoryError) as error:
        raise error if isinstance(error, CannotInflate) else CannotInflate(f"{name}: {error}") from error
    return found.getvalue()


def _gzip_chunks(data: bytes) -> Iterator[bytes]:
    # Ignore bytes after the last member, as Kafka's own clients do.
    while True:
        member = zlib.decompressobj(wbits=31)
        while not member.eof:
            chunk = member.decompress(data, _CHUNK)
            data = member.unconsumed_tail
            if not chunk and not data and not member.eof:
                raise EOFError("the data is truncated")
            yield chunk
        data = member.unused_data
        if not data.startswith(_GZIP):
            return


def _snappy_chunks(data: bytes) -> Iterator[bytes]:
    """Yield the blocks of snappy-java's framing, or the single block of other producers."""
    if not data.startswith(_XERIAL):
        yield _snappy_block(data)
        return
    at = _XERIAL_BYTES
    while at < len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        at += 4
        if at + size > len(data):
            raise EOFError("the data is truncated")
        yield _snappy_block(data[at : at + size])
        at += size


def _snappy_block(data: bytes) -> bytes:
    # A block starts with its decompressed size as a varint; the library allocates that memory at once.
    size = sum((byte & 0x7F) << 7 * place for place, byte in enumerate(data[:5]) if _continues(data, place))
    if size > LARGEST:
        raise ValueError(f"a block of {size} bytes is larger than {LARGEST >> 20} MiB")
    block: bytes = snappy.decompress(data)
    return block


def _continues(data: bytes, place: int) -> bool:
    """Return whether the byte at `place` belongs to the varint at the start of `data`."""
    return all(byte & 0x80 for byte in data[:place])


def _lz4_chunks(data: bytes) -> Iterator[bytes]:
    frame = LZ4FrameDecompressor()
    chunk = frame.decompress(data, max_length=_CHUNK)
    yield chunk
    while not frame.eof:
        if frame.needs_input:
            raise EOFError("the data is truncated")
        yield frame.decompress(b"", max_length=_CHUNK)


def _zstd_chunks(data: bytes) -> Iterator[bytes]:
    while data:
        frame, at = zstandard.ZstdDecompressor().decompressobj(), 0
        while not frame.eof:
            if at >= len(data):
                raise EOFError("the data is truncated")
            # The library's output per call is limited only by the size of the input.
            yield frame.decompress(data[at : at + _ZSTD_INPUT])
            at += _ZSTD_INPUT
        data = frame.unused_data + data[at:]


_CODECS: Final[dict[int, tuple[str, Callable[[bytes], Iterator[bytes]]]]] = {
    1: ("gzip", _gzip_chunks),
    2: ("snappy", _snappy_chunks),
    3: ("lz4", _lz4_chunks),
    4: ("zstd", _zstd_chunks),
}
