"""One rule for times: what is the same moment, and what is none."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.core.reasons import Reason, Undecodable
from worker.core.times import (
    BELOW,
    DATES,
    EARLIEST_MS,
    MAX_TIMESTAMP_MS,
    NAMES,
    NO_TIME,
    UNAMBIGUOUS_FROM_MS,
    TimeRule,
    Unit,
    joined,
    to_ms,
    unit_of,
)

MOMENT_MS = 1_790_000_000_123
"""2026-09-21T14:13:20.123Z"""
BERLIN = ZoneInfo("Europe/Berlin")


def refused(found: Any, rule: TimeRule | None = None) -> Reason:
    """Return the reason for which the rule refuses a value."""
    with pytest.raises(Undecodable) as raised:
        (rule or TimeRule()).read(found, -1)
    return raised.value.reason


@pytest.mark.parametrize(
    "found",
    [
        MOMENT_MS,
        MOMENT_MS / 1000,
        MOMENT_MS * 1000 + 999,
        MOMENT_MS * 1_000_000 + 999_999,
        Decimal(MOMENT_MS) / 1000,
        str(MOMENT_MS),
        f" {MOMENT_MS} ",
        f"{MOMENT_MS}000",
        "1790000000.123",
        "1.790000000123E12",
        "+1790000000123",
        "2026-09-21T14:13:20.123Z",
        "2026-09-21t14:13:20.123z",
        "2026-09-21 14:13:20.123",
        "2026-09-21  14:13:20.123",
        "2026-09-21 14:13:20.123 UTC",
        "2026-09-21 14:13:20.123UTC",
        "2026-09-21 14:13:20.123 GMT",
        "2026-09-21 14:13:20.123+00",
        "2026-09-21 14:13:20.123+0000",
        "2026-09-21 14:13:20.123 +00:00",
        "2026-09-21 14:13:20.123 +0000 UTC",
        "2026-09-21T16:13:20,123+02:00",
        "2026-09-21 16:13:20.123 +0200",
        "2026/09/21 14:13:20.123",
        "2026/9/21 14:13:20.123",
        "2026.09.21 14:13:20.123",
        "2026-09-21T14:13:20.123999999Z",
        "2026-09-21T14:13:20.12399999999999Z",
        "20260921T141320.123Z",
        msgpack.Timestamp(1_790_000_000, 123_999_999),
        datetime(2026, 9, 21, 14, 13, 20, 123_456, UTC),
        datetime(2026, 9, 21, 16, 13, 20, 123_456, timezone(timedelta(hours=2))),
        datetime(2026, 9, 21, 14, 13, 20, 123_456),  # noqa: DTZ001  # such a one is meant
    ],
    ids=repr,
)
def test_one_moment_in_many_ways_is_one_time(found: Any) -> None:
    """Numbers in four units, also as text; RFC 3339 and what is like it; the types that formats have."""
    assert TimeRule().read(found, -1) == MOMENT_MS


@pytest.mark.parametrize(
    ("found", "moment"),
    [
        ("2026-09-21", "2026-09-21T00:00:00Z"),
        ("2026/9/1", "2026-09-01T00:00:00Z"),
        (date(2026, 9, 21), "2026-09-21T00:00:00Z"),
        ("2026-09-21 14:13", "2026-09-21T14:13:00Z"),
        ("2026-09-21 9:13", "2026-09-21T09:13:00Z"),
    ],
)
def test_what_is_left_out_is_zero(found: Any, moment: str) -> None:
    """A date alone is midnight."""
    assert TimeRule().read(found, -1) == TimeRule().read(moment, -1)


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        ("yesterday", Reason.BAD_TIMESTAMP),
        ("21.09.2026 14:13", Reason.BAD_TIMESTAMP),
        ("09/21/2026", Reason.BAD_TIMESTAMP),
        ("2026-02-30", Reason.BAD_TIMESTAMP),
        ("2026/02/30 10:00", Reason.BAD_TIMESTAMP),
        ("2026-09-21 25:00:00 UTC", Reason.BAD_TIMESTAMP),
        ("2026-09-21 10:00 +99:00", Reason.BAD_TIMESTAMP),
        ("1e999", Reason.NOT_FINITE),
        (10**20, Reason.BAD_TIMESTAMP),
        (-(10**20), Reason.BAD_TIMESTAMP),
        ("9" * 5_000, Reason.NOT_FINITE),
        ("9" * 41, Reason.BAD_TIMESTAMP),
        (Decimal("NaN"), Reason.NOT_FINITE),
        (float("inf"), Reason.NOT_FINITE),
        (0, Reason.TOO_EARLY),
        (86_400, Reason.TOO_EARLY),
        ("20260921", Reason.TOO_EARLY),
        ("1999-12-31T23:59:59.999Z", Reason.TOO_EARLY),
        (EARLIEST_MS - 1, Reason.TOO_EARLY),
        (True, Reason.WRONG_TYPE),
        ([MOMENT_MS], Reason.WRONG_TYPE),
        (None, Reason.MISSING_FIELD),
        ("", Reason.MISSING_FIELD),
        ("NULL", Reason.MISSING_FIELD),
    ],
    ids=lambda one: repr(one)[:30],
)
def test_what_is_no_time_has_its_reason(found: Any, reason: Reason) -> None:
    """Unreadable, implausible, of another type, missing by any name."""
    assert refused(found) == reason


def test_a_click_must_not_be_far_ahead_of_its_record() -> None:
    """By an hour at most; a record without a time bounds nothing."""
    rule = TimeRule()

    assert rule.read(MOMENT_MS + 3_600_000, MOMENT_MS) == MOMENT_MS + 3_600_000
    with pytest.raises(Undecodable, match="future_timestamp"):
        rule.read(MOMENT_MS + 3_600_001, MOMENT_MS)


def test_times_without_an_offset_are_of_the_zone() -> None:
    """An hour that repeats is the first, one that is skipped is no time; an offset of its own counts."""
    rule = TimeRule(zone=BERLIN)

    assert rule.read("2026-09-21 16:13:20.123", -1) == MOMENT_MS
    assert rule.read("2026-09-21T14:13:20.123Z", -1) == MOMENT_MS
    assert rule.read("2026-10-25 02:30", -1) == rule.read("2026-10-25T00:30Z", -1)
    assert rule.read("2026-09-21", -1) == rule.read("2026-09-20T22:00Z", -1)
    assert refused("2026-03-29 02:30", rule) == Reason.BAD_TIMESTAMP
    assert refused("0001-01-01", rule) == Reason.BAD_TIMESTAMP


@pytest.mark.parametrize(
    ("unit", "number", "found"),
    [("s", 5, 5_000), ("ms", 5, 5), ("us", 5_999, 5), ("ns", 5_999_999, 5), ("s", 1.5, 1_500)],
)
def test_a_unit_that_is_named_holds_for_all(unit: Unit, number: float, found: int) -> None:
    """Then clicks may be as old as one likes."""
    rule = TimeRule(unit=unit, earliest_ms=0)

    assert rule.read(number, -1) == found
    assert rule.take_kinds() == {NAMES[unit]: (1, number)}


def test_without_a_unit_numbers_must_be_clear() -> None:
    """Times before March 1973 could be in two units: whoever has them must say which."""
    with pytest.raises(ValueError, match=r"earliest is 1970-01-01, .*: set timestamp_unit"):
        TimeRule(earliest_ms=0)

    assert TimeRule(earliest_ms=UNAMBIGUOUS_FROM_MS).read("1973-03-04", -1) > UNAMBIGUOUS_FROM_MS


@given(st.integers(UNAMBIGUOUS_FROM_MS, BELOW["ms"] - 1), st.sampled_from(list(BELOW)))
def test_every_plausible_time_is_read_in_its_own_unit(time_ms: int, unit: Unit) -> None:
    """From 1973 to 5138 no number is a time in two units."""
    per_ms = {"ms": 1, "us": 1_000, "ns": 1_000_000}
    number = time_ms // 1_000 if unit == "s" else time_ms * per_ms[unit]

    assert unit_of(number) == unit
    assert to_ms(number, unit) == (time_ms // 1_000 * 1_000 if unit == "s" else time_ms)


@given(st.integers(EARLIEST_MS, 4_102_444_800_000))
def test_milliseconds_survive_a_float_of_seconds(time_ms: int) -> None:
    """Many a producer divides by a thousand."""
    assert TimeRule().read(time_ms / 1000, -1) == time_ms
    assert TimeRule().read(str(time_ms / 1000), -1) == time_ms


@pytest.mark.parametrize(
    ("day", "clock", "text"),
    [
        ("2026-09-21", "14:13:20.123", "2026-09-21 14:13:20.123"),
        (" 2026/09/21", "14:13 ", "2026/09/21 14:13"),
        ("2026-09-21 00:00:00.000", "14:13", "2026-09-21 14:13"),
        (20260921, 91320, "20260921 091320"),
        (date(2026, 9, 21), time(14, 13), "2026-09-21 14:13:00"),
        (None, None, None),
    ],
)
def test_a_date_and_a_time_of_day_are_one_time(day: Any, clock: Any, text: str | None) -> None:
    """As text, as compact numbers, as the types that formats have; both absent: none."""
    assert joined(day, clock) == text
    if text is not None:
        TimeRule().read(text, -1)


@pytest.mark.parametrize(
    ("day", "clock", "reason"),
    [
        ("2026-09-21", None, Reason.MISSING_FIELD),
        (None, "14:13", Reason.MISSING_FIELD),
        (True, "14:13", Reason.WRONG_TYPE),
        ("2026-09-21", 9.5, Reason.WRONG_TYPE),
    ],
)
def test_half_a_time_is_none(day: Any, clock: Any, reason: Reason) -> None:
    """Nor is one of another type."""
    with pytest.raises(Undecodable, match=reason.value):
        joined(day, clock)


def test_no_time_is_after_the_year_9999() -> None:
    """Its last millisecond is one."""
    rule = TimeRule(unit="ms")

    assert rule.read(MAX_TIMESTAMP_MS, -1) == MAX_TIMESTAMP_MS
    assert refused(MAX_TIMESTAMP_MS + 1, rule) == Reason.BAD_TIMESTAMP


@pytest.mark.parametrize(
    ("found", "kind"),
    [
        (MOMENT_MS // 1000, "seconds"),
        (f"{MOMENT_MS}", "milliseconds"),
        (f"{MOMENT_MS}000", "microseconds"),
        (MOMENT_MS * 1e6, "nanoseconds"),
        ("2026-09-21", DATES),
        (datetime(2026, 9, 21, tzinfo=UTC), DATES),
        (None, NO_TIME),
        ("NULL", NO_TIME),
    ],
)
def test_valid_times_are_counted_by_kind(found: Any, kind: str) -> None:
    """With the last one as the example; until they are taken. Integers in milliseconds are left out."""
    rule = TimeRule()
    for one in (found, MOMENT_MS, found):
        rule.read(one, MOMENT_MS)
    refused(1, rule)

    assert rule.take_kinds() == {kind: (2, found)}
    assert rule.take_kinds() == {}
