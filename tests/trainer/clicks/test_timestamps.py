from __future__ import annotations

from contextlib import suppress
from datetime import UTC, date, datetime, time

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.examples import examples
from tests.trainer.builders import START_MS, converted
from trainer.clicks.rules import Rules
from trainer.clicks.timestamps import TimeSettings, joined, times_ms
from trainer.errors import UnusableClicks
from worker.core import times
from worker.core.reasons import Undecodable
from worker.core.times import Unit


@pytest.mark.parametrize(
    ("values", "unit"),
    [
        ([1_600_000_000, 1_600_000_001], "unix seconds"),
        ([1_600_000_000.0, 1_600_000_001.0], "unix seconds"),
        (["1600000000", "1600000001"], "unix seconds"),
        ([1_600_000_000_000, 1_600_000_001_000], "unix milliseconds"),
        ([1_600_000_000_000_000, 1_600_000_001_000_000], "unix microseconds"),
        ([1_600_000_000_000_000_000, 1_600_000_001_000_000_000], "unix nanoseconds"),
        (["2020-09-13T12:26:40Z", "2020-09-13T14:26:41+02:00"], "dates and times"),
        (["2020-09-13 12:26:40", "2020-09-13T12:26:41.000"], "dates and times"),
    ],
    ids=str,
)
def test_the_unit_of_times_is_told_by_their_size(values: list[object], unit: str) -> None:
    """Seconds to nanoseconds, RFC 3339 and times without an offset (UTC) are one thing."""
    read = converted(pl.DataFrame({"user": ["a", "a"], "item": ["x", "y"], "time": values}))

    assert read.times == unit
    assert read.clicks["timestamp_ms"].to_list() == [START_MS, START_MS + 1000]


@pytest.mark.parametrize("values", [["soon", "later"], [None, None], [float("nan"), float("inf")]], ids=str)
def test_times_that_are_none_are_refused_with_an_example(values: list[object]) -> None:
    """Without any readable time there is no order to learn from."""
    frame = pl.DataFrame({"user_id": ["u", "u"], "item_id": ["i", "j"], "timestamp": values})

    with pytest.raises(
        UnusableClicks, match=r"column 'timestamp' can be read as a time .*2014-09-24T12:00:00Z"
    ):
        converted(frame)


def test_a_unit_and_a_zone_can_be_forced() -> None:
    """Numbers too small to tell are in the unit named; times without an offset in the zone named."""
    small = pl.DataFrame({"user": ["a"], "item": ["x"], "time": [5_000_000]})
    local = pl.DataFrame({"user": ["a"], "item": ["x"], "time": ["2020-09-13 14:26:40"]})
    berlin = Rules(times=TimeSettings(zone="Europe/Berlin"))

    forced = converted(small, rules=Rules(times=TimeSettings(unit="ms", earliest_ms=0)))
    zoned = converted(local, rules=berlin)
    moments = converted(local.with_columns(pl.col("time").str.to_datetime()), rules=berlin)

    assert forced.clicks["timestamp_ms"].to_list() == [5_000_000]
    assert zoned.clicks["timestamp_ms"].to_list() == [START_MS]
    assert moments.clicks["timestamp_ms"].to_list() == [START_MS]


def test_an_hour_that_summer_time_skips_is_no_time() -> None:
    """And of one that comes twice the first is meant."""
    times = ["2020-03-29 02:30:00", "2020-10-25 02:30:00"]
    frame = pl.DataFrame({"user": ["a", "a"], "item": ["x", "y"], "time": times})

    read = converted(frame, rules=Rules(times=TimeSettings(zone="Europe/Berlin")))

    assert read.clicks["timestamp_ms"].to_list() == [None, 1_603_585_800_000]


