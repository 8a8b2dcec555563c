"""Decoding of items: each field in its forms, and what is refused; bad bytes never raise an error."""

from __future__ import annotations

from typing import Any, Final

import msgpack
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.core.item_record import MAX_TAGS, ItemDecoder, ItemFields, parse_field, parse_tags
from worker.core.known_items import Item
from worker.core.reasons import Reason
from worker.core.times import TimeRule

DAY_MS: Final = 1_789_948_800_000
"""2026-09-21."""


def decoded(document: object, fields: ItemFields | None = None, **rules: Any) -> Any:
    """What becomes of a record with the key `lamp`; both formats must agree."""
    decoder = ItemDecoder(fields, **rules)
    found = [decoder.decode(one, b"lamp") for one in (orjson.dumps(document), msgpack.packb(document))]

    assert found[0] == found[1]

    return found[0]


def item(document: object, fields: ItemFields | None = None, **rules: Any) -> Item:
    """The description of an item that is well."""
    item_id, found = decoded(document, fields, **rules)

    assert item_id == "lamp"
    assert isinstance(found, Item)

    return found


def test_a_record_may_say_nothing() -> None:
    """Then the item is available."""
    assert item({}) == Item()


def test_all_fields() -> None:
    """In their usual forms."""
    found = item(
        {
            "available": False,
            "tags": ["category:lights", "new", "new"],
            "title": "A lamp",
            "price": 12.5,
            "valid_from": "2026-09-21",
            "valid_until": DAY_MS + 1_000,
            "other": {},
        }
    )

    assert found == Item(False, ("category:lights", "new"), "A lamp", 12.5, DAY_MS, DAY_MS + 1_000)


@pytest.mark.parametrize(
    ("given", "available"),
    [
        (True, True), (False, False), (None, True), ("", True), ("null", True),
        (0, False), (1, True), (7.5, True), (-1, False),
        ("true", True), (" No ", False), ("0.0", False), ("12", True),
    ],
)  # fmt: skip
def test_availability_has_many_forms(given: object, *, available: bool) -> None:
    """A number may be the stock; a missing value says nothing."""
    assert item({"available": given}).available == available


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ({"available": "perhaps"}, Reason.WRONG_TYPE),
        ({"available": []}, Reason.WRONG_TYPE),
        ({"price": "cheap"}, Reason.WRONG_TYPE),
        ({"price": True}, Reason.WRONG_TYPE),
        ({"title": ["A", "lamp"]}, Reason.WRONG_TYPE),
        ({"tags": [{"a": 1}]}, Reason.WRONG_TYPE),
        ({"tags": True}, Reason.WRONG_TYPE),
        ({"tags": [f"t{n}" for n in range(MAX_TAGS + 1)]}, Reason.TOO_LARGE),
        ({"tags": ["x" * 257]}, Reason.LONG_ID),
        ({"valid_from": "soon"}, Reason.BAD_TIMESTAMP),
        ({"valid_from": "2026-09-22", "valid_until": "2026-09-21"}, Reason.BAD_TIMESTAMP),
        ({"valid_until": 0}, Reason.TOO_EARLY),
        ({"valid_until": -1}, Reason.TOO_EARLY),
        ({"valid_until": "1970-01-01"}, Reason.TOO_EARLY),
        ({"title": "x" * 1_000}, Reason.TOO_LARGE),
    ],
)
def test_what_is_refused(document: dict[str, object], reason: Reason) -> None:
    """Each with its reason."""
    assert decoded(document, max_bytes=20_000 if "tags" in document else 900) == reason


@pytest.mark.parametrize(
    "value", [b"", b"\x00", b"text", b"{", b"[]", msgpack.packb({"price": float("nan")})]
)
def test_bad_bytes_are_refused(value: bytes) -> None:
    """With a reason."""
    assert isinstance(ItemDecoder().decode(value, b"lamp"), Reason)


@given(st.binary() | st.none(), st.binary() | st.none())
def test_no_bytes_raise_an_error(value: bytes | None, key: bytes | None) -> None:
    """Whatever anyone writes into the topic; a record whose id can be read names it even if it is bad."""
    decoder = ItemDecoder()
    found = decoder.decode(value, key)

    if not isinstance(found, Reason):
        assert decoder.item_id(value, key) == found[0]


