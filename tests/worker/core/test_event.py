"""What is a click, and which reason a record gets that is none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgpack
import orjson
import pytest

from worker.core.click import Click, Decoded
from worker.core.event import Decoder, Fields
from worker.core.ids import MAX_ID_BYTES
from worker.core.reasons import Reason
from worker.core.times import EARLIEST_MS, MAX_AHEAD_MS, MAX_TIMESTAMP_MS

RECORD_MS = 1_700_000_000_000
DECODER = Decoder(Fields())
Encode = Callable[[object], bytes]


def encode_json(document: object) -> bytes:
    """`document` as JSON."""
    return orjson.dumps(document)


def encode_msgpack(document: object) -> bytes:
    """`document` as MessagePack."""
    packed: bytes = msgpack.packb(document)
    return packed


both_formats = pytest.mark.parametrize("encode", [encode_json, encode_msgpack], ids=["json", "msgpack"])


def click(**fields: Any) -> dict[str, Any]:
    """The document of a good click, with other fields or values."""
    return {"user_id": "ada", "item_id": "lamp", "timestamp": RECORD_MS, **fields}


def decode(value: bytes | None, key: bytes | None = None, record_ms: int = RECORD_MS) -> Decoded:
    """What the default decoder says."""
    return DECODER.decode(value, key, record_ms)


@both_formats
def test_a_map_with_user_item_and_time_is_a_click(encode: Encode) -> None:
    """Both formats, told apart by the first byte; other fields are ignored."""
    value = encode(click(price=9.5, tags=["a", None], nested={"user_id": "other"}))

    assert decode(value) == Click("ada", "lamp", RECORD_MS)


def test_space_may_stand_before_json() -> None:
    """JSON allows white space before the map."""
    assert decode(b" \r\n\t" + orjson.dumps(click())) == Click("ada", "lamp", RECORD_MS)


@both_formats
@pytest.mark.parametrize("number", [0, 7, -1, -(2**63), 2**64 - 1])
def test_an_integer_id_is_its_decimal_string(encode: Encode, number: int) -> None:
    """So a user is the same whether their id comes as 7 or as "7"."""
    value = encode(click(user_id=number, item_id=number))

    assert decode(value) == Click(str(number), str(number), RECORD_MS)


@both_formats
@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (None, Reason.MISSING_FIELD),
        ("", Reason.EMPTY_ID),
        ("x" * (MAX_ID_BYTES + 1), Reason.LONG_ID),
        ("\N{SNOWMAN}" * (MAX_ID_BYTES // 3 + 1), Reason.LONG_ID),
        (True, Reason.WRONG_TYPE),
        (" \t\N{ZERO WIDTH SPACE}", Reason.EMPTY_ID),
        ("NULL", Reason.EMPTY_ID),
        (1.5, Reason.WRONG_TYPE),
        (1e300, Reason.LONG_ID),
        ([], Reason.WRONG_TYPE),
        ({}, Reason.WRONG_TYPE),
    ],
)
@pytest.mark.parametrize("field", ["user_id", "item_id"])
def test_an_id_is_short_text_or_an_integer(encode: Encode, field: str, wrong: object, reason: Reason) -> None:
    """Anything else has the reason of its own; a bool is no integer, a fraction no id."""
    assert decode(encode(click(**{field: wrong}))) == reason


@both_formats
@pytest.mark.parametrize("longest", ["x" * MAX_ID_BYTES, "\N{SNOWMAN}" * (MAX_ID_BYTES // 3)])
def test_an_id_is_measured_in_utf8_bytes(encode: Encode, longest: str) -> None:
    """The longest id passes whole."""
    assert decode(encode(click(item_id=longest))) == Click("ada", longest, RECORD_MS)


@pytest.mark.parametrize(
    ("number", "user_id"),
    [
        (b"123456789012345678901234567890", "123456789012345678901234567890"),
        (b"-18446744073709551616", "-18446744073709551616"),
        (b"12345678901234567.0", "12345678901234567"),
        (b"1e30", "1" + 30 * "0"),
        (b"9" * 256, "9" * 256),
    ],
)
def test_an_integer_of_any_length_keeps_its_digits(number: bytes, user_id: str) -> None:
    """JSON libraries round it to a float: taking that would make different users one."""
    value = b'{"user_id": ' + number + b', "item_id": 1}'

    assert decode(value) == Click(user_id, "1", RECORD_MS)
    assert Decoder(Fields("in.user_id", "in.item_id")).decode(
        orjson.dumps({"in": value.decode()}), None, RECORD_MS
    ) == Click(user_id, "1", RECORD_MS)


def test_an_integer_of_too_many_digits_is_a_long_id() -> None:
    """Thousands of them cost no more."""
    assert decode(b'{"user_id": ' + b"9" * 257 + b', "item_id": 1}') == Reason.LONG_ID
    assert decode(b'{"user_id": ' + b"9" * 9_999 + b', "item_id": 1}') in (Reason.LONG_ID, Reason.MALFORMED)


@both_formats
def test_a_large_float_is_the_same_in_both_formats(encode: Encode) -> None:
    """JSON writes the shortest digits that are this float."""
    assert decode(encode(click(user_id=2.0**70))) == Click("1180591620717411300000", "lamp", RECORD_MS)


@pytest.mark.parametrize("field", ["user_id", "item_id", "timestamp"])
@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_a_number_that_is_none_is_not_finite(field: str, number: float) -> None:
    """MessagePack can carry NaN and infinities."""
    assert decode(encode_msgpack(click(**{field: number}))) == Reason.NOT_FINITE


@pytest.mark.parametrize("number", [b"NaN", b"Infinity", b"-Infinity", b"1e999"])
def test_json_without_a_finite_number_is_malformed(number: bytes) -> None:
    """JSON has no NaN and no infinities."""
    assert decode(b'{"user_id": 1, "item_id": 2, "timestamp": ' + number + b"}") == Reason.MALFORMED


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, Reason.NULL_VALUE),
        (b"", Reason.NULL_VALUE),
        (b"hello", Reason.UNKNOWN_FORMAT),
        (b"\xef\xbb\xbf{}", Reason.MISSING_FIELD),
        (b"\xef\xbb\xbf", Reason.NULL_VALUE),
        (b"[]", Reason.NULL_VALUE),
        (b'"text"', Reason.MALFORMED),
        (b"\x00\x00\x00\x00\x01Avro", Reason.UNKNOWN_FORMAT),
        (b"\xc0", Reason.UNKNOWN_FORMAT),
        (b"{", Reason.MALFORMED),
        (b"   ", Reason.MALFORMED),
        (b'{"user_id": "\\ud800", "item_id": 1}', Reason.MALFORMED),
        (b'{"user_id": "\xff", "item_id": 1}', Reason.MALFORMED),
        (b'{"user_id": 1, "item_id": 2} {}', Reason.MALFORMED),
        (b" null", Reason.NOT_A_MAP),
        (b"{}", Reason.MISSING_FIELD),
        (b"\x80", Reason.MISSING_FIELD),
        (b"\x81", Reason.MALFORMED),
        (b"\x80\x80", Reason.MALFORMED),
        (b"\xdf\xff\xff\xff\xff", Reason.MALFORMED),
        (b"\x81\xa1\xff\xc0", Reason.MALFORMED),
        (b"\x81\xa3\xed\xa0\x80\xc0", Reason.MALFORMED),
    ],
)
def test_what_cannot_be_read_has_its_reason(value: bytes | None, reason: Reason) -> None:
    """Null and empty, neither format, broken, too short, too much, no map, invalid UTF-8."""
    assert decode(value) == reason


@pytest.mark.parametrize(
    "value",
    [
        b'{"a":' + b"[" * 100_000,
        b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"a":' * 40_000,
        b"\x81\xa1a" * 80_000,
        b"\x81\xa1a" + b"\x91" * 100_000 + b"\xc0",
        b"\x81" * 100_000,
    ],
)
def test_deep_nesting_is_malformed(value: bytes) -> None:
    """However deep, it neither raises nor ends the process."""
    assert decode(value) == Reason.MALFORMED


@pytest.mark.parametrize("key", [{}, []])
def test_a_map_key_that_cannot_be_one_is_malformed(key: object) -> None:
    """MessagePack allows maps and lists as keys of a map, Python does not."""
    assert decode(b"\x81" + encode_msgpack(key) + b"\xc0") == Reason.MALFORMED


@pytest.mark.parametrize(
    "key", [7, None, 1.5, b"raw", msgpack.ExtType(3, b"x"), msgpack.Timestamp(1)], ids=repr
)
def test_map_keys_that_are_no_text_do_no_harm(key: object) -> None:
    """MessagePack maps may have keys of many kinds; a click needs only its own."""
    document = dict[object, object](click()) | {key: 1}

    assert decode(encode_msgpack(document)) == Click("ada", "lamp", RECORD_MS)


@pytest.mark.parametrize(
    ("field", "odd"),
    [
        ("user_id", msgpack.ExtType(3, b"x")),
        ("user_id", msgpack.Timestamp(1)),
        ("user_id", b"\xff"),
        ("timestamp", msgpack.ExtType(3, b"x")),
        ("timestamp", b"raw"),
    ],
    ids=repr,
)
def test_types_that_json_lacks_are_wrong(field: str, odd: object) -> None:
    """Extensions, and bytes that are no text."""
    assert decode(encode_msgpack(click(**{field: odd}))) == Reason.WRONG_TYPE


def test_messagepack_has_times_and_bytes_of_its_own() -> None:
    """Bytes are text or a UUID, a timestamp is a time."""
    document = click(user_id=b"ada", item_id=bytes(range(16)), timestamp=msgpack.Timestamp(1_700_000_000))

    assert decode(encode_msgpack(document)) == Click("ada", "00010203-0405-0607-0809-0a0b0c0d0e0f", RECORD_MS)


def test_a_timestamp_extension_out_of_range_is_malformed_or_ignored() -> None:
    """MessagePack's own timestamps reach beyond what Python's can hold, and may be of impossible lengths."""
    seconds = b"\xc7\x0c\xff\x00\x00\x00\x00\x7f\xff\xff\xff\xff\xff\xff\xff"
    impossible = b"\xc7\x05\xff12345"

    assert decode(b"\x81\xa1a" + seconds) == Reason.MISSING_FIELD
    assert decode(b"\x81\xa1a" + impossible) == Reason.MALFORMED


def test_of_a_field_that_comes_twice_the_last_counts() -> None:
    """In both formats."""
    assert decode(b'{"user_id": 1, "item_id": 2, "user_id": 3}') == Click("3", "2", RECORD_MS)
    assert decode(b"\x83\xa7user_id\x01\xa7item_id\x02\xa7user_id\x03") == Click("3", "2", RECORD_MS)


def test_a_value_over_the_limit_is_too_large_before_it_is_read() -> None:
    """The limit itself passes."""
    value = encode_json(click())

    assert Decoder(Fields(), max_bytes=len(value)).decode(value, None, RECORD_MS) == Click(
        "ada", "lamp", RECORD_MS
    )
    assert Decoder(Fields(), max_bytes=len(value) - 1).decode(value, None, RECORD_MS) == Reason.TOO_LARGE
    assert Decoder(Fields(), max_bytes=4).decode(b"\xff" * 5, None, RECORD_MS) == Reason.TOO_LARGE


@pytest.mark.parametrize(
    ("text", "timestamp_ms"),
    [
        ("2024-01-01T00:00:00Z", 1_704_067_200_000),
        ("2024-01-01t00:00:00z", 1_704_067_200_000),
        ("2024-01-01 00:00:00+00:00", 1_704_067_200_000),
        ("2024-01-01T00:00:00-00:00", 1_704_067_200_000),
        ("2024-01-01T00:00:00.5Z", 1_704_067_200_500),
        ("2024-01-01T00:00:00.123999Z", 1_704_067_200_123),
        ("2024-01-01T00:00:00.123999999Z", 1_704_067_200_123),
        ("2023-12-31T16:30:00-07:30", 1_704_067_200_000),
        ("2024-02-29T12:00:00+14:00", 1_709_157_600_000),
        ("2024-01-01 00:00:00 UTC", 1_704_067_200_000),
        ("2024/01/01 00:00", 1_704_067_200_000),
        ("2024-01-01T00:00:00", 1_704_067_200_000),
        ("2024-01-01", 1_704_067_200_000),
        ("1704067200", 1_704_067_200_000),
        ("2000-01-01T00:00:00Z", EARLIEST_MS),
        ("9999-12-31T23:59:59.999Z", MAX_TIMESTAMP_MS),
    ],
)
@both_formats
def test_an_rfc_3339_timestamp_is_read_to_the_millisecond(
    encode: Encode, text: str, timestamp_ms: int
) -> None:
    """Any offset, either case, with or without a fraction, which is cut and not rounded."""
    found = decode(encode(click(timestamp=text)), record_ms=-1)

    assert found == Click("ada", "lamp", timestamp_ms)


@pytest.mark.parametrize(
    "text",
    [
        "\0",
        "now",
        "2023-02-29T00:00:00Z",
        "2024-13-01T00:00:00Z",
        "2024-01-01T00:00:00+25:00",
        "2024-01-01T00:00:00Zz",
        "\N{FULLWIDTH DIGIT TWO}024-01-01T00:00:00Z",
        "9999-12-31T23:59:59-23:59",
    ],
)
def test_text_that_is_no_moment_is_a_bad_timestamp(text: str) -> None:
    """No such day, after the year 9999, other formats."""
    assert decode(encode_json(click(timestamp=text)), record_ms=-1) == Reason.BAD_TIMESTAMP


@both_formats
@pytest.mark.parametrize("wrong", [True, [], {}, [RECORD_MS]])
def test_a_timestamp_of_another_type_is_wrong(encode: Encode, wrong: object) -> None:
    """Numbers and text only."""
    assert decode(encode(click(timestamp=wrong))) == Reason.WRONG_TYPE


@both_formats
@pytest.mark.parametrize(
    ("number", "timestamp_ms"),
    [(RECORD_MS + 0.9, RECORD_MS), (1.7e12, RECORD_MS), (1_600_000_000.123, 1_600_000_000_123)],
)
def test_a_float_timestamp_loses_its_fraction(encode: Encode, number: float, timestamp_ms: int) -> None:
    """Many a producer has no integers."""
    assert decode(encode(click(timestamp=number))) == Click("ada", "lamp", timestamp_ms)


@both_formats
@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (0, Reason.TOO_EARLY),
        (-1, Reason.TOO_EARLY),
        (-1.5, Reason.TOO_EARLY),
        (-(2**63), Reason.TOO_EARLY),
        (EARLIEST_MS - 1, Reason.TOO_EARLY),
        (MAX_TIMESTAMP_MS + 1, Reason.TOO_EARLY),
        ("1999-12-31T23:59:59.999Z", Reason.TOO_EARLY),
        ("0001-01-01T00:00:00+23:59", Reason.TOO_EARLY),
        (1e300, Reason.BAD_TIMESTAMP),
        (-1e300, Reason.BAD_TIMESTAMP),
    ],
)
def test_a_time_before_the_earliest_is_too_early(encode: Encode, number: object, reason: Reason) -> None:
    """Whatever the record's own time, even where it has none."""
    for record_ms in (RECORD_MS, -1, 2**63 - 1):
        assert decode(encode(click(timestamp=number)), record_ms=record_ms) == reason


