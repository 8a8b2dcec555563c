"""Damage of every kind that a producer can send, drawn by a seed; and what a disk can do to a log."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

import orjson

from tests.builders import item_names
from tests.wire import CODECS, Part, RawBatch, checked_again

SOUND: Final = "nothing"
"""The kind without any damage: every record is a click."""

ITEMS: Final = item_names(50)

_COSTLY: Final = "too large uncompressed"
"""A kind that takes a second of each reader, and comes a few times only."""

_FEW: Final = 2

_HEADER_BYTES: Final = 61
_CHECKED_FROM: Final = 21
_BOMB_BYTES: Final = 260 << 20


class Sent(NamedTuple):
    """A batch to be sent: the kind of its damage, its bytes, and the codec that it names."""

    kind: str
    codec: str
    data: bytes


def sent(source: random.Random, number: int) -> Iterator[Sent]:
    """Yield that many batches of all codecs; in turn of every kind."""
    kinds = sorted(KINDS)
    for place in range(number):
        kind = kinds[place % len(kinds)]
        if kind == _COSTLY and place > _FEW * len(kinds):
            kind = SOUND
        codec = source.choice(sorted(CODECS))
        batch = RawBatch([_click(source) for _ in range(source.randint(1, 6))], codec=CODECS[codec])
        yield Sent(kind, codec, KINDS[kind](source, batch))


def _click(source: random.Random) -> Part:
    document = {"user_id": f"user-{source.randrange(200)}", "item_id": source.choice(ITEMS)}
    headers = [(b"trace", source.randbytes(4))] if source.random() < 0.3 else []
    return Part(orjson.dumps(document), key=source.choice([None, b"key"]), headers=headers)


Kind = Callable[[random.Random, RawBatch], bytes]


def _of_a_part(change: Callable[[random.Random, Part], Part]) -> Kind:
    """Change one of the records."""

    def damaged(source: random.Random, batch: RawBatch) -> bytes:
        parts = [*batch.parts]
        place = source.randrange(len(parts))
        parts[place] = change(source, parts[place])
        return replace(batch, parts=parts).encode()

    return damaged


def _of_the_header(change: Callable[[random.Random, RawBatch], RawBatch]) -> Kind:
    return lambda source, batch: change(source, batch).encode()


def _length(source: random.Random) -> int:
    return source.choice([-(2**31), -2, -1, 0, 1, 7, 5_000, 2**31 - 1, 2**40, 2**62])


def _headers(source: random.Random, part: Part) -> Part:
    number = source.choice([1, 3, 4_000])
    names = [source.choice([source.randbytes(3), b"", b"\xff\xfe", b"h" * 300]) for _ in range(number)]
    return replace(part, headers=[(name, source.choice([None, source.randbytes(2)])) for name in names])


def _value(source: random.Random, part: Part) -> Part:
    whole = part.value or b""
    values = [None, b"", source.randbytes(40), whole[:-5], b"[1]", b"{" * 3_000, b'{"user_id": 1}']
    return replace(part, value=source.choice(values))


def _payload(change: Callable[[random.Random, bytearray], bytes | bytearray]) -> Kind:
    """Change what follows the header, under a checksum that is right."""

    def damaged(source: random.Random, batch: RawBatch) -> bytes:
        payload = bytes(change(source, bytearray(batch.compressed())))
        return replace(batch, payload=payload).encode()

    return damaged


def _flipped(source: random.Random, data: bytearray) -> bytearray:
    for _ in range(source.randint(1, 3)):
        data[source.randrange(len(data))] = source.randrange(256)
    return data


def _anywhere(source: random.Random, batch: RawBatch) -> bytes:
    """Change bytes of the header or behind it, under a checksum that is right."""
    data = bytearray(batch.encode())
    for _ in range(source.randint(1, 3)):
        data[source.randrange(_CHECKED_FROM, len(data))] = source.randrange(256)
    return checked_again(bytes(data))


def _wrong_checksum(source: random.Random, batch: RawBatch) -> bytes:
    data = bytearray(batch.encode())
    data[source.randrange(_CHECKED_FROM, len(data))] ^= 1 << source.randrange(8)
    return bytes(data)


@cache
def _bomb(codec: int) -> bytes:
    return RawBatch([Part(bytes(_BOMB_BYTES))], codec=codec).compressed()


def _too_large(source: random.Random, batch: RawBatch) -> bytes:
    codec = CODECS[source.choice(["gzip", "zstd"])]
    return RawBatch([Part(b"")], codec=codec, payload=_bomb(codec)).encode()


KINDS: Final[dict[str, Kind]] = {
    SOUND: lambda _, batch: batch.encode(),
    "value": _of_a_part(_value),
    "key": _of_a_part(lambda source, part: replace(part, key=source.randbytes(source.choice([0, 9, 3_000])))),
    "headers": _of_a_part(_headers),
    "length of a record": _of_a_part(lambda source, part: replace(part, length=_length(source))),
    "length of a key": _of_a_part(lambda source, part: replace(part, key_length=_length(source))),
    "length of a value": _of_a_part(lambda source, part: replace(part, value_length=_length(source))),
    "number of headers": _of_a_part(lambda source, part: replace(part, header_count=_length(source))),
    "bytes behind a record": _of_a_part(lambda source, part: replace(part, trailing=source.randbytes(3))),
    "offset": _of_a_part(lambda source, part: replace(part, offset_delta=_length(source))),
    "timestamp": _of_a_part(lambda source, part: replace(part, timestamp_delta=-_length(source))),
    "first timestamp": _of_the_header(lambda source, batch: replace(batch, first_ms=_length(source))),
    "number of records": _of_the_header(
        lambda source, batch: replace(batch, count=source.choice([-1, 0, 7, 2**31 - 1]))
    ),
    "last offset": _of_the_header(
        lambda source, batch: replace(batch, last_delta=source.choice([-1, 0, 7, 2**31 - 1]))
    ),
    "attributes": _of_the_header(
        lambda source, batch: replace(batch, attributes=source.choice([8, 16, 32, 64, 128, 0x4000]))
    ),
    "producer": _of_the_header(lambda _, batch: replace(batch, producer=(2**40, 0, 0))),
    "codec": _of_the_header(
        lambda source, batch: replace(batch, payload=batch.compressed(), codec=source.randrange(8))
    ),
    "format": _of_the_header(lambda source, batch: replace(batch, magic=source.choice([0, 1, 3, 127]))),
    "payload": _payload(_flipped),
    "payload cut off": _payload(lambda source, data: data[: -source.randint(1, 12)]),
    "bytes behind the payload": _payload(lambda source, data: data + source.randbytes(9)),
    _COSTLY: _too_large,
    "any bytes": _anywhere,
    "checksum": _wrong_checksum,
}
"""How each kind of damage is done to a batch of clicks."""


@dataclass(frozen=True)
class Segment:
    """The log of a partition on the disk of a broker that is stopped."""

    path: Path

    def batches(self) -> list[tuple[int, int, int]]:
        """Return of each batch: its first offset, where it begins, and its size."""
        data, at, found = self.path.read_bytes(), 0, []
        while at + _HEADER_BYTES <= len(data):
            base, length = struct.unpack_from(">qi", data, at)
            if length <= 0:
                break
            found.append((base, at, 12 + length))
            at += 12 + length
        return found

    def damage(self, source: random.Random, number: int) -> set[int]:
        """Change bytes of so many batches, half of them under a checksum that is right; their first offsets.

        Not of what stands before the checksum: a broker that cannot find its batches hands out none.
        """
        data = bytearray(self.path.read_bytes())
        chosen = source.sample(self.batches(), number)
        for place, (_, at, size) in enumerate(chosen):
            for _ in range(source.randint(1, 3)):
                data[source.randrange(at + _CHECKED_FROM, at + size)] ^= 1 << source.randrange(8)
            if place % 2:
                data[at : at + size] = checked_again(bytes(data[at : at + size]))
        self.path.write_bytes(data)
        return {base for base, _, _ in chosen}