def test_a_record_without_a_value_says_that_the_item_is_gone() -> None:
    """Its key names it."""
    assert ItemDecoder().decode(None, b"lamp") == ("lamp", None)
    assert ItemDecoder(ItemFields("@key.id")).decode(None, b'{"id": 7}') == ("7", None)
    assert ItemDecoder(ItemFields("@key:int")).decode(None, (7).to_bytes(4, "big")) == ("7", None)


@pytest.mark.parametrize(
    ("item_id", "value", "key", "reason"),
    [
        ("@key", b"{}", None, Reason.MISSING_FIELD),
        ("@key", None, None, Reason.MISSING_FIELD),
        ("@key", b"{}", b"null", Reason.EMPTY_ID),
        ("@key", b"{}", b"x" * 257, Reason.LONG_ID),
        ("sku", b"{}", b"lamp", Reason.MISSING_FIELD),
        ("sku", None, b"lamp", Reason.NULL_VALUE),
    ],
)
def test_an_item_needs_an_id(item_id: str, value: bytes | None, key: bytes | None, reason: Reason) -> None:
    """From the key by default; if it is in the value, there must be one."""
    decoder = ItemDecoder(ItemFields(item_id))

    assert decoder.decode(value, key) == reason
    assert decoder.item_id(value, key) is None


def test_ids_are_those_of_clicks() -> None:
    """Large integers keep their digits, numbers their spelling."""
    decoder = ItemDecoder(ItemFields("sku"))

    assert decoder.decode(b'{"sku": 340282366920938463463374607431768211455}', None) == (
        "340282366920938463463374607431768211455",
        Item(),
    )
    assert decoder.decode(b'{"sku": " 12.0 "}', None) == ("12", Item())
    assert decoder.item_id(b'{"sku": 7, "available": "perhaps"}', None) == "7"


def test_columns_become_tags() -> None:
    """With a prefix or without, one value or several, from a list of maps, from text with JSON."""
    fields = ItemFields(
        tags=("labels", "category = cat.name", "size=sizes[].label", "in = regions", "brand = missing")
    )

    found = item(
        {
            "labels": "sale",
            "cat": {"name": ["shoes", "boots"]},
            "sizes": [{"label": 42}, {"label": 43.0}, {}],
            "regions": '["eu", "us"]',
        },
        fields,
    )

    assert found.tags == (
        "sale", "category:shoes", "category:boots", "size:42", "size:43", "in:eu", "in:us",
    )  # fmt: skip
    assert item({"sizes": None}, fields).tags == ()


def test_times_follow_the_rules_of_clicks_but_may_be_any_time() -> None:
    """A validity may begin in 1970 and end in 9999."""
    times = TimeRule(unit="s")

    found = item({"valid_from": 1, "valid_until": "9999-12-31T23:59:59Z"}, times=times)

    assert (found.valid_from_ms, found.valid_until_ms) == (1_000, 253_402_300_799_000)


def test_changes_of_rows_are_read_from_their_envelope() -> None:
    """Debezium: a deleted row is an item that is gone."""
    decoder = ItemDecoder(ItemFields("@key.id"), envelope="debezium")
    key = b'{"id": 7}'

    assert decoder.decode(b'{"op": "u", "after": {"available": false}}', key) == ("7", Item(False))
    assert decoder.decode(b'{"op": "d", "before": {"id": 7}, "after": null}', key) == ("7", None)
    assert decoder.decode(None, key) == ("7", None)
    assert decoder.decode(b"{}", key) == Reason.NO_ENVELOPE


@pytest.mark.parametrize("wrong", ["@nothing", "a[].b[].c", "= path", "category = a\\"])
def test_paths_that_are_none(wrong: str) -> None:
    """Are errors at once."""
    with pytest.raises(ValueError, match=r".+"):
        parse_tags(wrong)


def test_only_tags_come_from_lists() -> None:
    """An item has one title."""
    with pytest.raises(ValueError, match="only tags can have several values"):
        parse_field("titles[].text")
