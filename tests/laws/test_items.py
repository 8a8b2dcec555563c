"""Law of the collection of items: nobody can tell that it happens."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders import ITEMS, tiny_release_parts
from tests.reference import OneClick, Reference, check_user, columns
from worker.core import blocks, items, states
from worker.core.event_types import EXCLUDE, STEP
from worker.core.recommender import Recommender
from worker.core.release import verify
from worker.core.states import States

PARTS: Final = tiny_release_parts(session_gap_seconds=0)
RELEASE: Final = verify(*PARTS, number=1)
BOUGHT: Final = 2

batches = st.lists(
    st.tuples(
        st.sampled_from("abcdef"),
        st.sampled_from([*ITEMS[:4], *"uvwxyz"]),
        st.sampled_from([STEP, STEP, EXCLUDE, STEP | EXCLUDE]),
    ),
    min_size=1,
    max_size=6,
)
steps = st.integers(1, 8)
reloads = st.just("reload")
histories = st.lists(st.one_of(batches, batches, steps, steps, reloads), min_size=5, max_size=40)


@given(histories, st.sampled_from([1, 4, 1 << 20]), st.integers(1, 3))
def test_collecting_items_changes_nothing_that_can_be_seen(
    history: list[Any], slab_rows: int, recent_items: int
) -> None:
    """Every user keeps their items, and these their meaning, wherever the steps of a collection fall.

    And a collection without clicks leaves no more items than the users can have.
    """
    held = States(state_size=RELEASE.state_size, recent_items=recent_items, slab_rows=slab_rows)
    held.keep_bought(1, items=BOUGHT)
    recommender, expected = Recommender(RELEASE, held), Reference(*PARTS, ITEMS, keeps_bought=BOUGHT)
    offset = 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(items, "COLLECT_FROM", 2)
        patch.setattr(items, "_SWEPT", 2)
        patch.setattr(states, "_LOOKED_AT", 2)
        held.item_codes._collect_at = 2
        for action in history:
            if action == "reload":
                rows = held.owned(0)
                saved = blocks.decode(blocks.encode(held, rows))
                held.free(rows)
                held.load(0, 1, saved)
            elif isinstance(action, int):
                for _ in range(action):
                    held.collect_items()
            else:
                clicks = [
                    OneClick(0, offset + nth, user_id, item_id, 10**12 + offset, -1, kind)
                    for nth, (user_id, item_id, kind) in enumerate(action)
                ]
                offset += len(clicks)
                recommender.apply(columns(clicks), now_ms=0)
                for click in clicks:
                    expected.apply(click)

        for (partition, user_id), user in expected.users.items():
            check_user(held, partition, user_id, user)
        for _ in range(50):
            held.collect_items()
        # A collection keeps what clicks ask for meanwhile, so only one without clicks leaves nothing else.
        held.item_codes._collect_at = 1
        for _ in range(50):
            held.collect_items()
    named = {
        item_id for user in expected.users.values() for item_id in (*user.items[-recent_items:], *user.bought)
    }
    assert len(held.item_codes) <= (recent_items + BOUGHT) * len(expected.users)
    assert np.all(held.item_codes.codes([*named]) < held.item_codes.end)
