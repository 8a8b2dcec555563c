from __future__ import annotations

from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from worker.core.framing import Frame, framed, unframed

GUID = UUID("89791762-2336-42f9-b1bc-4db69fbc6a7f")


@given(st.integers(0, 2**32 - 1), st.binary(max_size=20))
def test_what_was_framed_comes_out(schema_id: int, data: bytes) -> None:
    """In front of the data, or in a header."""
    assert unframed(framed(schema_id, data)) == Frame(schema_id, data)
    assert unframed(data, framed(schema_id, b"")) == Frame(schema_id, data)
    assert unframed(data, b"\1" + GUID.bytes) == Frame(GUID, data)


@given(st.binary(max_size=40), st.none() | st.binary(max_size=4))
def test_other_data_are_in_no_frame(data: bytes, header: bytes | None) -> None:
    """Neither is what is too short for an id, nor a header that is none of ours."""
    if data[:1] != b"\0" or len(data) < 5:
        assert unframed(data, header) is None
        assert unframed(data, b"\2" * 20) is None


def test_a_header_comes_first() -> None:
    """As Confluent's clients read it; indexes that follow the id stand in front of the data."""
    assert unframed(framed(7, b"data"), framed(9, b"\x02\x00")) == Frame(9, b"\x02\x00" + framed(7, b"data"))


def test_a_frame_says_which_it_is() -> None:
    """For people."""
    assert str(Frame(7, b"")) == "magic byte 0, schema id 7"
    assert str(Frame(GUID, b"")) == f"schema GUID {GUID}"
