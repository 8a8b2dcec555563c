"""The history of users: what a worker would have seen before each prediction."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.examples import examples
from tests.trainer.builders import MINUTE_MS, NOW, START_MS, table
from trainer.console import Progress
from trainer.dataset.history import History, history_of
from trainer.dataset.holdout import cleaned, hold_out
from trainer.dataset.sessions import cut, to_arrays
from trainer.errors import TooFewClicks
from trainer.evaluation.replay import last_items
from worker.core.catalogue import Catalogue
from worker.core.ranking import NO_ITEM
from worker.core.recent import MAX_RECENT_ITEMS

ITEMS = ("a", "b", "c", "d")
KNOWN = Catalogue(ITEMS[:3])

clicks = st.lists(
    st.tuples(st.sampled_from("uvw"), st.sampled_from(ITEMS), st.sampled_from([1, 5, 40])), max_size=60
)


@given(clicks, st.integers(0, 400), st.sampled_from([0.0, 600.0]), st.integers(1, 9))
@examples(0.5)
def test_a_history_is_the_end_of_a_plain_list(
    rows: list[tuple[str, str, int]], split: int, gap_seconds: float, count: int
) -> None:
    """Of all clicks of the user: training clicks, sessions of one click and unknown items among them."""
    times = START_MS + np.cumsum([minutes for *_, minutes in rows]) * MINUTE_MS
    frame = table([(user, item, int(at)) for (user, item, _), at in zip(rows, times, strict=True)])
    silent = Progress()
    try:
        held = hold_out(
            cleaned(frame, silent, NOW),
            gap_seconds=gap_seconds,
            from_ms=START_MS + split * MINUTE_MS,
            progress=silent,
        )
    except TooFewClicks:
        return
    lists: dict[str, list[int]] = defaultdict(list)
    before: dict[tuple[str, int], list[int]] = {}
    for (user, item, _), at in zip(rows, times.tolist(), strict=True):
        before[user, at] = lists[user][::-1][:count]
        lists[user].append(int(KNOWN.indexes([item])[0]))
    scored = held.sessions(KNOWN).scored
    predicted = held.clicks.filter(scored)
    expected = [before[key] for key in predicted.select("user_id", "timestamp_ms").rows()]

    found = last_items(held.sessions(KNOWN), count)

    assert found.tolist() == [one + [NO_ITEM] * (count - len(one)) for one in expected]


def test_a_history_keeps_no_more_than_a_worker() -> None:
    """Of each user with a held-out click: as many clicks as a row keeps, and all that follow."""
    rows = [("long", "a", START_MS + at * MINUTE_MS) for at in range(3 * MAX_RECENT_ITEMS)]
    rows += [("other", "a", START_MS + at * MINUTE_MS) for at in range(50)]
    every = cut(table(rows), gap_seconds=0).with_row_index("place")
    late = every.filter(user_id="long")[-5:]

    found = history_of(every, [late, late.clear()])

    assert found["user_id"].unique().to_list() == ["long"]
    assert len(found) == MAX_RECENT_ITEMS + 5
    places = to_arrays(late, KNOWN, found).history
    assert places is not None
    assert places.places.tolist() == [*range(MAX_RECENT_ITEMS, MAX_RECENT_ITEMS + 5)]


@pytest.mark.parametrize("chosen", [slice(1, 3), np.array([False, True, True])], ids=["slice", "mask"])
def test_a_part_of_the_sessions_has_the_same_history(chosen: slice) -> None:
    """Only other places in it."""
    history = History(np.array([5, 6, 7], np.int32), np.array([0]), np.array([0, 1, 2]))

    assert history.of(chosen).before(np.array([0, 1]), 2).tolist() == [[5, NO_ITEM], [6, 5]]
