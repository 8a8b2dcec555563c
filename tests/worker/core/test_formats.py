"""Formats: the document in a value, and the reason where there is none."""

from __future__ import annotations

from decimal import Decimal

import msgpack
import orjson
import pytest

from worker.core.formats import loads_exactly, parse_plain
from worker.core.reasons import Reason, Undecodable

DOCUMENT = {"user_id": 7, "tags": ["a", None]}


@pytest.mark.parametrize(
    "value",
    [
        orjson.dumps(DOCUMENT),
        b" \n" + orjson.dumps(DOCUMENT),
        b"\xef\xbb\xbf" + orjson.dumps(DOCUMENT),
        orjson.dumps(orjson.dumps(DOCUMENT).decode()),
        orjson.dumps(orjson.dumps(orjson.dumps(DOCUMENT).decode()).decode()),
        msgpack.packb(DOCUMENT),
    ],
)
@pytest.mark.parametrize("exact", [False, True])
def test_a_document_is_json_or_messagepack(value: bytes, exact: bool) -> None:
    """After blanks or a byte order mark, and in text that holds JSON."""
    assert parse_plain(value, exact=exact) == DOCUMENT


@pytest.mark.parametrize("value", [orjson.dumps([DOCUMENT]), msgpack.packb([DOCUMENT])])
def test_a_list_is_a_document(value: bytes) -> None:
    """In both formats."""
    assert parse_plain(value) == [DOCUMENT]


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"\xef\xbb\xbf", Reason.NULL_VALUE),
        (b"{", Reason.MALFORMED),
        (b'"{"', Reason.MALFORMED),
        (b'"text"', Reason.MALFORMED),
        (b"\x81", Reason.MALFORMED),
        (b"text", Reason.UNKNOWN_FORMAT),
        (b"\x00\x00\x00\x00\x01{}", Reason.UNKNOWN_FORMAT),
    ],
)
@pytest.mark.parametrize("exact", [False, True])
def test_what_is_no_document_has_its_reason(value: bytes, reason: Reason, exact: bool) -> None:
    """Damaged, or of another format."""
    with pytest.raises(Undecodable) as raised:
        parse_plain(value, exact=exact)

    assert raised.value.reason == reason


def test_numbers_keep_their_digits_where_it_is_asked() -> None:
    """However many there are."""
    text = b'{"n": 123456789012345678901234567890, "m": 5.0000000000}'

    assert loads_exactly(text) == {"n": Decimal(123456789012345678901234567890), "m": Decimal(5)}
