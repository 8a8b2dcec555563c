from __future__ import annotations

from typing import Any

import polars as pl
from hypothesis import example, given
from hypothesis import strategies as st

from tests.examples import examples
from trainer.clicks.fields import exploded, field_at, in_each, leaves
from trainer.clicks.ids import ids
from worker.core import paths

NAMES = st.sampled_from(["a", "b", "a.b", "b.a"])
PATHS = st.sampled_from(["a", "a.b", "a.b.a", r"a\.b", r"a\.b.a", "b.a"])
VALUES = st.recursive(
    st.none() | st.integers(0, 9),
    lambda inner: st.dictionaries(NAMES, inner, min_size=1, max_size=3),
    max_leaves=6,
)


@given(row=st.dictionaries(NAMES, VALUES, min_size=1, max_size=4), path=PATHS)
@example(row={"a": {"b.a": 0, "b": {"a": None}}}, path="a.b.a")
@examples(0.5)
def test_a_path_leads_to_the_same_field_as_in_the_worker(row: dict[str, Any], path: str) -> None:
    """Names with dots, structures, and both: the deepest nesting wins."""
    frame = pl.DataFrame([row])
    found = paths.find(row, paths.parse(path).names)

    field = field_at(frame.schema, paths.parse(path).names)

    value = None if field is None or field.kind.is_nested() else frame.select(field.column).item()
    assert value == (None if isinstance(found, dict) else found)


def test_a_path_reaches_into_json_in_text() -> None:
    """Numbers of any length keep their digits; what is no JSON has no fields."""
    frame = pl.DataFrame({"a": ['{"b": 123456789012345678901}', '{"b": "x"}', '{"b": true}', "no", None]})

    field = field_at(frame.schema, ("a", "b"))

    assert field is not None
    assert frame.select(field.column).to_series().to_list() == [
        "123456789012345678901",
        "x",
        "true",
        None,
        None,
    ]


def test_ids_in_json_in_text_follow_the_rule_of_the_worker() -> None:
    """An exponent is written out; fractions, booleans, lists and maps are not ids."""
    values = [
        '" a "',
        "1e5",
        "7.0",
        "-0.0",
        "12345678901234567890123",
        "1.5",
        "true",
        "[1]",
        '{"c": 1}',
        "null",
    ]
    frame = pl.DataFrame({"a": [f'{{"b": {one}}}' for one in values]})

    field = field_at(frame.schema, ("a", "b"), of_ids=True)

    assert field is not None
    read = frame.select(ids(*field, missing=())).to_series().to_list()
    assert read == ["a", "100000", "7", "0", "12345678901234567890123", None, None, None, None, None]


def test_the_elements_of_a_list_are_rows() -> None:
    """An empty list keeps its row; what is no list has none."""
    frame = pl.DataFrame({"u": [1, 2], "i": [[5, 6], []]}, schema_overrides={"i": pl.List(pl.Int64())}).lazy()

    rows = exploded(frame, ("i",))

    assert rows is not None
    element = in_each(rows.collect_schema(), ())
    assert element is not None
    assert rows.select("u", element.column).collect().rows() == [(1, 5), (1, 6), (2, None)]
    assert exploded(frame, ("u",)) is None


def test_the_leaves_are_all_fields_without_fields() -> None:
    """The outer ones first."""
    kinds = {"s": pl.Struct({"x": pl.Int64(), "t": pl.Struct({"y": pl.Int64()})}), "a": pl.Int64()}

    assert list(leaves(kinds)) == [("a",), ("s", "x"), ("s", "t", "y")]
