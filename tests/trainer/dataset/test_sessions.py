from __future__ import annotations

import numpy as np
import polars as pl

from tests.trainer.builders import table
from trainer.dataset.sessions import (
    Sessions,
    catalogue_of,
    cut,
    divide,
    drop_rare_items,
    drop_short,
    moment_before,
    to_arrays,
)
from worker.core.catalogue import Catalogue

SECOND_MS = 1000


def times(*seconds: int, user: str = "a") -> list[tuple[str, str, int]]:
    """Clicks of one user at these times."""
    return [(user, f"item-{second}", second * SECOND_MS) for second in seconds]


def test_a_pause_ends_a_session_and_an_equal_one_does_not() -> None:
    """A session goes on through a pause of exactly the gap."""
    sessions = cut(table(times(0, 10, 21)), gap_seconds=10)

    assert sessions["session"].to_list() == [0, 0, 1]


def test_users_never_share_a_session() -> None:
    """Clicks of two users at the same time are two sessions, each in order of arrival."""
    mixed = [row for pair in zip(times(0, 1), times(0, 1, user="b"), strict=True) for row in pair]

    sessions = cut(table(mixed), gap_seconds=10)

    assert sessions["session"].to_list() == [0, 0, 1, 1]
    assert sessions["user_id"].to_list() == ["a", "a", "b", "b"]


def test_a_late_click_belongs_where_it_arrives() -> None:
    """As in the worker: an older click opens no session, and pauses are measured from the latest time."""
    sessions = cut(table(times(100, 0, 105)), gap_seconds=10)

    assert sessions["session"].to_list() == [0, 0, 0]


def test_without_a_gap_a_user_is_one_session() -> None:
    """Gap 0 never ends a session."""
    sessions = cut(table(times(0, 10**6)), gap_seconds=0)

    assert sessions["session"].to_list() == [0, 0]


def test_whole_sessions_fall_to_the_side_where_they_begin() -> None:
    """A session that lasts beyond the moment is before it."""
    sessions = cut(table([*times(0, 20), *times(10, 20, user="b")]), gap_seconds=60)

    before, after = divide(sessions, 10 * SECOND_MS, endless=False)

    assert before["user_id"].to_list() == ["a", "a"]
    assert after["user_id"].to_list() == ["b", "b"]


def test_endless_sessions_are_cut_and_keep_their_past_as_context() -> None:
    """Nothing after the moment is trained on; nothing before it is scored."""
    sessions = cut(table([*times(0, 5, 20), *times(0, 5, user="b")]), gap_seconds=0)

    before, after = divide(sessions, 10 * SECOND_MS, endless=True)
    arrays = to_arrays(after, catalogue_of(sessions))

    assert before["timestamp_ms"].max() == 5 * SECOND_MS
    assert len(before) == 4
    assert arrays.lengths.tolist() == [3]
    assert arrays.scored.tolist() == [False, False, True]


def test_the_moment_leaves_the_fraction_behind_it() -> None:
    """A tenth of ten clicks is one; a fraction of 0 leaves none."""
    clicks = table(times(*range(10)))

    assert moment_before(clicks, 0.1) == 9 * SECOND_MS
    assert moment_before(clicks, 0) > 9 * SECOND_MS


def test_rare_items_and_then_short_sessions_are_dropped() -> None:
    """The counts say how many clicks and how many sessions went, and the text how many items."""
    rows = [("a", "x", 0), ("a", "x", 1), ("a", "rare", 2), ("b", "x", 0), ("b", "rare-too", 1)]
    sessions = cut(table(rows), gap_seconds=10)

    common, rare = drop_rare_items(sessions, 2)
    kept, short = drop_short(common)

    assert kept["item_id"].to_list() == ["x", "x"]
    assert str(rare) == "removed 2 of 5 clicks: on 2 rare items (fewer than 2 clicks)"
    assert str(short) == "removed 1 of 2 sessions: of one click"


def test_the_catalogue_begins_with_the_most_clicked() -> None:
    """So its first items are the popularity list; equals stand by id."""
    sessions = table([("u", item, 0) for item in ("c", "b", "a", "c")])

    catalogue = catalogue_of(sessions)

    assert catalogue.ids(np.arange(3)).tolist() == ["c", "a", "b"]


def test_arrays_hold_indexes_and_mark_unknown_items() -> None:
    """A session's first click is never scored; an item outside the catalogue is -1."""
    sessions = pl.DataFrame(
        {"item_id": ["x", "new", "y", "x"], "session": [4, 4, 9, 9], "timestamp_ms": [1, 2, 3, 4]}
    )

    arrays = to_arrays(sessions, Catalogue(["y", "x"]))

    assert arrays.items.tolist() == [1, -1, 0, 1]
    assert arrays.starts.tolist() == [0, 2, 4]
    assert arrays.scored.tolist() == [False, True, False, True]
    assert (len(arrays), arrays.predictions) == (2, 2)


def test_no_session_is_as_clicks_without_any() -> None:
    """`Sessions.empty` is what no clicks give, but for their times."""
    none = Sessions.empty()
    of_no_clicks = to_arrays(cut(table([]), gap_seconds=10), Catalogue(["x"]))

    assert (len(none), none.predictions) == (0, 0)
    np.testing.assert_array_equal(none.starts, of_no_clicks.starts)
