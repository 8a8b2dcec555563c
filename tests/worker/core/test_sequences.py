"""The columns of a batch, compared with one click after the other."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from worker.core import sequences
from worker.core.batch import UserOrder
from worker.core.ranking import NO_ITEM
from worker.core.states import States

USERS = 3
LAGS = np.arange(4)

moments = st.lists(st.tuples(st.integers(0, USERS - 1), st.integers(0, 99)), min_size=1, max_size=12)
befores = st.lists(st.integers(0, 99), min_size=USERS, max_size=USERS)


@given(moments, befores)
def test_a_click_is_idle_since_the_latest_click_of_its_user(
    clicks: list[tuple[int, int]], before: list[int]
) -> None:
    """A click that is older than its predecessor is not idle, and moves no time back."""
    order, latest, expected = UserOrder(np.array([user for user, _ in clicks])), list(before), list[int]()
    for user, time in clicks:
        expected.append(max(0, time - latest[user]))
        latest[user] = max(latest[user], time)
    states = States(state_size=2, slab_rows=16)
    users = states.read(states.rows(0, [*"abc"])[order.rows])
    users.timestamp_ms = np.array(before)[order.rows]

    idle = sequences.idle(order, users, np.array([time for _, time in clicks])[order.arrival])

    assert idle.tolist() == [expected[place] for place in order.arrival.tolist()]
    assert users.timestamp_ms.tolist() == [latest[user] for user in order.rows.tolist()]


@given(moments)
def test_recent_items_are_those_of_one_click_after_the_other(clicks: list[tuple[int, int]]) -> None:
    """From the batch and from the row; a user who starts afresh has none from before."""
    states = States(state_size=2, recent_items=8, slab_rows=16)
    order = UserOrder(np.array([user for user, _ in clicks]))
    users = states.read(states.rows(0, [*"abc"])[order.rows])
    users.ring.put(
        np.arange(len(order.rows)), np.zeros(len(order.rows), np.int64), order.rows.astype(np.int32)
    )
    users.clicks[:] = 1
    items = np.array([item for _, item in clicks], np.int32)
    afresh = (items % 5 == 0)[order.arrival]
    histories, expected = {user: [user] for user in range(USERS)}, list[list[int]]()
    for user, item in clicks:
        histories[user] = [item, *([] if item % 5 == 0 else histories[user])]
        expected.append((histories[user] + [NO_ITEM] * len(LAGS))[: len(LAGS)])

    numbers, since = sequences.numbers(order, users, afresh)
    places = np.arange(len(clicks))
    found = sequences.recent(order, users, items[order.arrival], places, LAGS, numbers=numbers, since=since)

    assert found.tolist() == [expected[place] for place in order.arrival.tolist()]
