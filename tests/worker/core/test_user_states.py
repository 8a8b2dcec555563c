"""Copies of user states: some users of them."""

from __future__ import annotations

import numpy as np

from worker.core.bought import Items
from worker.core.user_states import Saved, UserStates


def test_some_users_of_a_block_keep_all_that_is_theirs() -> None:
    """Their ids, their states and what they bought."""
    states = UserStates(*np.arange(24).reshape(8, 3))
    bought = Items(np.array([[0], [1], [-1]], np.int32), np.array([[5], [6], [0]], np.uint16))
    saved = Saved(["ada", "bob", "eve"], ["lamp", "rug"], states, 100, bought)

    some = saved.taken(np.array([2, 1]))

    assert some.user_ids == ["eve", "bob"]
    assert some.states.clicks.tolist() == [8, 7]
    assert some.bought is not None
    assert (some.bought.codes.tolist(), some.bought.days.tolist()) == ([[-1], [1]], [[0], [6]])
    assert Saved(["ada"], [], states.taken(np.array([0]))).taken(np.array([0])).bought is None
