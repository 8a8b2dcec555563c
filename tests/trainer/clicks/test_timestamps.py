from __future__ import annotations

import polars as pl
import pytest

from tests.trainer.builders import START_MS, converted
from trainer.clicks.columns import Columns
from trainer.errors import UnusableClicks


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
    seconds = pl.DataFrame({"user": ["a"], "item": ["x"], "time": [5_000_000]})
    local = pl.DataFrame({"user": ["a"], "item": ["x"], "time": ["2020-09-13 14:26:40"]})

    forced = converted(seconds, Columns(time_unit="ms"))
    zoned = converted(local, Columns(time_zone="Europe/Berlin"))
    moments = converted(
        local.with_columns(pl.col("time").str.to_datetime()), Columns(time_zone="Europe/Berlin")
    )

    assert forced.clicks["timestamp_ms"].to_list() == [5_000_000]
    assert zoned.clicks["timestamp_ms"].to_list() == [START_MS]
    assert moments.clicks["timestamp_ms"].to_list() == [START_MS]


def test_an_hour_that_summer_time_skips_is_no_time() -> None:
    """And of one that comes twice the first is meant."""
    times = ["2020-03-29 02:30:00", "2020-10-25 02:30:00"]
    frame = pl.DataFrame({"user": ["a", "a"], "item": ["x", "y"], "time": times})

    read = converted(frame, Columns(time_zone="Europe/Berlin"))

    assert read.clicks["timestamp_ms"].to_list() == [None, 1_603_585_800_000]