UNITS: tuple[Unit | None, ...] = (None, "s", "ms", "us", "ns")
NUMBERS = st.one_of(
    st.integers(-(10**21), 10**21),
    st.sampled_from([10**n + d for n in (9, 11, 14, 17, 20) for d in (-1, 0, 1)]),
)
MOMENTS = st.datetimes(datetime(1900, 1, 1), datetime(2100, 1, 1))  # noqa: DTZ001  # zones are settings
FORMS = (
    *(
        "%Y-%m-%dT%H:%M:%SZ",
        "%Y-%m-%d %H:%M:%S.%f+02:00",
        "%Y-%m-%dt%H:%M:%S.%f",
        "%Y/%m/%d %H:%M",
        "%Y-%m-%d",
    ),
    *("%Y%m%dT%H%M%SZ", "%Y-%m-%d %H:%M:%S UTC", "%Y-%m-%dT%H:%M:%S.%f123-05:30", " %Y-%m-%d %H:%M:%S+00 "),
)
TEXTS = st.one_of(
    NUMBERS.map(str),
    st.floats(0, 1e19).map(str),
    st.tuples(MOMENTS, st.sampled_from(FORMS)).map(lambda found: found[0].strftime(found[1])),
    st.sampled_from(
        ["", " ", "NULL", "soon", "2026-02-30 10:00:00", "2026-09-21T24:00:00", "2026-09-21T23:59:60Z"]
    ),
    st.text(max_size=12),
)
# A float has no four places just below 10^14, where another unit begins.
DECIMALS = st.decimals(0, 10**14 - 1, places=4, allow_nan=False)


def by_rule(value: object, settings: TimeSettings) -> int | None:
    """Return a time as the worker reads it; None for what it refuses, or finds before 1970."""
    found = settings.read(value)
    return found if found is not None and found >= 0 else None


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (TEXTS, pl.String()),
        (NUMBERS.filter(lambda one: abs(one) < 2**63), pl.Int64()),
        (NUMBERS, pl.Int128()),
        (st.one_of(st.floats(), st.floats(0, 1e19)), pl.Float64()),
        (DECIMALS, pl.Decimal(38, 4)),
        (MOMENTS, pl.Datetime("us")),
        (MOMENTS.map(lambda one: one.replace(tzinfo=UTC)), pl.Datetime("us", "UTC")),
        (MOMENTS.map(datetime.date), pl.Date()),
    ],
    ids=["text", "integers", "wide integers", "floats", "decimals", "local moments", "moments", "dates"],
)
@given(data=st.data(), zone=st.sampled_from(["UTC", "Europe/Berlin"]), unit=st.sampled_from(UNITS))
@examples(0.15)
def test_a_column_of_times_is_read_by_the_rule_of_the_worker(
    data: st.DataObject, values: st.SearchStrategy[object], kind: pl.DataType, zone: str, unit: Unit | None
) -> None:
    """Every value that a column can have, in every unit and with a zone that has summer time."""
    chosen = TimeSettings(unit=unit, zone=zone)
    column = pl.Series("time", data.draw(st.lists(st.none() | values, min_size=1, max_size=30)), kind)

    read = column.to_frame().select(times_ms(pl.col("time"), kind, chosen)).to_series()

    assert [one if one is None or one >= 0 else None for one in read] == [
        by_rule(value, chosen) for value in column
    ]


@given(
    day=st.none() | MOMENTS.map(datetime.date), clock=st.none() | MOMENTS.map(datetime.time), data=st.data()
)
@examples(0.15)
def test_a_date_and_a_time_of_day_are_joined_as_the_worker_does(
    day: date | None, clock: time | None, data: st.DataObject
) -> None:
    """As values of their own kinds, as text, and as integers such as 20260921 and 90500."""
    forms: dict[str, tuple[object, object]] = {"own": (day, clock)}
    forms["text"] = (day and f" {day} ", clock and str(clock))
    forms["integer"] = (day and int(f"{day:%Y%m%d}"), clock and int(f"{clock:%H%M%S}"))
    left, right = data.draw(st.sampled_from([*forms.values()]))
    kinds = {date: pl.Date(), time: pl.Time(), str: pl.String(), int: pl.Int64(), type(None): pl.String()}
    frame = pl.DataFrame(
        {
            "day": pl.Series([left], dtype=kinds[type(left)]),
            "clock": pl.Series([right], dtype=kinds[type(right)]),
        }
    )
    text = frame.select(
        joined(pl.col("day"), frame.schema["day"], pl.col("clock"), frame.schema["clock"])
    ).item()

    settings_ = TimeSettings()
    expected = None
    with suppress(Undecodable):
        expected = settings_.read(times.joined(left, right))
    assert settings_.read(text) == expected
