from __future__ import annotations

from tests.trainer.builders import MINUTE_MS, START_MS, table
from trainer.clicks.cleaning import Removal, clean, drop_bots, drop_repeats, report


def test_cleaning_counts_what_it_removes() -> None:
    """Each step removes its own kind, first things first, and tells how many are left."""
    long_id, year = "x" * 257, 365 * 86_400_000
    good = [("a", "x", START_MS), ("a", "y", START_MS), ("b", "x", START_MS)]
    bad = [
        *[(None, "x", START_MS), ("a", None, START_MS), ("", "x", START_MS)],
        *[("a", long_id, START_MS), ("é" * 129, "x", START_MS)],
        *[("a", "x", None), ("a", "x", -1), ("a", "x", START_MS + year)],
        good[0],
    ]

    clicks, removals = clean(table([*good, *bad]), now_ms=START_MS + 1)

    assert clicks.rows() == good
    assert [(removal.removed, removal.left) for removal in removals] == [(3, 9), (2, 7), (3, 4), (1, 3)]
    assert str(removals[3]) == "removed 1 of 4 clicks: exact duplicates (same user, item and time)"


def test_steps_that_removed_nothing_are_not_reported() -> None:
    """The others are, in their order."""
    lines = list[str]()
    report([Removal(0, 9, "clicks", "late"), Removal(2, 7, "clicks", "early")], lines.append)

    assert lines == ["removed 2 of 9 clicks: early"]


def test_repeats_within_the_time_are_dropped() -> None:
    """Of the same user and item only, also with others in between, and up to the time itself."""
    rows = [("a", "x", 0), ("a", "y", 1000), ("a", "x", 5000), ("b", "x", 5000), ("a", "x", 10_001)]

    kept, repeats = drop_repeats(table(rows), 5)

    assert kept.rows() == [rows[0], rows[1], rows[3], rows[4]]
    assert (
        str(repeats) == "removed 1 of 5 clicks: repeats: the same user clicked the same item again within 5 s"
    )
    assert drop_repeats(table(rows), 0)[0].rows() == rows


def test_who_clicks_faster_than_people_do_is_dropped_as_a_whole() -> None:
    """Three clicks in one hour are too many where two are allowed; in two hours they are not."""
    fast = [("bot", "x", minute * MINUTE_MS) for minute in (0, 1, 2, 999)]
    slow = [("a", "x", minute * MINUTE_MS) for minute in (0, 1, 61, 62)]

    hourly, bots = drop_bots(table([*fast, *slow]), per_hour=2, per_day=0)
    daily, _ = drop_bots(table([*fast, *slow]), per_hour=0, per_day=3)

    assert hourly.rows() == slow
    assert str(bots) == "removed 4 of 8 clicks: users with more than 2 clicks in an hour (users: 1)"
    assert daily.is_empty()
    assert len(drop_bots(table(fast), per_hour=0, per_day=0)[0]) == len(fast)
