from __future__ import annotations

import polars as pl

from tests.benchmarks.prequential import hours_of
from tests.quality.news import BEGIN_MS
from trainer.clicks.timestamps import HOUR_MS


def test_an_hour_has_its_own_clicks_alone() -> None:
    """In the order of time; of a session that goes on, the part that was clicked by then."""
    minutes = [0, 59, 60, 61, 190, 250]
    clicks = pl.DataFrame(
        {
            "session_id": [5, 5, 5, 7, 7, 9],
            "item_id": ["a", "b", "c", "d", "e", "f"],
            "timestamp_ms": [BEGIN_MS + minute * 60_000 for minute in minutes],
        }
    )
    hours = list(hours_of(clicks, hours=4))

    assert [hour.clicks["item_id"].to_list() for hour in hours] == [["a", "b"], ["c", "d"], ["e"]]
    assert [hour.end_ms for hour in hours] == [BEGIN_MS + number * HOUR_MS for number in (1, 2, 4)]
