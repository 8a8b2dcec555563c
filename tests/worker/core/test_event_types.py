"""Types of events in records: which are clicks, which exclude an item, which ask, and which do nothing."""

from __future__ import annotations

import json
from typing import Any, Final

import orjson
import pytest

from worker.core.click import Click, Decoded, Request, Several
from worker.core.event import Decoder, Fields
from worker.core.event_types import EXCLUDE, STEP, EventTypes
from worker.core.paths import parse
from worker.core.reasons import Reason, Skipped
from worker.core.where import parse_where

NOW: Final = 1_700_000_000_000
BOTH: Final = STEP | EXCLUDE


def types(path: str = "type", **lists: Any) -> EventTypes:
    """Views and carts move, purchases and carts exclude, `ask` asks."""
    return EventTypes(
        parse(path), **{"step": ["view", "cart"], "exclude": ["buy", "cart"], "request": "ask", **lists}
    )


def decoded(document: Any, path: str = "type", fields: Fields | None = None, **lists: Any) -> Decoded:
    """What the decoder finds in a document."""
    return Decoder(fields or Fields(), types=types(path, **lists)).decode(orjson.dumps(document), None, NOW)


def event(kind: Any, **more: Any) -> dict[str, Any]:
    """An event of a type."""
    return {"user_id": 1, "item_id": "a", "timestamp": NOW, "type": kind, **more}


@pytest.mark.parametrize("path", ["type", "meta.type", "@header.type"])
@pytest.mark.parametrize(("name", "kind"), [("view", STEP), ("buy", EXCLUDE), ("cart", BOTH)])
def test_a_type_decides_what_an_event_does(path: str, name: str, kind: int) -> None:
    """Wherever the type is."""
    decoder = Decoder(Fields(), types=types(path))
    document = event(name) | {"meta": {"type": name}}

    found = decoder.decode(orjson.dumps(document), None, NOW, [("type", name.encode())])

    assert found == Click("1", "a", NOW, kind)


@pytest.mark.parametrize("name", ["search", None, "", {"a": 1}, ["view"], "View"])
def test_a_type_in_no_list_is_skipped(name: Any) -> None:
    """Never a dead letter, even where an id is missing or wrong."""
    assert decoded(event(name)) is Skipped.TYPE
    assert decoded(event(name, item_id=None, timestamp="?")) is Skipped.TYPE
    assert decoded({"user_id": 1, "item_id": "a"}) is Skipped.TYPE


@pytest.mark.parametrize("name", ["search", None, "", {"a": 1}])
def test_without_a_list_of_steps_all_other_types_are_clicks(name: Any) -> None:
    """And so is an event that has none, as it is without `[events]`."""
    assert decoded(event(name), step=()) == Click("1", "a", NOW, STEP)
    assert decoded({"user_id": 1, "item_id": "a"}, step=()) == Click("1", "a", NOW, STEP)
    assert decoded(event("cart"), step=()) == Click("1", "a", NOW, EXCLUDE)


@pytest.mark.parametrize("name", [7, 7.0, "7.00", " 7 ", True], ids=repr)
def test_types_are_compared_in_the_form_of_ids(name: Any) -> None:
    """As in `click.where`."""
    assert decoded(event(name), step=["7.0", "true"]) == Click("1", "a", NOW, STEP)


def test_long_integers_are_types_too() -> None:
    """The record is read again, with all digits."""
    value = b'{"user_id": 1, "item_id": "a", "type": 123456789012345678901234567890}'
    decoder = Decoder(Fields(), types=types(exclude=["123456789012345678901234567890"]))

    assert decoder.decode(value, None, NOW) == Click("1", "a", NOW, EXCLUDE)


def test_a_request_needs_a_user_and_no_item() -> None:
    """Its time is the record's where it has none; it keeps its document; a bad one is a dead letter."""
    document = {"user_id": 1, "type": "ask", "k": 5}

    assert decoded(document) == Request("1", NOW, document)
    assert decoded({"type": "ask"}) is Reason.MISSING_FIELD
    assert decoded({**document, "timestamp": "?"}) is Reason.BAD_TIMESTAMP


