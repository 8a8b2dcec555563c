"""Clauses: which events count."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.core.reasons import Inexact
from worker.core.where import parse_where


def holds(text: str, found: Any) -> bool:
    """Return whether the one clause in `text` holds for a value of its field."""
    (clause,) = parse_where(text)
    return clause.holds(found)


@pytest.mark.parametrize(
    ("text", "clauses"),
    [
        ("", []),
        (" ; ;", []),
        ("type = view", [("type", True, {"view"})]),
        ("type=view,cart;", [("type", True, {"view", "cart"})]),
        ("type = page view , cart", [("type", True, {"page view", "cart"})]),
        ("a.b != X; c = 1", [("a.b", False, {"X"}), ("c", True, {"1"})]),
        ('type = "a, b", \'c; "d"\'', [("type", True, {"a, b", 'c; "d"'})]),
        ("'a=b' = 7.0", [("a=b", True, {"7"})]),
        ('note = ""', [("note", True, {""})]),
        ("note = hey!", [("note", True, {"hey!"})]),
        ("@header.type = view", [("@header.type", True, {"view"})]),
        ("@envelope.op != c", [("@envelope.op", False, {"c"})]),
    ],
)
def test_clauses_are_read(text: str, clauses: list[tuple[str, bool, set[str]]]) -> None:
    """Paths, signs, values in the form of ids; quotes where a value has a sign."""
    assert [(one.path.text, one.equal, set(one.values)) for one in parse_where(text)] == clauses


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("type", "character 5: 'type' must be followed by = or !="),
        ("type == view", "character 7: a value is missing before '='"),
        ("type = ", "character 7: a value is missing after '='"),
        ("type = view,", "character 13: a value is missing after ','"),
        ("type = , view", "character 8: a value is missing before ','"),
        ("type = view = cart", "character 13: a comma is missing before '='"),
        ('type = "view', "character 8: '\"view' is not a path, an operator or a value"),
        ("type = 'a' 'b'", "character 12: a comma is missing before"),
        ("= view", "character 1: a path is missing before '='"),
        ("a = 1; != 2", "character 8: a path is missing before '!='"),
        ("type ! view", "character 12: 'type ! view' must be followed by = or !="),
        ("@bad = 1", "'@bad' starts with @"),
    ],
)
def test_a_mistake_is_named_with_its_place(text: str, problem: str) -> None:
    """Counted from 1."""
    with pytest.raises(ValueError, match=problem):
        parse_where(text)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("n = 7", 7),
        ("n = 7", 7.0),
        ("n = 7", " 7 "),
        ("n = 7.00", Decimal("7.0")),
        ("n = 007", "007"),
        ("n = true", True),
        ("n = false, 0", False),
        ("country = NA", "NA"),
        ("n != 7", 8),
        ("n != 7", None),
        ("n != 7", [7]),
        ("n != 7", {}),
        ("n != true", "yes"),
    ],
    ids=repr,
)
def test_values_are_compared_as_ids_are_written(text: str, found: Any) -> None:
    """Numbers, text, flags; an absent field is none of the values."""
    assert holds(text, found)


@pytest.mark.parametrize(
    ("text", "found"),
    [("n = 7", 8), ("n = 7", None), ("n = 7", [7]), ("n = 7", "007"), ("n = 1", True), ("n != 7, 8", 8)],
    ids=repr,
)
def test_what_is_another_value_does_not_count(text: str, found: Any) -> None:
    """Nor what is absent, a list, or a flag where a number is asked for."""
    assert not holds(text, found)


def test_a_number_that_lost_digits_is_not_compared() -> None:
    """It is read again exactly; then it is, by the digits that JSON has."""
    (clause,) = parse_where("n = 18446744073709552000")

    with pytest.raises(Inexact):
        clause.holds(2.0**64)

    assert clause.holds(2.0**64, exact=True)


@given(st.text("ab=,;!\"' .", max_size=12))
def test_any_text_is_clauses_or_a_mistake(text: str) -> None:
    """Nothing else is raised."""
    try:
        clauses = parse_where(text)
    except ValueError:
        return

    assert all(clause.values for clause in clauses)
