from __future__ import annotations

from decimal import Decimal

import pytest

from worker.schemas import json_schema
from worker.schemas.interface import Read


def test_data_are_json() -> None:
    """Integers of any length come out exactly where that is asked for."""
    assert json_schema.read(b'{"user_id": 7}') == {"user_id": 7}
    assert json_schema.read_exactly(b"[123456789012345678901]") == [Decimal(123456789012345678901)]


@pytest.mark.parametrize("read", [json_schema.read, json_schema.read_exactly])
@pytest.mark.parametrize("data", [b"", b"{", b"\xff", b"[" * 100_000])
def test_other_data_do_not_fit(read: Read, data: bytes) -> None:
    """A ValueError, whatever is wrong."""
    with pytest.raises(ValueError, match=r"."):
        read(data)
