"""Formats: the document in a value, and the reason where there is none."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgpack
import orjson
import pytest

from worker.core.click import Click
from worker.core.event import Decoder, Fields
from worker.core.formats import loads_exactly, parse_plain
from worker.core.paths import Headers
from worker.core.reasons import Reason, Undecodable

NOW = 1_790_000_000_000
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


@pytest.mark.parametrize("text", [b'{"n": NaN}', b'{"n": "\\ud800"}', b'{"n": 1} {}', b'{"n": 1e999}'])
def test_what_is_no_json_is_none_exactly(text: bytes) -> None:
    """Neither numbers that are none nor half characters, which no id can be written with."""
    with pytest.raises(ValueError, match=r"line 1"):
        loads_exactly(text)


@pytest.mark.parametrize(
    ("timestamp", "times"),
    [
        ("d + t", {"d": 20231114, "t": 221320}),
        ("t", {"t": 1_699_999_999_999_999_999}),
        ("t", {"t": 1_700_000_000.001}),
    ],
)
def test_a_long_integer_does_not_change_the_time_beside_it(timestamp: str, times: dict[str, Any]) -> None:
    """It makes the record be read exactly."""
    decoder = Decoder(Fields(timestamp=timestamp))
    event = orjson.dumps({"user_id": 12, "item_id": 1} | times)
    short, long = (
        decoder.decode(event.replace(b"12,", digits + b",", 1), None, NOW) for digits in (b"12", b"12" * 15)
    )

    assert isinstance(short, Click)
    assert long == short._replace(user_id="12" * 15)


@pytest.mark.parametrize("number", ["1e-99999999999999999999", "0e99999999999999999999"])
def test_an_exponent_of_no_decimal_is_malformed(number: str) -> None:
    """Beside a long integer, which makes the record be read exactly; the worker goes on."""
    text = f'{{"user_id": 123456789012345678901234567890, "item_id": "a", "x": {number}}}'.encode()

    assert Decoder(Fields()).decode(text, None, NOW) == Reason.MALFORMED
    with pytest.raises(ValueError, match="exponent"):
        loads_exactly(text)


def test_damaged_text_beside_a_long_integer_is_a_missing_field() -> None:
    """Which makes the record be read again exactly."""
    value = orjson.dumps({"a": '{"n": 1e30}', "b": '{"n": "\\ud800"}'})

    assert Decoder(Fields("a.n", "b.n")).decode(value, None, NOW) == Reason.MISSING_FIELD


def test_another_parse_reads_values_and_its_own_errors_pass() -> None:
    """A schema registry that is away is no fault of the record; damage is."""

    def parse(value: bytes, headers: Headers, /, *, exact: bool = False) -> Any:
        if value == b"away":
            raise ConnectionError("away")
        if value == b"damaged":
            raise Undecodable(Reason.MALFORMED)
        return {"user_id": 2.0**60 if not exact else 2**60, "item_id": dict(headers)["item"]}

    decoder = Decoder(Fields(), parse=parse)

    assert decoder.decode(b"fine", None, NOW, [("item", b"lamp")]) == Click(str(2**60), "lamp", NOW)
    assert decoder.decode(b"damaged", None, NOW) == Reason.MALFORMED
    with pytest.raises(ConnectionError, match="away"):
        decoder.decode(b"away", None, NOW)