def test_a_request_keeps_long_integers() -> None:
    """In its fields and in lists of them: the record is read again, with all digits."""
    number = 123456789012345678901234567890
    for fields in ({"request_id": number}, {"request_id": "r", "exclude": ["a", number]}):
        document = {"user_id": 1, "type": "ask", **fields}
        for value in (document, [document]):
            decoder = Decoder(Fields(), types=types())
            found = decoder.decode(json.dumps(value).encode(), None, NOW)
            request = found.requests[0] if isinstance(found, Several) else found

            assert isinstance(request, Request)
            assert {name: request.document[name] for name in fields} == fields


def test_a_request_is_a_map() -> None:
    """Not a mere word in a list of items."""
    found = decoded({"user_id": 1, "items": ["ask"]}, "items[]", Fields(item_id="items[]"))

    assert isinstance(found, Several)
    assert found.bad == [("items[0]", Reason.NOT_A_MAP)]


def test_conditions_come_first() -> None:
    """What `click.where` excludes is of no type."""
    decoder = Decoder(Fields(), types=types(), where=parse_where("country != XX"))
    found = [decoder.decode(orjson.dumps(event(one, country="XX")), None, NOW) for one in ("buy", "ask", "?")]

    assert found == [Skipped.WHERE] * 3


def test_a_list_may_have_events_of_all_types() -> None:
    """Each is what its type says, in its place."""
    found = decoded([event("view"), event("ask"), event("?"), event("buy", item_id=None), event("buy")])

    assert isinstance(found, Several)
    assert [(part.click.kind, part.element) for part in found.parts] == [(STEP, 1), (EXCLUDE, 5)]
    assert [(one.user_id, one.element) for one in found.requests] == [("1", 2)]
    assert found.skipped == [Skipped.TYPE]
    assert found.bad == [("[3]", Reason.MISSING_FIELD)]


@pytest.mark.parametrize("name", ["?", "ask"])
def test_an_event_that_is_no_click_needs_no_items(name: str) -> None:
    """Though clicks have a list of them: a search is skipped, a request is one."""
    found = decoded({"user_id": 1, "type": name}, fields=Fields(item_id="items[].id"))

    assert isinstance(found, Several)
    assert not found.parts
    assert not found.bad
    assert found.skipped == ([Skipped.TYPE] if name == "?" else [])
    assert len(found.requests) == (name == "ask")


def test_an_order_excludes_each_of_its_items() -> None:
    """One event with several items."""
    document = {"user_id": 1, "type": "buy", "items": [{"id": "a"}, {"id": "b"}]}
    found = decoded(document, fields=Fields(item_id="items[].id"))

    assert isinstance(found, Several)
    assert [(part.click.item_id, part.click.kind) for part in found.parts] == [("a", EXCLUDE), ("b", EXCLUDE)]


def test_the_last_click_of_an_event_ends_it() -> None:
    """Where each item has a type of its own: what only excludes gets no list."""
    document = {"user_id": 1, "items": [{"id": "a", "is": "view"}, {"id": "b", "is": "buy"}]}
    found = decoded(document, "items[].is", Fields(item_id="items[].id"))

    assert isinstance(found, Several)
    assert [(part.click.item_id, part.ends_event) for part in found.parts] == [("a", True), ("b", False)]


def test_the_type_may_lead_through_the_list_of_the_items_only() -> None:
    """Like all paths."""
    with pytest.raises(ValueError, match="goes through a list"):
        Decoder(Fields(), types=types("items[].type"))


@pytest.mark.parametrize("step", [["view", "cart"], []])
def test_the_clause_holds_for_steps_alone(step: list[str]) -> None:
    """So that a trainer learns from what moves the network, and from nothing else."""
    these = types(step=step)
    clause = these.steps()

    for name in ("view", "cart", "buy", "ask", "search", None, 7, ["view"]):
        assert clause.holds(name) is bool(these.kind(name) & STEP)
