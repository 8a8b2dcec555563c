"""Tensors come out of a blob as they went in, without a copy, or the blob is refused."""

from __future__ import annotations

import struct
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from safetensors.numpy import load, save

from tests.examples import examples
from worker.core import blob
from worker.core.blob import read, rounded, written
from worker.errors import ReleaseRefused

TYPES: Final = [np.float64, np.float32, np.float16, np.int64, np.int32, np.int8, np.uint8, np.bool_]

GOOD: Final = save(
    {"bias": np.arange(6, dtype=np.float32).reshape(2, 3), "ids": np.arange(3, dtype=np.uint8)}
)


@given(
    st.dictionaries(
        st.text(min_size=1, max_size=5),
        st.sampled_from(TYPES).flatmap(
            lambda kind: hnp.arrays(kind, hnp.array_shapes(min_side=0, max_side=4))
        ),
        max_size=4,
    )
)
@examples(0.5)
def test_a_blob_is_read_as_the_library_reads_it(tensors: dict[str, Any]) -> None:
    """Names, types, shapes and every bit, whatever the memory that has the blob."""
    content = save(tensors)
    expected = load(content)

    for memory in (content, np.frombuffer(content, np.uint8).copy().data):
        found = read(memory)
        assert found.keys() == expected.keys()
        for name, tensor in expected.items():
            assert (found[name].dtype, found[name].shape) == (tensor.dtype, tensor.shape)
            assert found[name].tobytes() == tensor.tobytes()


def test_what_is_read_is_not_copied() -> None:
    """A blob of half a gigabyte must not be in memory twice."""
    memory = np.frombuffer(GOOD, np.uint8).copy()

    found = read(memory.data)

    assert all(np.shares_memory(tensor, memory) for tensor in found.values())


def with_header(change: Callable[[dict[str, Any]], Any]) -> bytes:
    """The good blob with another header."""
    (length,) = struct.unpack_from("<Q", GOOD)
    header = orjson.loads(GOOD[8 : 8 + length])
    changed = change(header)
    text = orjson.dumps(header if changed is None else changed)
    return struct.pack("<Q", len(text)) + text + GOOD[8 + length :]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"sofa",
        b"\xff" * 8,
        GOOD[:-1],
        GOOD + b"x",
        GOOD[:20],
        struct.pack("<Q", 2**63) + GOOD[8:],
        with_header(lambda _: []),
        with_header(lambda header: header["bias"].update(dtype="BF16")),
        with_header(lambda header: header["bias"].update(dtype=7)),
        with_header(lambda header: header["bias"].update(shape=[-2, -3])),
        with_header(lambda header: header["bias"].update(shape=[2, 3.0])),
        with_header(lambda header: header["bias"].update(shape=[7])),
        with_header(lambda header: header["bias"].update(shape=[2**40, 2**40])),
        with_header(lambda header: header["bias"].update(shape=[1] * 70 + [6])),
        with_header(lambda header: header["bias"].update(shape=6)),
        with_header(lambda header: header["bias"].update(shape=[2**62, 2**62, 0], data_offsets=[24, 24])),
        with_header(lambda header: header["bias"].update(data_offsets=[-24, 0])),
        with_header(lambda header: header["bias"].update(data_offsets=[0])),
        with_header(lambda header: header["bias"].update(data_offsets=[24, 48])),
        with_header(lambda header: header["bias"].update(data_offsets="ab")),
        with_header(lambda header: header["bias"].update(more=1)),
        with_header(lambda header: header["bias"].pop("shape") and None),
        with_header(lambda header: header.update(ids=None)),
    ],
)
def test_what_is_no_blob_is_refused(content: bytes) -> None:
    """With one reason, and never with another error."""
    with pytest.raises(ReleaseRefused) as refused:
        read(content)

    assert refused.value.reason == "tensors"


@given(st.integers(0, len(GOOD) - 1), st.integers(0, 255))
@examples(1)
def test_no_damage_raises_another_error(at: int, byte: int) -> None:
    """Whatever one byte is: the blob is read or refused."""
    damaged = bytearray(GOOD)
    damaged[at] = byte

    with suppress(ReleaseRefused):
        read(bytes(damaged))


def test_facts_about_a_blob_are_ignored() -> None:
    """The format has room for texts, which mean nothing here."""
    assert read(save({"a": np.zeros(1)}, {"made": "by hand"})).keys() == {"a"}


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    """More than ten numbers are many."""
    monkeypatch.setattr(blob, "EXACT_NUMBERS", 10)


ROWS: Final = np.linspace(-2, 2, 12, dtype=np.float32).reshape(6, 2)


@pytest.mark.usefixtures("large")
def test_rounded_item_vectors_are_written_as_halves_and_nothing_else_is() -> None:
    """No number changes on its way: what was measured is what serves."""
    tensors = rounded({"embedding": ROWS, "output": ROWS[:5], "kernel": ROWS})

    found = read(written(tensors))

    assert {name: tensor.dtype for name, tensor in tensors.items()} == dict.fromkeys(tensors, np.float32)
    assert [found[name].dtype for name in ("embedding", "output", "kernel")] == [
        np.float16,
        np.float32,  # not more than ten
        np.float32,  # no item vectors
    ]
    np.testing.assert_array_equal(found["embedding"], ROWS.astype(np.float16))
    for name, tensor in tensors.items():
        np.testing.assert_array_equal(found[name], tensor)


@pytest.mark.usefixtures("large")
@pytest.mark.parametrize("value", [1e-9, 1.0001, 7e4, -1e38, np.nan, np.inf])
def test_numbers_that_halves_do_not_have_are_written_as_they_are(value: float) -> None:
    """Who did not round them gets them back."""
    rows = np.full((6, 2), value, np.float32)

    found = read(written({"embedding": rows}))["embedding"]

    assert found.dtype == (np.float16 if value == np.inf else np.float32)
    np.testing.assert_array_equal(found, rows)


@pytest.mark.usefixtures("large")
def test_numbers_out_of_range_are_not_rounded() -> None:
    """An infinite number would be refused."""
    rows = np.append(ROWS, np.full((1, 2), 7e4, np.float32), axis=0)

    np.testing.assert_array_equal(rounded({"embedding": rows})["embedding"], rows)


def test_a_small_catalogue_stays_as_it_is() -> None:
    """Byte for byte: half precision is for what takes much memory."""
    tensors = {"embedding": ROWS, "kernel": ROWS}

    assert rounded(tensors)["embedding"] is ROWS
    assert written(tensors) == save(tensors)