def test_a_click_may_be_an_hour_ahead_of_its_record_and_no_more() -> None:
    """A clock that runs ahead would otherwise open session gaps that never close."""
    at_limit, beyond = (encode_json(click(timestamp=RECORD_MS + MAX_AHEAD_MS + more)) for more in (0, 1))

    assert decode(at_limit) == Click("ada", "lamp", RECORD_MS + MAX_AHEAD_MS)
    assert decode(beyond) == Reason.FUTURE_TIMESTAMP


def test_a_record_without_a_time_bounds_nothing() -> None:
    """Kafka writes -1 for it."""
    assert decode(encode_json(click(timestamp="9999-12-31T23:59:59.999Z")), record_ms=-1) == Click(
        "ada", "lamp", MAX_TIMESTAMP_MS
    )


@both_formats
def test_an_absent_timestamp_is_the_records_own(encode: Encode) -> None:
    """Absent, null, or text that stands for it; where the record has none either, the field is missing."""
    absent = click()
    del absent["timestamp"]

    for value in (encode(absent), *(encode(click(timestamp=one)) for one in (None, "", "NULL"))):
        assert decode(value, record_ms=RECORD_MS) == Click("ada", "lamp", RECORD_MS)
        assert decode(value, record_ms=EARLIEST_MS) == Click("ada", "lamp", EARLIEST_MS)
        assert decode(value, record_ms=5) == Reason.TOO_EARLY
        assert decode(value, record_ms=-1) == Reason.MISSING_FIELD
        assert decode(value, record_ms=MAX_TIMESTAMP_MS + 1) == Reason.BAD_TIMESTAMP
        assert decode(value, record_ms=2**63 - 1) == Reason.BAD_TIMESTAMP


@both_formats
def test_dotted_paths_reach_into_nested_maps(encode: Encode) -> None:
    """So an existing topic is read as it is."""
    decoder = Decoder(Fields(user_id="who.account.id", item_id="item.sku", timestamp="at.ms"))
    document = {"who": {"account": {"id": 7}}, "item": {"sku": "lamp"}, "at": {"ms": RECORD_MS}}

    assert decoder.decode(encode(document), None, RECORD_MS) == Click("7", "lamp", RECORD_MS)


@pytest.mark.parametrize("key", [None, b"", b"ada", b"\xff"])
def test_the_key_does_not_matter_where_the_value_names_the_user(key: bytes | None) -> None:
    """A null key is fine."""
    assert decode(encode_json(click()), key) == Click("ada", "lamp", RECORD_MS)
