"""Codecs: what Kafka's clients compress is read, whole or not at all, and nothing takes all memory."""

from __future__ import annotations

import contextlib
import gzip
import zlib
from collections.abc import Callable
from typing import Final

import pytest
import snappy
import zstandard
from hypothesis import given
from hypothesis import strategies as st
from kafka import codec as kafka_codecs
from lz4 import frame

from worker.kafka.codecs import LARGEST, CannotInflate, inflate

CLICKS: Final = b'{"user_id": "ada", "item_id": "lamp"}' * 100_000
"""More than 3 MiB, far more than a chunk."""

COMPRESS: Final[dict[str, tuple[int, Callable[[bytes], bytes]]]] = {
    "gzip": (1, kafka_codecs.gzip_encode),
    "gzip in members": (1, lambda data: gzip.compress(data[:9]) + gzip.compress(data[9:])),
    "snappy of snappy-java": (2, kafka_codecs.snappy_encode),
    "snappy of librdkafka": (2, snappy.compress),
    "lz4": (3, kafka_codecs.lz4_encode),
    "lz4 of other producers": (3, lambda data: frame.compress(data, content_checksum=True, store_size=False)),
    "zstd": (4, kafka_codecs.zstd_encode),
    "zstd in frames": (4, lambda data: zstandard.compress(data[:9]) + zstandard.compress(data[9:])),
}

BOMBS: Final[dict[int, Callable[[bytes], bytes]]] = {
    1: lambda zeros: zlib.compress(zeros, 1, wbits=31),
    2: snappy.compress,
    3: frame.compress,
    4: zstandard.compress,
}


@pytest.mark.parametrize("how", COMPRESS)
@pytest.mark.parametrize("data", [b"", b"click", CLICKS], ids=["nothing", "little", "much"])
def test_what_was_compressed_comes_back(how: str, data: bytes) -> None:
    """By every codec of Kafka, as the clients in use write it; also more than a megabyte."""
    codec, compress = COMPRESS[how]

    assert inflate(codec, compress(data)) == data


@pytest.mark.parametrize("codec", [0, 5, 6, 7])
def test_a_codec_that_kafka_does_not_have_is_named(codec: int) -> None:
    """Three bits may say eight numbers."""
    with pytest.raises(CannotInflate, match=f"no compression codec {codec}"):
        inflate(codec, b"")


@pytest.mark.parametrize("how", COMPRESS)
def test_a_payload_that_ends_early_is_refused(how: str) -> None:
    """Nothing of it is taken: what came so far need not be right."""
    codec, compress = COMPRESS[how]

    with pytest.raises(CannotInflate):
        inflate(codec, compress(CLICKS)[:-9])


@given(
    st.sampled_from(sorted(COMPRESS)), st.lists(st.tuples(st.integers(0), st.integers(0, 255)), max_size=4)
)
def test_damaged_payloads_raise_nothing_else(how: str, damage: list[tuple[int, int]]) -> None:
    """Each library has its own errors; callers need to know one."""
    codec, compress = COMPRESS[how]
    data = bytearray(compress(CLICKS[:1000]))
    for place, byte in damage:
        data[place % len(data)] = byte
    with contextlib.suppress(CannotInflate):
        assert isinstance(inflate(codec, bytes(data)), bytes)


@pytest.mark.parametrize("codec", BOMBS)
def test_little_that_becomes_too_much_is_refused(codec: int) -> None:
    """A worker that takes all memory for one batch would be killed at the same batch again and again."""
    with pytest.raises(CannotInflate, match="256 MiB"):
        inflate(codec, BOMBS[codec](bytes(LARGEST + 1)))


def test_a_size_that_is_only_claimed_takes_no_memory() -> None:
    """Snappy says in front how much it becomes."""
    with pytest.raises(CannotInflate, match="4294967295 bytes is larger"):
        inflate(2, b"\xff\xff\xff\xff\x0f")
