from __future__ import annotations

import orjson
import pytest

from worker.core.diagnosis import fault, field_list, look_alike
from worker.core.event import Fields
from worker.core.reasons import Reason

FIELDS = Fields("user.id", "item_id")


@pytest.mark.parametrize("reason", list(Reason))
def test_every_reason_is_explained(reason: Reason) -> None:
    """In words that continue "100 of 100 records ..."."""
    assert fault(b'{"user": {"id": 1}, "item_id": 2}', None, reason, FIELDS).split()[0] in (
        "have",
        "are",
        "lack",
    )


def test_missing_fields_are_named() -> None:
    """Each that is absent, and no other."""
    assert fault(b'{"item_id": 1}', None, Reason.MISSING_FIELD, FIELDS) == "have no field user.id"
    assert fault(b"{}", None, Reason.MISSING_FIELD, FIELDS) == "have no field user.id and no field item_id"
    assert fault(b"{}", None, Reason.MISSING_FIELD, Fields("@key", "item_id")).startswith("have no key")
    event = b'{"specversion": "1.0", "type": "t", "data": {"user": {"id": 1}}}'
    assert fault(event, None, Reason.MISSING_FIELD, FIELDS) == "have no field item_id"


def test_a_missing_header_is_named() -> None:
    """A header without a value is missing, too."""
    fields = Fields("@header.user", "item_id")

    def named(*headers: tuple[str, bytes | None]) -> str:
        return fault(b"{}", None, Reason.MISSING_FIELD, fields, headers=headers)

    assert named() == named(("user", None)) == "have no header user and no field item_id"
    assert named(("user", b"ada")) == "have no field item_id"


@pytest.mark.parametrize("data", ["", "?", "aGVsbG8=", "gQ=="])
def test_an_envelope_that_does_not_open_lacks_the_fields(data: str) -> None:
    """No data, no base64, text, broken MessagePack: all are named, and none raises an error."""
    event = orjson.dumps({"specversion": "1.0", "type": "t", "data_base64": data})

    assert fault(event, None, Reason.MISSING_FIELD, FIELDS) == "have no field user.id and no field item_id"


@pytest.mark.parametrize(
    ("topic", "catalogue"), [("lamp 1", "lamp-1"), ("7", "007"), ("SKU_9", "sku9"), ("a-010", "A10")]
)
def test_ids_that_differ_only_in_writing_are_found(topic: str, catalogue: str) -> None:
    """Blanks, signs, case, leading zeros."""
    assert look_alike(["other", topic], ["rug", catalogue]) == (topic, catalogue)
    assert look_alike(["other"], ["rug", catalogue]) is None


def test_field_names_are_paths_and_bounded() -> None:
    """A path finds a name with dots as it is; a wide record is cut; what is no map has no fields."""
    assert field_list(b'{"a": {"b": 1, "c.d": 2, "x[]": 3}, "e": null}') == r"a.b, a.c.d, a.x\[\]"
    assert (
        field_list(b'[{"cart": [{"sku": 1}, {"sku": 2}], "json": "{\\"id\\": 1}"}]') == "cart[].sku, json.id"
    )
    assert field_list(orjson.dumps({f"f{number}": 1 for number in range(15)})).endswith("f11, 3 more")
    assert [field_list(value) for value in (None, b"7", b"garbage")] == ["", "", ""]
