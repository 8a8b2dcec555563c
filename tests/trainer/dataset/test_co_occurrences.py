from __future__ import annotations

from collections import defaultdict
from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.dataset import co_occurrences as module
from trainer.dataset.co_occurrences import co_occurrences
from trainer.dataset.decayed_counts import REACH, Past
from trainer.dataset.sessions import Sessions
from worker.core.ranking import NO_ITEM

ITEMS = 5

Click = tuple[int, int]
"""An item and a time."""

sessions = st.lists(
    st.lists(st.tuples(st.integers(NO_ITEM, ITEMS - 1), st.integers(0, 9)), min_size=1, max_size=25),
    max_size=5,
)


def past_of(sessions: list[list[Click]]) -> Past:
    """The clicks of these sessions."""
    clicks = np.array([click for session in sessions for click in session], np.int64).reshape(-1, 2)
    starts = np.cumsum([0, *map(len, sessions)])
    items, times_ms = clicks[:, 0].astype(np.int32), clicks[:, 1]
    return Past.of(Sessions(items, starts, np.ones(len(items), np.bool_), times_ms))


def counted(sessions: list[list[Click]], now: int) -> dict[tuple[int, int], float]:
    """By the definition: every two clicks of a session, in both directions."""
    counts = defaultdict[tuple[int, int], float](float)
    for session in sessions:
        for (one, (item, time)), (two, (other, later)) in product(enumerate(session), repeat=2):
            known = NO_ITEM not in {item, other} and max(time, later) < now
            if known and item != other and abs(one - two) <= REACH:
                counts[item, other] += 1 / abs(one - two)
    return counts


@pytest.mark.parametrize("at_once", [1, 1 << 17])
@given(sessions=sessions, now=st.integers(0, 10), entries=st.integers(0, ITEMS))
def test_a_count_is_the_direct_sum(sessions: list[list[Click]], now: int, entries: int, at_once: int) -> None:
    """Over every two clicks before the moment, one by one; the highest are kept, of equal ones the lower."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_CLICKS_AT_ONCE", at_once)
        found = co_occurrences(past_of(sessions), now, items=ITEMS, entries=entries)

    counts = counted(sessions, now)
    for item in range(ITEMS):
        kept = found.items[item][found.items[item] != NO_ITEM].tolist()
        direct = [counts[item, other] for other in kept]
        assert found.counts[item, : len(kept), 0].tolist() == pytest.approx(direct, rel=1e-5)
        assert not found.counts[item, len(kept) :].any()
        assert len(kept) == min(entries, sum(one == item for one, _ in counts if counts[one, _]))
        for (first, high), (second, low) in pairwise(zip(kept, direct, strict=True)):
            assert high > low - 1e-9
            assert first < second or high > low
        left = [count for (one, other), count in counts.items() if one == item and other not in kept]
        assert max(left, default=0.0) <= min(direct, default=np.inf) + 1e-9 or not entries


def test_clicks_after_the_moment_change_nothing_and_do_not_bring_others_nearer() -> None:
    """What is left of a session keeps its distances."""
    found = co_occurrences(past_of([[(0, 0), (1, 9), (2, 1)]]), 5, items=3, entries=1)

    assert found.items.tolist() == [[2], [NO_ITEM], [0]]
    assert found.counts[:, 0, 0].tolist() == [0.5, 0, 0.5]


def test_the_strongest_are_kept_the_lower_index_first_among_equals() -> None:
    """Clicks on the same item are no pair."""
    found = co_occurrences(
        past_of([[(0, 0), (3, 0)], [(1, 0), (0, 0), (2, 0), (2, 0)]]), 1, items=4, entries=2
    )

    assert found.items[0].tolist() == [2, 1]
    assert found.counts[0, :, 0].tolist() == [1.5, 1.0]
    assert found.items[3].tolist() == [0, NO_ITEM]
