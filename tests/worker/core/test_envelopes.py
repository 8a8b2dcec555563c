"""Envelopes: the event inside, and what is skipped."""

from __future__ import annotations

import base64
from typing import Any

import msgpack
import orjson
import pytest

from worker.core.click import Click, Decoded
from worker.core.envelopes import Envelope, Opened, opened, recognised
from worker.core.event import Decoder, Fields
from worker.core.paths import Headers
from worker.core.reasons import Reason, Skipped

NOW = 1_790_000_000_000
EVENT = {"user_id": 7, "item_id": "lamp"}
CLICK = Click("7", "lamp", NOW)
CLOUD = {"specversion": "1.0", "type": "view", "source": "/shop", "id": "1", "subject": "ada"}
BINARY = [(f"ce_{name}", text.encode()) for name, text in CLOUD.items()]


def change(operation: str, *, wrapped: bool = False) -> dict[str, Any]:
    """Return a change of a row as Debezium writes it, with or without its schema."""
    row = {"before": EVENT, "after": None} if operation == "d" else {"before": None, "after": EVENT}
    payload = {**row, "op": operation, "source": {"ts_ms": NOW - 5}, "ts_ms": NOW}
    return {"schema": {"type": "struct"}, "payload": payload} if wrapped else payload


def decoded(
    envelope: Envelope, document: Any, *, headers: Headers = (), fields: Fields | None = None
) -> Decoded:
    """Return what the decoder makes of a document in an envelope; None is a record without a value."""
    value = None if document is None else orjson.dumps(document)
    return Decoder(fields or Fields(), envelope=envelope).decode(value, b"k", NOW, headers)


@pytest.mark.parametrize(
    "data",
    [
        {"data": EVENT},
        {"data": orjson.dumps(EVENT).decode()},
        {"data_base64": base64.b64encode(orjson.dumps(EVENT)).decode()},
        {"data_base64": base64.b64encode(msgpack.packb(EVENT)).decode()},
    ],
)
def test_the_data_of_a_structured_cloudevent_is_the_event(data: dict[str, Any]) -> None:
    """A map, JSON in text, or bytes in base64."""
    assert decoded("cloudevents", CLOUD | data) == CLICK


def test_the_value_of_a_binary_cloudevent_is_the_event() -> None:
    """Its headers say that it is one."""
    assert decoded("cloudevents", EVENT, headers=BINARY) == CLICK


def test_both_modes_have_their_attributes_at_one_path() -> None:
    """An event whose attributes say all needs no data."""
    fields = Fields("@envelope.subject", "@envelope.type")

    assert decoded("cloudevents", CLOUD, fields=fields) == Click("ada", "view", NOW)
    assert decoded("cloudevents", None, headers=BINARY, fields=fields) == Click("ada", "view", NOW)


@pytest.mark.parametrize("damaged", [b"\xff", bytes(16)])
def test_a_damaged_attribute_counts_where_a_path_leads_to_it(damaged: bytes) -> None:
    """Nowhere else; and it does not count as missing, or the record's time would replace it."""
    headers = [*BINARY, ("ce_x", damaged)]

    assert decoded("cloudevents", EVENT, headers=headers) == CLICK
    for fields in (Fields("@envelope.x"), Fields(timestamp="@envelope.x")):
        assert decoded("cloudevents", EVENT, headers=headers, fields=fields) == Reason.WRONG_TYPE


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize("operation", ["c", "u", "r"])
def test_the_row_after_a_change_is_the_event(operation: str, wrapped: bool) -> None:
    """A create, an update, a snapshot; with and without a schema."""
    fields = Fields(timestamp="@envelope.source.ts_ms")

    assert decoded("debezium", change(operation, wrapped=wrapped)) == CLICK
    assert decoded("debezium", change(operation, wrapped=wrapped), fields=fields) == Click(
        "7", "lamp", NOW - 5
    )


@pytest.mark.parametrize(
    "document",
    [None, change("d"), change("d", wrapped=True), {"op": "t"}, {"op": "m"}, {"schema": {}, "payload": None}],
)
def test_a_deletion_is_skipped(document: Any) -> None:
    """And its tombstone, a truncation, a message about a table: none is a dead letter."""
    assert decoded("debezium", document) == Skipped.DELETED


def test_a_row_that_is_json_in_text_is_the_event() -> None:
    """So Debezium writes the documents of MongoDB."""
    assert decoded("debezium", change("c") | {"after": orjson.dumps(EVENT).decode()}) == CLICK


@pytest.mark.parametrize(
    ("envelope", "document", "reason"),
    [
        ("cloudevents", EVENT, Reason.NO_ENVELOPE),
        ("cloudevents", None, Reason.NULL_VALUE),
        ("cloudevents", CLOUD, Reason.MISSING_FIELD),
        ("cloudevents", CLOUD | {"data": 7}, Reason.NOT_A_MAP),
        ("cloudevents", CLOUD | {"data_base64": "?"}, Reason.MALFORMED),
        ("cloudevents", CLOUD | {"data_base64": ""}, Reason.NULL_VALUE),
        ("cloudevents", CLOUD | {"data_base64": "e30="}, Reason.MISSING_FIELD),
        ("debezium", EVENT, Reason.NO_ENVELOPE),
        ("debezium", {"op": ["c"]}, Reason.NO_ENVELOPE),
        ("debezium", {"op": "c", "after": None}, Reason.NOT_A_MAP),
        ("none", None, Reason.NULL_VALUE),
    ],
)
def test_what_is_in_no_envelope_has_its_reason(envelope: Envelope, document: Any, reason: Reason) -> None:
    """Another document, no data, damaged data."""
    assert decoded(envelope, document) == reason


@pytest.mark.parametrize(
    ("document", "headers", "envelope"),
    [
        (CLOUD, (), "cloudevents"),
        (EVENT, BINARY, "cloudevents"),
        (change("c"), (), "debezium"),
        (change("d", wrapped=True), (), "debezium"),
        (EVENT, (), "none"),
        ({"op": "c"}, (), "none"),
        ({"op": [], "after": 1}, (), "none"),
        ([CLOUD], (), "none"),
        (None, (), "none"),
    ],
)
def test_an_envelope_is_recognised(document: Any, headers: Headers, envelope: Envelope) -> None:
    """By what only such a one has."""
    assert recognised(document, headers) == envelope


def test_without_an_envelope_a_document_is_the_event() -> None:
    """With nothing said about it."""
    assert opened("none", EVENT, ()) == Opened(EVENT, {})
