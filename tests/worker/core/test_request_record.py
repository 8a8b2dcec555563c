"""The fields of a request in the clicks topic."""

from __future__ import annotations

from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given

from worker.core.asking import Query
from worker.core.reasons import Reason, Undecodable
from worker.core.request_record import DEFAULT_K, ListRequest, parse_request


def test_a_request_needs_an_id_and_nothing_else() -> None:
    """An integer is its text."""
    assert parse_request({"request_id": 7}) == ListRequest("7", Query(DEFAULT_K))


def test_all_fields_are_read() -> None:
    """A single name need not be in a list; empty names are none."""
    document = {
        "request_id": "r-1",
        "k": 5,
        "only": ["a", "b", "a", ""],
        "without": "sale",
        "exclude": [4711, " lamp "],
        "item_id": 12,
        "placement": "cart",
        "other": object(),
    }

    assert parse_request(document) == ListRequest(
        "r-1", Query(5, ("4711", "lamp"), ("a", "b"), ("sale",), "cart"), "12"
    )


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("request_id", None, Reason.MISSING_FIELD),
        ("request_id", " ", Reason.EMPTY_ID),
        ("request_id", "x" * 300, Reason.LONG_ID),
        ("request_id", [], Reason.WRONG_TYPE),
        ("item_id", {}, Reason.WRONG_TYPE),
        ("k", 0, Reason.BAD_REQUEST),
        ("k", 1_001, Reason.BAD_REQUEST),
        ("k", True, Reason.BAD_REQUEST),
        ("k", "5", Reason.BAD_REQUEST),
        ("k", 5.0, Reason.BAD_REQUEST),
        ("only", {"a": 1}, Reason.BAD_REQUEST),
        ("without", [None], Reason.BAD_REQUEST),
        ("exclude", [1.5], Reason.BAD_REQUEST),
        ("exclude", [str(one) for one in range(1_001)], Reason.BAD_REQUEST),
        ("placement", 3, Reason.BAD_REQUEST),
        ("placement", "x" * 101, Reason.BAD_REQUEST),
    ],
)
def test_a_bad_field_is_refused(field: str, value: Any, reason: Reason) -> None:
    """With a reason for the dead letter."""
    with pytest.raises(Undecodable) as refused:
        parse_request({"request_id": "r"} | {field: value})

    assert refused.value.reason == reason


values = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary()


@given(
    st.dictionaries(
        st.sampled_from(["request_id", "k", "only", "without", "exclude", "item_id", "placement"]),
        values | st.lists(values, max_size=3) | st.dictionaries(st.text(), values, max_size=2),
    )
)
def test_whatever_a_request_holds_it_is_read_or_refused(document: dict[str, Any]) -> None:
    """Nothing else comes of it."""
    try:
        found = parse_request(document)
    except Undecodable:
        return
    assert found.request_id
