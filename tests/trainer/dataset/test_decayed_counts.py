from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.trainer.builders import sessions_of
from trainer.clicks.timestamps import HOUR_MS
from trainer.dataset.decayed_counts import REACH, Past, popularity, transitions
from worker.core.ranking import NO_ITEM

ITEMS = 5
HALF_LIVES = (0.5, 6.0, math.inf)

clicks = st.lists(
    st.tuples(st.integers(-1, ITEMS - 1), st.integers(-1, ITEMS - 1), st.integers(0, 40 * HOUR_MS)),
    max_size=30,
)
moments = st.integers(0, 41 * HOUR_MS)


def past_of(rows: list[tuple[int, int, int]]) -> Past:
    """Clicks given as previous item, item, time."""
    previous, items, times = np.array(rows, np.int64).reshape(-1, 3).T
    return Past(items.astype(np.int32), previous.astype(np.int32), times, np.arange(len(rows)))


def faded(age_ms: int, half_life: float) -> float:
    """What a click counts, by the definition."""
    return float(0.5 ** (age_ms / HOUR_MS / half_life))


@given(clicks, moments)
def test_a_decayed_count_is_the_direct_sum(rows: list[tuple[int, int, int]], now: int) -> None:
    """Over the clicks before the moment, one by one; of pairs as of items."""
    past = past_of(rows)
    counts = popularity(past, now, HALF_LIVES, items=ITEMS)
    following = transitions(past, now, HALF_LIVES, items=ITEMS, entries=ITEMS)

    for place, half_life in enumerate(HALF_LIVES):
        for item in range(ITEMS):
            asked = [faded(now - time, half_life) for _, one, time in rows if one == item and time < now]
            assert counts[item, place] == pytest.approx(sum(asked), rel=1e-5)
            after = dict.fromkeys(range(ITEMS), 0.0)
            after |= dict(zip(following.items[item].tolist(), following.counts[item, :, place], strict=True))
            for second in range(ITEMS):
                pairs = [t for before, one, t in rows if (before, one) == (item, second) and t < now]
                direct = sum(faded(now - time, half_life) for time in pairs)
                assert after[second] == pytest.approx(direct, rel=1e-5)


@given(clicks, clicks, moments)
def test_only_clicks_before_the_moment_count(
    rows: list[tuple[int, int, int]], more: list[tuple[int, int, int]], now: int
) -> None:
    """Whatever is clicked at or after it changes nothing."""
    later = [(previous, item, now + time) for previous, item, time in more]

    for ask in (
        lambda past: popularity(past, now, HALF_LIVES, items=ITEMS),
        lambda past: transitions(past, now, HALF_LIVES, items=ITEMS, entries=3).items,
        lambda past: transitions(past, now, HALF_LIVES, items=ITEMS, entries=3).counts,
    ):
        np.testing.assert_array_equal(ask(past_of(rows)), ask(past_of(rows + later)))


def test_the_most_frequent_transitions_are_kept_the_lower_index_first_among_equals() -> None:
    """Rows that have fewer end with no item."""
    rows = [(0, 3, 0), (0, 1, 0), (0, 2, 0), (0, 2, 0), (1, 4, 0)]

    found = transitions(past_of(rows), 1, (math.inf,), items=ITEMS, entries=2)

    assert found.items.tolist() == [[2, 1], [4, NO_ITEM], *[[NO_ITEM] * 2] * 3]
    assert found.counts[:2, :, 0].tolist() == [[2, 1], [1, 0]]


def test_a_session_has_nothing_before_its_first_click() -> None:
    """The last click of another session is not what was clicked before."""
    past = Past.of(replace(sessions_of([0, 1, NO_ITEM], [2, 3]), times_ms=np.arange(5)))

    assert past.previous.tolist() == [NO_ITEM, 0, 1, NO_ITEM, 2]


def test_the_places_of_two_sessions_are_too_far_apart_to_co_occur() -> None:
    """Also after clicks were added or selected; those of a session keep their distances."""
    one = Past.of(replace(sessions_of([0, 1, 2], [2, 3]), times_ms=np.arange(5)))
    both = one.and_then(one)

    assert np.diff(both.places).tolist() == [1, 1, REACH + 1, 1, REACH + 1, 1, 1, REACH + 1, 1]
    assert both.between(2, 4).places.tolist() == both.places[[2, 3, 7, 8]].tolist()
