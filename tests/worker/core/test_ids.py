"""One rule for ids: what is the same id, and what is none."""

from __future__ import annotations

from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.examples import examples
from worker.core.ids import BLANKS, MAX_ID_BYTES, MISSING, IdRule, canonical, text_of
from worker.core.reasons import Inexact, Reason, Undecodable

UPPER = "123E4567-E89B-42D3-A456-426614174000"


def refused(found: Any, rule: IdRule | None = None) -> Reason:
    """Return the reason for which the rule refuses a value."""
    with pytest.raises(Undecodable) as raised:
        (rule or IdRule()).read(found, exact=True)
    return raised.value.reason


@pytest.mark.parametrize(
    ("found", "user_id"),
    [
        ("lamp", "lamp"),
        ("Lamp 1", "Lamp 1"),
        (" lamp\t", "lamp"),
        ("\N{ZERO WIDTH NO-BREAK SPACE}lamp\N{NO-BREAK SPACE}", "lamp"),
        ("\N{ZERO WIDTH SPACE}Stühle\N{IDEOGRAPHIC SPACE}", "Stühle"),
        (7, "7"),
        (-7, "-7"),
        (10**255, str(10**255)),
        (12.0, "12"),
        (-0.0, "0"),
        (2.0**60, "1152921504606847000"),
        (Decimal("5.0000000000"), "5"),
        (Decimal("5E+3"), "5000"),
        (Decimal(10**200), str(10**200)),
        ("12.0", "12"),
        ("-12.00", "-12"),
        ("-0.0", "0"),
        (" 5.0000000000 ", "5"),
        ("007", "007"),
        ("007.0", "007.0"),
        ("0.0", "0"),
        ("12.", "12."),
        ("12.50", "12.50"),
        ("1E5", "1E5"),
        ("1.2.0", "1.2.0"),
        (".0", ".0"),
        (UPPER, UPPER.lower()),
        (f" {UPPER} ", UPPER.lower()),
        (UPPER.replace("-", ""), UPPER.replace("-", "")),
        (UUID(UPPER), UPPER.lower()),
        (UUID(UPPER).bytes, UPPER.lower()),
        (UUID(int=10**30).bytes, str(UUID(int=10**30))),
        (b"user-00000000007", "user-00000000007"),
        (" Stühle".encode(), "Stühle"),
    ],
    ids=lambda one: repr(one)[:40],
)
def test_what_is_the_same_id_is_written_in_one_way(found: Any, user_id: str) -> None:
    """Blanks, numbers in their forms, UUIDs; leading zeros and codes stay."""
    assert IdRule().read(found, exact=True) == user_id


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (None, Reason.MISSING_FIELD),
        ("", Reason.EMPTY_ID),
        (BLANKS, Reason.EMPTY_ID),
        *((text, Reason.EMPTY_ID) for text in MISSING),
        (" NULL ", Reason.EMPTY_ID),
        (b"NULL", Reason.EMPTY_ID),
        (True, Reason.WRONG_TYPE),
        (1.5, Reason.WRONG_TYPE),
        (Decimal("1.5"), Reason.WRONG_TYPE),
        (Decimal("1E-999999"), Reason.WRONG_TYPE),
        ({}, Reason.WRONG_TYPE),
        (["a"], Reason.WRONG_TYPE),
        (b"\xff", Reason.WRONG_TYPE),
        (float("nan"), Reason.NOT_FINITE),
        (Decimal("Infinity"), Reason.NOT_FINITE),
        ("x" * (MAX_ID_BYTES + 1), Reason.LONG_ID),
        ("ü" * (MAX_ID_BYTES // 2 + 1), Reason.LONG_ID),
        (10**MAX_ID_BYTES, Reason.LONG_ID),
        (1e300, Reason.LONG_ID),
        (Decimal("1E+999999"), Reason.LONG_ID),
    ],
    ids=repr,
)
def test_what_is_no_id_has_its_reason(found: Any, reason: Reason) -> None:
    """Missing by any name, of another type, a fraction, too long."""
    assert refused(found) == reason


def test_what_is_missing_can_be_changed() -> None:
    """Empty text always is; what is not named is an id like others."""
    rule = IdRule(["-"])

    assert rule.read("NULL") == "NULL"
    assert [refused(one, rule) for one in ("-", " - ", "")] == [Reason.EMPTY_ID] * 3


def test_a_float_that_may_have_lost_digits_is_not_taken() -> None:
    """From 2^53 on one float stands for several integers, unless it is known that it was always one."""
    with pytest.raises(Inexact):
        IdRule().read(2.0**53)

    assert IdRule().read(2.0**53 - 1) == str(2**53 - 1)


def test_ids_with_blanks_are_counted() -> None:
    """Only those: another way of writing is no blank."""
    rule = IdRule()
    for one in ("lamp", " lamp", "lamp\N{NO-BREAK SPACE}", "12.0", UPPER, 7, "a b"):
        rule.read(one)

    assert rule.trimmed == 2


@given(st.text(max_size=40) | st.integers() | st.floats(allow_nan=False, allow_infinity=False))
@examples(2)
def test_an_id_is_its_own_id(found: object) -> None:
    """The rule applied to its own result changes nothing, so a file and a topic that saved it agree."""
    try:
        once = IdRule().read(found, exact=True)
    except Undecodable:
        return

    assert IdRule().read(once) == once
    assert canonical(once) == text_of(once) == once
