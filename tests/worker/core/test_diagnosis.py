from __future__ import annotations

import orjson
import pytest

from worker.core.diagnosis import fault, field_list
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


def test_field_names_are_paths_and_bounded() -> None:
    """A name with a dot stands in quotes; a wide record is cut; what is no map has no fields."""
    assert field_list(b'{"a": {"b": 1, "c.d": 2}, "e": null}') == 'a.b, a."c.d"'
    assert field_list(orjson.dumps({f"f{number}": 1 for number in range(15)})).endswith("f11, 3 more")
    assert [field_list(value) for value in (None, b"7", b"garbage")] == ["", "", ""]
