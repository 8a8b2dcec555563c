"""Several clicks from one record: lists of events, and lists of items in an event."""

from __future__ import annotations

from typing import Any

import msgpack
import orjson
import pytest

from worker.core.click import Click, Several
from worker.core.event import MAX_PARTS, Decoder, Fields
from worker.core.reasons import Reason, Skipped
from worker.core.where import parse_where

NOW = 1_790_000_000_000
ITEMS = Fields(item_id="items[].id")


def decoded(decoder: Decoder, document: Any, *, packed: bool = False) -> Several:
    """Return what a record is that may have several clicks."""
    value = msgpack.packb(document) if packed else orjson.dumps(document)
    found = decoder.decode(value, b"k", NOW)
    assert isinstance(found, Several)
    return found


def clicks(found: Several) -> list[tuple[str, str, int, bool]]:
    """Return user, item, number of the event and whether it ends there, of each click."""
    return [(part.click.user_id, part.click.item_id, part.element, part.ends_event) for part in found.parts]


@pytest.mark.parametrize("packed", [False, True])
def test_a_list_is_several_events(packed: bool) -> None:
    """Each has its number, and ends itself."""
    events = [{"user_id": 1, "item_id": "a"}, {"user_id": 2, "item_id": "b", "timestamp": NOW - 5}]

    found = decoded(Decoder(Fields()), events, packed=packed)

    assert clicks(found) == [("1", "a", 1, True), ("2", "b", 2, True)]
    assert [part.click.timestamp_ms for part in found.parts] == [NOW, NOW - 5]
    assert (found.bad, found.skipped) == ([], [])


def test_a_list_of_items_is_several_clicks_of_one_event() -> None:
    """In order; the last one ends it."""
    found = decoded(Decoder(ITEMS), {"user_id": 1, "items": [{"id": "a"}, {"id": "b"}, {"id": "a"}]})

    assert clicks(found) == [("1", "a", 0, False), ("1", "b", 0, False), ("1", "a", 0, True)]


@pytest.mark.parametrize(
    "document",
    [
        {"user_id": 1, "cart": {"items": ["a", "b"]}},
        {"user_id": 1, "cart.items": ["a", "b"]},
        {"user_id": 1, "cart": '{"items": ["a", "b"]}'},
        {"user_id": 1, "cart": {"items": '["a", "b"]'}},
    ],
)
def test_items_may_be_bare_ids_anywhere(document: Any) -> None:
    """As deep as one likes, under a flat name, in text that is JSON."""
    found = decoded(Decoder(Fields(item_id="cart.items[]")), document)

    assert clicks(found) == [("1", "a", 0, False), ("1", "b", 0, True)]


def test_what_belongs_to_an_item_is_taken_from_it() -> None:
    """Its time and what decides whether it counts; one that has a user, too, is an event of its own."""
    fields = Fields("events[].user", "events[].item", "events[].at")
    events = [
        {"user": 1, "item": "a", "at": NOW - 3},
        {"user": 1, "item": "b", "at": NOW - 2},
        {"user": 2, "item": "c", "at": NOW - 1},
        {"user": 2, "item": "d", "type": "scroll"},
    ]
    decoder = Decoder(fields, where=parse_where("events[].type != scroll; shop = 7"))

    found = decoded(decoder, {"shop": 7, "events": events})

    assert clicks(found) == [("1", "a", 1, True), ("1", "b", 2, True), ("2", "c", 3, True)]
    assert [part.click.timestamp_ms for part in found.parts] == [NOW - 3, NOW - 2, NOW - 1]
    assert found.skipped == [Skipped.WHERE]
    assert decoded(decoder, {"shop": 8, "events": events}).parts == []


def test_a_bad_element_takes_no_good_one_with_it() -> None:
    """Its place is named, counted from 0 as paths of JSON are; the last good item ends its event."""
    events = [
        {"user_id": 1, "items": [{"id": "a"}, {"id": None}, 7]},
        {"user_id": "", "items": [{"id": "a"}]},
        {"user_id": 2, "items": []},
        {"user_id": 2, "items": {"id": "a"}},
        7,
        {"user_id": 3, "items": [{"id": "b"}]},
    ]

    found = decoded(Decoder(ITEMS), events)

    assert clicks(found) == [("1", "a", 1, True), ("3", "b", 6, True)]
    assert found.bad == [
        ("[0].items[1]", Reason.MISSING_FIELD),
        ("[0].items[2]", Reason.MISSING_FIELD),
        ("[1].items[0]", Reason.EMPTY_ID),
        ("[2]", Reason.MISSING_FIELD),
        ("[3]", Reason.WRONG_TYPE),
        ("[4]", Reason.NOT_A_MAP),
    ]


def test_a_list_of_envelopes_is_opened_one_by_one() -> None:
    """As CloudEvents has it for batches."""
    rows: list[Any] = [
        {"op": "c", "after": {"user_id": 1, "item_id": "a"}},
        {"op": "d", "after": None},
        {"op": "?"},
    ]

    found = decoded(Decoder(Fields(), envelope="debezium"), rows)

    assert clicks(found) == [("1", "a", 1, True)]
    assert (found.skipped, found.bad) == ([Skipped.DELETED], [("[2]", Reason.NO_ENVELOPE)])


def test_long_integers_in_a_list_keep_their_digits() -> None:
    """The record is read again as a whole, and no click comes twice."""
    value = b'[{"user_id": 1, "item_id": 1}, {"user_id": 123456789012345678901234567890, "item_id": 2}]'
    found = Decoder(Fields()).decode(value, None, NOW)

    assert isinstance(found, Several)
    assert [part.click.user_id for part in found.parts] == ["1", "123456789012345678901234567890"]


def test_an_empty_list_is_a_record_without_a_value() -> None:
    """There is nothing in it that could be answered or lost."""
    assert Decoder(Fields()).decode(b"[]", None, NOW) == Reason.NULL_VALUE


@pytest.mark.parametrize(
    ("fields", "where"),
    [
        (Fields(user_id="items[].user"), ""),
        (Fields("users[].id", "items[].id"), ""),
        (ITEMS, "tags[].name = x"),
    ],
)
def test_the_clicks_of_an_event_come_from_one_list(fields: Fields, where: str) -> None:
    """Another list beside it has no meaning."""
    with pytest.raises(ValueError, match="all clicks of an event must come from one list"):
        Decoder(fields, where=parse_where(where))


def test_thousands_of_clicks_are_too_many() -> None:
    """They would be applied in one batch."""
    for decoder, value in (
        (Decoder(Fields()), [{}] * (MAX_PARTS + 1)),
        (Decoder(ITEMS), {"user_id": 1, "items": [{}] * (MAX_PARTS + 1)}),
        (Decoder(ITEMS), [{"user_id": 1, "items": [{"id": 1}] * (MAX_PARTS // 2)}] * 3),
    ):
        assert decoder.decode(orjson.dumps(value), None, NOW) == Reason.TOO_LARGE
    assert len(decoded(Decoder(Fields()), [{"user_id": 1, "item_id": 1}] * MAX_PARTS).parts) == MAX_PARTS


def test_one_click_is_no_list() -> None:
    """A plain record stays what it was."""
    assert Decoder(Fields()).decode(b'{"user_id": 1, "item_id": 2}', None, NOW) == Click("1", "2", NOW)
